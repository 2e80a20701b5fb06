"""Named conditions that a person asks for: from the shell `NAME=VALUE`, in Python `{NAME: value}`; as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from scorejax.data import Form
from scorejax.numerics.conditions import Condition, owners

_FILES = (".npy",)


def rows_of(form: Form, given: Mapping[str, object], *, absence: bool) -> Array:
    """Return rows `[K, D]` of conditions that are given by name, as networks take them.

    Args:
        form: of the data.
        given: of each name one value, several, or None: absent; classes by their number or name, all else in the
            units of the data.
        absence: whether the network knows what it is to have no condition, so that names may be left out.

    Raises:
        ValueError: an unknown name, a value that does not fit, several of different numbers, or one that is left out.
    """
    known = {each.name: each for each in form.conditions}
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"there is no condition {unknown[0]!r}; the data have {', '.join(map(str, form.conditions))}")
    found = {name: None if given.get(name) is None else _values(each, given[name]) for name, each in known.items()}
    if not absence and (left := [name for name, values in found.items() if values is None]):
        raise ValueError(
            f"condition {left[0]!r} is not given, but this network never saw an example without it: give it a value, "
            "or train with recipe.label_dropout=0.1"
        )
    counts = {name: len(values) for name, values in found.items() if values is not None and len(values) > 1}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
        raise ValueError(f"there are {shown}; give one value of each condition, or as many of each as of the others")
    total = max(counts.values(), default=1)
    parts = [
        np.full((total, each.size), np.nan, np.float32)
        if values is None
        else np.broadcast_to(each.scaled(values).reshape(len(values), -1), (total, each.size))
        for each, values in zip(form.conditions, found.values(), strict=True)
    ]
    return jnp.asarray(np.concatenate(parts, axis=1))


def from_shell(form: Form, texts: Sequence[str]) -> dict[str, object]:
    """Return what texts `NAME=VALUE` say of each condition: a number, a class, `(1,2,3)`, `none`, or a file.

    Raises:
        ValueError: a text of another form, or a file that cannot be read.
    """
    known = {each.name: each for each in form.conditions}
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ValueError(f"{text!r} is no NAME=VALUE; the conditions are {', '.join(map(str, form.conditions))}")
        found[name.strip()] = _parsed(known.get(name.strip()), value.strip())
    return found


def _parsed(condition: Condition | None, text: str) -> object:
    """The value that a text stands for."""
    if condition is None or text in condition.class_names:
        return text
    if text.lower() == "none":
        return None
    if Path(text).suffix.lower() in _FILES:
        try:
            return np.load(Path(text).expanduser(), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"{text} cannot be read as an array ({error}); write it by np.save") from error
    words = [word.strip(" '\"") for word in text.strip("()").split(",") if word.strip(" '\"")]
    if condition.kind == "class":
        return [int(word) if word.isdigit() else word for word in words]
    if condition.kind in ("sequence", "field"):
        raise ValueError(
            f"condition {condition.name!r} is a {condition.kind} of shape {condition.shape}: give a file, "
            f"{condition.name}=FILE.npy, or none"
        )
    try:
        return [float(word) for word in words]
    except ValueError:
        raise ValueError(f"condition {condition.name!r} is a {condition.kind} of numbers, got {text!r}") from None


def _values(condition: Condition, given: Any) -> np.ndarray:
    """Values `[K, *shape]` of a condition, in the user's units; classes by their number."""
    if condition.kind == "class":
        return _classes(condition, given)
    array = np.asarray(given)
    array = array[None] if array.ndim == len(condition.shape) else array
    fits = array.shape[1:] == condition.shape and len(array) and np.issubdtype(array.dtype, np.number)
    if not fits or not np.isfinite(array).all():
        wanted = "a number" if condition.kind == "scalar" else f"a {condition.kind} of shape {condition.shape}"
        got = f"shape {np.shape(given)}" if fits or np.issubdtype(array.dtype, np.number) else repr(given)
        finite = ", numbers that are not finite" if fits else ""
        raise ValueError(f"condition {condition.name!r} has {got}{finite}; wanted {wanted}, or several")
    return array


def _classes(condition: Condition, given: Any) -> np.ndarray:
    """Classes `[K]` by their number."""
    array = np.atleast_1d(np.asarray(given))
    names, choices = list(condition.class_names), ", ".join(condition.class_names)
    if array.dtype.kind in "US":
        texts = [str(value) for value in array.ravel()]
        if unknown := [text for text in texts if text not in names and not text.isdigit()]:
            raise ValueError(
                f"condition {condition.name!r} has no class {unknown[0]!r}; choose one of "
                f"{choices or f'the numbers 0 to {condition.classes - 1}'}"
            )
        array = np.asarray([names.index(text) if text in names else int(text) for text in texts])
    inside = array.dtype.kind in "iu" and array.ndim == 1 and array.size
    if not inside or array.min() < 0 or array.max() >= condition.classes:
        raise ValueError(
            f"condition {condition.name!r} = {given!r}; its classes are the numbers 0 to {condition.classes - 1}"
            f"{f', or {choices}' if choices else ''}"
        )
    return array


def numbers_of(form: Form, names: Sequence[str]) -> np.ndarray:
    """Return which numbers of a row belong to the conditions with these names, bool `[D]`.

    Raises:
        ValueError: there is no such condition.
    """
    places = {each.name: i for i, each in enumerate(form.conditions)}
    if unknown := [name for name in names if name not in places]:
        there = ", ".join(map(str, form.conditions)) or "none by name"
        raise ValueError(f"there is no condition {unknown[0]!r}; the data have {there}")
    return np.isin(owners(form.conditions), [places[name] for name in names])


Given = Mapping[str, ArrayLike | str | None]
"""Conditions by name, as a person gives them in Python."""
