"""One split of arrays by name: what any file of arrays holds, and what a loader of the user's own returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, TypeAlias

import numpy as np
from annotated_types import Interval

from scorejax.data import notice
from scorejax.data.conditions import PREFIX, Rows, names_in, read_conditions
from scorejax.data.dataset import Dataset, as_floats, check_split
from scorejax.data.encoding import Levels, extremes, levels_of
from scorejax.data.finite import not_finite
from scorejax.data.labels import Labels, read_labels
from scorejax.data.layout import examples_of
from scorejax.data.lazy import Examples, chosen
from scorejax.data.missing import check_missing, masked
from scorejax.data.walk import TEST, splits_of

GrayCount: TypeAlias = Annotated[int, Interval(ge=2, le=256)]
Fraction: TypeAlias = Annotated[float, Interval(gt=0, le=0.5)]
HeldOut: TypeAlias = Literal["every", "last"]


class Reading(NamedTuple):
    """How arrays are read as examples.

    Attributes:
        axes: the order of their axes; None: guessed.
        gray_levels: of images of bytes; None: found.
        quantum: the distance between neighboring values of floating numbers that are counted; None: they are not.
        groups: the key of an array of whole numbers or texts `[N]`: examples of one group stay in one split.
        held_out: which examples of `x` are the test split: every k-th, or the last ones.
        test_fraction: their share.
        missing: whether NaN in examples is a number that is missing.
    """

    axes: str | None = None
    gray_levels: int | None = None
    quantum: float | None = None
    groups: str | None = None
    held_out: HeldOut = "every"
    test_fraction: float = 0.1
    missing: bool = False


class Keys(NamedTuple):
    """The names of arrays by split.

    Attributes:
        examples: of examples.
        labels: of labels; empty without.
        own_splits: whether the arrays are split already.
        conditions: of each named condition its arrays, by the name of the examples that they belong to.
        masks: of examples by their name: nonzero where a number is known.
    """

    examples: Mapping[str, str]
    labels: Mapping[str, str]
    own_splits: bool
    conditions: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    masks: Mapping[str, str] = MappingProxyType({})

    def read(self) -> set[str]:
        """The names of all of these arrays."""
        given = (key for arrays in self.conditions.values() for key in arrays.values())
        return {*self.examples.values(), *self.labels.values(), *given, *self.masks.values()}


def find_keys(where: Path | str, names: Sequence[str], groups: str | None = None) -> Keys:
    """Return which arrays are examples and which are labels.

    Raises:
        ValueError: neither `x`, nor `train` and `test`; labels of one split alone; no such groups.
    """
    keys = splits_of(names)
    if not keys and "x" not in names:
        raise ValueError(
            f"{where} holds {sorted(names)}; wanted 'x' (with 'labels' if any), or 'train' and 'test' "
            f"(with 'train_labels' and 'test_labels' if any)."
        )
    own = bool(keys)
    keys = keys or {"train": "x", "test": "x"}
    wanted = {split: f"{key}_labels" if own else "labels" for split, key in keys.items()}
    labels = {split: key for split, key in wanted.items() if key in names}
    if labels and len(labels) < len(keys):
        missing = sorted(set(wanted.values()) - set(labels.values()))
        raise ValueError(
            f"{where} holds {', '.join(map(repr, sorted(set(labels.values()))))}, but not "
            f"{', '.join(map(repr, missing))}; give labels to all splits, or to none."
        )
    given = _conditions(where, names, tuple(dict.fromkeys(keys.values())), own)
    if groups is not None and (own or groups not in names):
        why = "has splits of its own" if own else f"holds {sorted(names)}"
        raise ValueError(f"{where} {why}; data.groups = {groups!r} names an array next to 'x' by which it is split.")
    if keys["test"].lower() not in (*TEST, "x"):
        notice.inform(f"{where}: its key {keys['test']!r} serves as the test split")
    masks = {key: f"{key}_mask" if own else "mask" for key in dict.fromkeys(keys.values())}
    if absent := [key for key in masks.values() if key not in names]:
        if len(absent) < len(masks):
            raise ValueError(f"{where} holds no {absent[0]!r}; give a mask to all splits, or to none.")
        masks = {}
    found = Keys(keys, labels, own, given, masks)
    if unread := sorted(set(names) - found.read() - {groups}):
        notice.warn(
            f"{where}: keys not read: {', '.join(unread)}; examples are read from "
            f"{', '.join(dict.fromkeys(keys.values()))}, labels from {', '.join(dict.fromkeys(wanted.values()))}"
        )
    return found


def _conditions(where: Path | str, names: Sequence[str], examples: Sequence[str], own: bool) -> dict:
    """The arrays of each named condition, which all splits must have."""
    found = {}
    for name in names_in(names):
        found[name] = {key: f"{key}_{PREFIX}{name}" if own else PREFIX + name for key in examples}
        if missing := [key for key in found[name].values() if key not in names]:
            there = [key for key in names if key.endswith(PREFIX + name)]
            raise ValueError(
                f"{where} holds {', '.join(map(repr, there))}, but not {', '.join(map(repr, missing))}; give condition "
                f"{name!r} to all splits, or to none."
            )
    return found


def read_split(
    where: Path | str, name: str, split: str, stored: Mapping[str, Examples], keys: Keys, how: Reading, source: str
) -> Dataset:
    """Return one split of arrays.

    Args:
        where: what they are of, for messages.
        name: of the data set.
        split: "train" or "test", or another that the arrays have.
        stored: the arrays by name.
        keys: which of them are what.
        how: they are read.
        source: the name of the source, for messages.

    Raises:
        ValueError: arrays that are no examples, numbers that are not finite, or labels that do not fit.
    """
    check_split(source, split, tuple(keys.examples))
    missing = how.missing or bool(keys.masks)
    if missing and how.quantum is not None:
        raise ValueError(f"{where}: data.quantum does not go with missing numbers; leave it unset: they are densities.")
    arrays = {k: stored[k] for k in dict.fromkeys(keys.examples.values())}
    arrays |= {k: masked(where, k, arrays[k], stored[mask]) for k, mask in keys.masks.items()}
    examples = {k: examples_of(where, k, array, how.axes) for k, array in arrays.items()}
    in_test = None if keys.own_splits else _in_test(where, stored, len(examples["x"]), how)
    for key, array in examples.items():
        if missing:
            check_missing(where, key, array)
        elif bad := not_finite(array):
            part = "" if in_test is None else f" ({'test' if in_test[bad[0]] else 'train'} split)"
            do = "remove such rows, fill them in, or set data.missing=nan"
            raise ValueError(f"{where}: row {bad[0]} of {key!r}{part}, {bad[1]}; {do}.")
    gray, levels = _levels(where, list(examples.values()), how)
    if gray is None and levels is None:
        examples = {k: as_floats(array) if array.dtype.kind != "f" else array for k, array in examples.items()}
    found = examples[keys.examples[split]]
    if in_test is not None:
        found = chosen(found, in_test == (split == "test"))
    settings: dict = {"gray_levels": gray, "levels": levels, "missing": missing}
    if keys.conditions:
        rows = _rows(where, stored, keys, examples, in_test)
        own = rows.arrays[keys.examples[split]]
        settings["conditions"] = rows.conditions
        return Dataset(name, found, own if in_test is None else own[in_test == (split == "test")], **settings)
    if not keys.labels:
        return Dataset(name, found, **settings)
    labels = _labels(where, stored, keys)
    own = labels.arrays[keys.labels[split]]
    return Dataset(
        name,
        found,
        own if in_test is None else own[in_test == (split == "test")],
        num_classes=labels.num_classes,
        label_names=labels.names,
        **settings,
    )


def _in_test(where: Path | str, stored: Mapping[str, Examples], count: int, how: Reading) -> np.ndarray:
    """Which examples of `x` belong to the test split, bool `[N]`: every k-th one or group, or the last ones."""
    if not 0 < how.test_fraction <= 0.5:
        raise ValueError(f"test_fraction = {how.test_fraction}; it is a share above 0, and at most 0.5.")
    every, what, each = round(1 / how.test_fraction), "examples", np.arange(count)
    if how.groups is not None:
        ids = np.asarray(stored[how.groups])
        if ids.shape != (count,) or ids.dtype.kind not in "iubUS":
            raise ValueError(
                f"{where}: {how.groups!r} is {ids.dtype} of shape {ids.shape}; groups are whole numbers or texts, one "
                f"for each of {count:,} examples."
            )
        _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        each, what = np.argsort(np.argsort(first))[inverse], "groups"  # numbered in the order of their appearance
    total = int(each.max()) + 1
    held = round(total * how.test_fraction) if how.held_out == "last" else total // every
    if not held or held >= total:
        raise ValueError(
            f"{where}: 'x' holds {total} {what}: none is left for the test split; give more, store 'train' and "
            f"'test' instead of 'x', or set data.test_fraction (now {how.test_fraction}, every {every}-th of them)."
        )
    return each >= total - held if how.held_out == "last" else each % every == every - 1


def _levels(where: Path | str, arrays: list[Examples], how: Reading) -> tuple[int | None, Levels | None]:
    """The number of gray levels, or the levels of counted numbers, of all splits together."""
    types = {array.dtype for array in arrays}
    gray = types == {np.dtype(np.uint8)} and min(len(array.shape) for array in arrays) > 2 and how.quantum is None
    if gray:
        return _gray_levels(where, arrays, how.gray_levels), None
    if how.gray_levels is not None:
        shown = ", ".join(map(str, types))
        raise ValueError(f"{where}: gray_levels = {how.gray_levels} is for images of bytes (uint8), got {shown}.")
    counted = all(dtype.kind in "iub" for dtype in types)
    if not counted and how.quantum is None:
        return None, None
    return None, levels_of(arrays, how.quantum, str(where))


def _gray_levels(where: Path | str, arrays: Sequence[Examples], asked: int | None) -> int:
    """The number of gray levels of the images of all splits together."""
    if asked is not None:
        return asked
    if max(extremes(array)[1] for array in arrays) != 1:
        return 256
    notice.inform(f"{where}: no pixel is above 1, so its images have 2 gray levels; if not, set data.gray_levels")
    return 2


def _labels(where: Path | str, stored: Mapping[str, Examples], keys: Keys) -> Labels:
    counts = {keys.labels[split]: len(stored[key]) for split, key in keys.examples.items()}
    return read_labels(Path(where), {key: np.asarray(stored[key]) for key in counts}, counts)


def _rows(
    where: Path | str,
    stored: Mapping[str, Examples],
    keys: Keys,
    examples: Mapping[str, Examples],
    in_test: np.ndarray | None,
) -> Rows:
    """The conditions of all examples; labels next to others are one of them."""
    named = dict(keys.conditions)
    if keys.labels:
        named["labels"] = {keys.examples[split]: key for split, key in keys.labels.items()}
    trained = keys.examples["train"]
    return read_conditions(
        where,
        {name: {of: np.asarray(stored[key]) for of, key in arrays.items()} for name, arrays in named.items()},
        {key: len(array) for key, array in examples.items()},
        tuple(examples[trained].shape[1:-1]),
        {key: np.full(len(array), key == trained) if in_test is None else ~in_test for key, array in examples.items()},
    )
