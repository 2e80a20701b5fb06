"""What a person hands to a trained model: examples, points of model space, and conditions, checked in one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from scorejax import data
from scorejax.experiment import conditions as named
from scorejax.experiment.conditions import Given
from scorejax.experiment.model import Model
from scorejax.numerics import doors

Condition: TypeAlias = int | str | Sequence[int] | Sequence[str] | ArrayLike | Given
"""A class by number or name, several of them, an embedding, or one of these for each example; conditions by name."""


def examples(form: data.Form, x: ArrayLike) -> Array | np.ndarray:
    """Return examples `[B, ...]` in the user's units as an array, of numpy where its values are known.

    Raises:
        ValueError: another shape, floats where gray levels are needed, a level beyond the last, or a number that is not
            finite; values of traced arrays are not looked at.
    """
    array = x if isinstance(x, jax.Array) and not doors.known(x) else np.asarray(x)
    _check_shape(form, array)
    levels = form.gray_levels
    if levels is None:
        if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
            raise ValueError(f"x is {array.dtype}; vectors of real numbers are needed")
        if not form.missing:
            doors.check_finite(array, "x")
        return array if isinstance(array, np.ndarray) else jnp.asarray(array, jnp.result_type(float))
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(
            f"x is {array.dtype}; this model is of images of {levels} gray levels: give integers 0..{levels - 1} "
            "(from_model makes them of points of model space)"
        )
    if doors.known(array) and not 0 <= array.min() <= array.max() < levels:
        raise ValueError(f"gray levels run from {array.min()} to {array.max()}; this model knows 0..{levels - 1}")
    return array.astype(np.uint8) if isinstance(array, np.ndarray) else jnp.asarray(array, jnp.uint8)


def sent(form: data.Form, space: data.Space, x: ArrayLike) -> Array:
    """Return examples as the space encodes them: on the host in float64, where values are known; see `examples`."""
    given = examples(form, x)
    return space.encode_traced(given) if isinstance(given, jax.Array) else jnp.asarray(space.encode(given))


def in_units(space: data.Space, x: Array) -> Array:
    """Return points of model space in the user's units: on the host in float64, where their values are known."""
    return jnp.asarray(space.decode(np.asarray(space.to_host(x)))) if doors.known(x) else space.from_model(x)


def points(form: data.Form, x: ArrayLike) -> Array:
    """Return points of model space, or latents, `[B, ...]`, as an array of floats.

    Raises:
        ValueError: another shape, or integers.
    """
    array = jnp.asarray(x)
    _check_shape(form, array)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"x is {array.dtype}; points of model space are floats: to_model makes them of examples")
    return array


def conditions(form: data.Form, condition: ArrayLike | Given, *, absence: bool = False) -> Array:
    """Return conditions `[K, ...]`: numbers of classes, or embeddings.

    Args:
        form: of the data.
        condition: a class by its number or name, several of them, an embedding, or several; of data with named
            conditions what each of them is, `{NAME: value}`.
        absence: whether the model knows what it is to have none, so that names may be left out.

    Raises:
        ValueError: the data have no labels, or not these.
    """
    if form.conditions:
        if not isinstance(condition, Mapping):
            raise ValueError(
                f"the data have the conditions {', '.join(map(str, form.conditions))}: give "
                "condition={NAME: value, ...}"
            )
        return named.rows_of(form, condition, absence=absence)
    if isinstance(condition, Mapping):
        raise ValueError(f"{form.name!r} has no conditions by name; give a class or an embedding")
    array = np.asarray(condition)
    if form.embedding is not None:
        rank = len(form.embedding)
        array = array[None] if array.ndim == rank else array
        if array.shape[1:] != form.embedding or not np.issubdtype(array.dtype, np.number):
            raise ValueError(
                f"condition has shape {np.shape(condition)}; wanted an embedding of shape {form.embedding}, or several"
            )
        return jnp.asarray(array, jnp.float32)
    if not form.num_classes:
        raise ValueError(f"{form.name!r} has no classes: leave condition out")
    array = np.atleast_1d(array)
    if array.dtype.kind in "US":
        names = list(form.label_names)
        unknown = [str(name) for name in array.ravel() if str(name) not in names]
        if unknown:
            choices = ", ".join(names) or f"the numbers 0 to {form.num_classes - 1}, which have no names"
            raise ValueError(f"no class is called {unknown[0]!r}; choose one of {choices}")
        array = np.array([names.index(str(name)) for name in array.ravel()]).reshape(array.shape)
    inside = (
        array.dtype.kind in "iu"
        and array.ndim == 1
        and array.size
        and np.all((array >= 0) & (array < form.num_classes))
    )
    if not inside:
        raise ValueError(
            f"condition = {condition!r}; classes are the numbers 0 to {form.num_classes - 1}, or their names"
        )
    return jnp.asarray(array, jnp.int32)


def wanted(form: data.Form, model: Model, condition: ArrayLike | Given | None) -> Array | None:
    """Return conditions `[K, ...]` that samples are wanted of, see `conditions`; None where none are given."""
    return None if condition is None else conditions(form, condition, absence=model.null_condition is not None)


def condition_of_each(form: data.Form, model: Model, condition: ArrayLike | Given | None, count: int) -> Array | None:
    """Return the condition of each of `count` examples; None for a model that takes none.

    Args:
        form: of the data.
        model: the model.
        condition: one for all, or one for each, see `conditions`; None: none, if the model was trained with none too.
        count: how many examples there are.

    Raises:
        ValueError: a condition for a model that takes none, none for one that needs it, or another number of them.
    """
    if not model.conditional:
        if condition is not None:
            raise ValueError("this model takes no condition: train one with recipe.conditional=true")
        return None
    if condition is not None:
        given = wanted(form, model, condition)
        assert given is not None
        if len(given) not in (1, count):
            raise ValueError(f"{len(given)} conditions for {count} examples; give one for all, or one for each")
        return jnp.broadcast_to(given, (count, *given.shape[1:]))
    if model.null_condition is None:
        raise ValueError("this model takes a condition: give condition=, one for all examples or one for each")
    if form.embedding is None:
        return jnp.full(count, model.null_condition, jnp.int32)
    return jnp.full((count, *form.embedding), model.null_condition)


def _check_shape(form: data.Form, array: Array | np.ndarray) -> None:
    if array.shape[1:] == form.shape and len(array):
        return
    hint = "; give one example as x[None]" if array.shape == form.shape else ""
    wanted = ", ".join(map(str, form.shape))
    raise ValueError(f"x has shape {tuple(array.shape)}; examples of this model are [B, {wanted}], at least one{hint}")
