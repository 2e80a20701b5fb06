"""Named conditions of the user's own: arrays called `condition.NAME`, brought to one row of numbers an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scorejax.data.labels import MOST_CLASSES
from scorejax.numerics.conditions import Condition, Kind

PREFIX = "condition."
ABSENT_CLASS = -1
"""A class that is not known, among whole numbers; an empty text among texts."""


class Rows(NamedTuple):
    """Conditions as a `Dataset` holds them.

    Attributes:
        conditions: what lies where in a row.
        arrays: float32 `[N, D]` by the key of the examples that they belong to.
    """

    conditions: tuple[Condition, ...]
    arrays: Mapping[str, np.ndarray]


def names_in(keys: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the conditions among keys such as `condition.NAME` and `train_condition.NAME`."""
    found = [key.partition(PREFIX) for key in keys]
    named = [name for before, word, name in found if word and name and (not before or before.endswith("_"))]
    return tuple(dict.fromkeys(named))


def read_conditions(
    where: object,
    stored: Mapping[str, Mapping[str, np.ndarray]],
    counts: Mapping[str, int],
    sides: tuple[int, ...],
    training: Mapping[str, np.ndarray],
) -> Rows:
    """Return the conditions of all examples, as rows.

    Args:
        where: the file, for messages.
        stored: of each condition its arrays, by the key of the examples that they belong to.
        counts: number of examples by that key.
        sides: of an example, without its channels.
        training: which examples of a key are trained on, bool `[N]`; their mean and deviation become 0 and 1.

    Raises:
        ValueError: another number of values than of examples, or arrays that are no condition; the message names it.
    """
    found: list[Condition] = []
    columns: dict[str, list[np.ndarray]] = {key: [] for key in counts}
    for name, arrays in stored.items():
        arrays = {key: _flat(array) for key, array in arrays.items()}
        for key, array in arrays.items():
            got = "one value" if array.ndim == 0 else f"{len(array):,} values"
            if array.ndim == 0 or len(array) != counts[key]:
                raise ValueError(
                    f"{where}: condition {name!r} holds {got} for {counts[key]:,} examples of {key!r}; give one for "
                    "each, NaN where it is not known."
                )
        kinds = {key: _kind(where, name, array, sides) for key, array in arrays.items()}
        if len(set(kinds.values())) > 1:
            shown = " and ".join(f"a {kind[0]} of shape {kind[1]} of {key!r}" for key, kind in kinds.items())
            raise ValueError(f"{where}: condition {name!r} is {shown}; give one kind to all splits.")
        kind, shape = next(iter(kinds.values()))
        if kind == "class":
            one, arrays = _classes(where, name, arrays)
        else:
            one, arrays = _numbers(where, name, kind, shape, arrays, training)
        found.append(one)
        for key, array in arrays.items():
            columns[key].append(one.scaled(array).reshape(counts[key], -1))
    return Rows(tuple(found), {key: np.concatenate(each, axis=1) for key, each in columns.items()})


def _flat(array: np.ndarray) -> np.ndarray:
    """Texts as str, and a column of classes as what it stands for."""
    array = np.asarray(array)
    array = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 and array.dtype.kind in "iubU" else array


def _kind(where: object, name: str, array: np.ndarray, sides: tuple[int, ...]) -> tuple[Kind, tuple[int, ...]]:
    """What an array is, and the shape of one value of it."""
    number, rank = array.dtype.kind, array.ndim
    if rank == 1 and number in "iubU":
        return "class", ()
    if number in "fiub" and 0 not in array.shape:
        if rank == 1:
            return "scalar", ()
        if len(sides) and array.shape[1:] == (*sides, array.shape[-1]) and rank == len(sides) + 2:
            return "field", array.shape[1:]
        if len(sides) > 1 and array.shape[1:] == sides:
            return "field", (*sides, 1)
        if rank in (2, 3):
            return ("vector" if rank == 2 else "sequence"), array.shape[1:]
    field = f", or fields, floats [N, {', '.join(map(str, sides))}, K] with the sides of the examples" if sides else ""
    raise ValueError(
        f"{where}: condition {name!r} is {array.dtype} of shape {array.shape}; conditions are classes, whole numbers "
        f"or texts [N], scalars, floats [N], vectors, floats [N, K], sequences, floats [N, L, K]{field}."
    )


def _classes(where: object, name: str, arrays: Mapping[str, np.ndarray]) -> tuple[Condition, dict[str, np.ndarray]]:
    """A class by its number, NaN where it is absent."""
    names: list[str] = []
    if any(array.dtype.kind == "U" for array in arrays.values()):
        names = sorted({str(value) for array in arrays.values() for value in array} - {""})
        arrays = {
            k: np.where(v == "", ABSENT_CLASS, np.searchsorted(names, v) if names else 0) for k, v in arrays.items()
        }
    low, high = min(int(v.min()) for v in arrays.values()), max(int(v.max()) for v in arrays.values())
    total = sum(map(len, arrays.values()))
    if low < ABSENT_CLASS or high < 0 or high >= max(MOST_CLASSES, total):
        raise ValueError(
            f"{where}: the classes of condition {name!r} run from {low} to {high} for {total:,} examples; number them "
            f"0, 1, 2, ..., and {ABSENT_CLASS} where a class is not known; numbers that measure something are floats."
        )
    found = {key: np.where(array == ABSENT_CLASS, np.nan, array.astype(np.float64)) for key, array in arrays.items()}
    return Condition(name, "class", classes=high + 1, class_names=tuple(names)), found


def _numbers(
    where: object,
    name: str,
    kind: Kind,
    shape: tuple[int, ...],
    arrays: Mapping[str, np.ndarray],
    training: Mapping[str, np.ndarray],
) -> tuple[Condition, dict[str, np.ndarray]]:
    """Numbers in the user's units, and what brings each channel to mean 0 and deviation 1."""
    values = {key: np.asarray(array, np.float64).reshape(len(array), *shape) for key, array in arrays.items()}
    for key, array in values.items():
        bad = np.isinf(array).reshape(len(array), -1).any(axis=1)
        if bad.any():
            raise ValueError(f"{where}: condition {name!r} of {key!r} is infinite in row {int(np.argmax(bad))}.")
    seen = np.concatenate([array[training[key]].reshape(-1, (shape or (1,))[-1]) for key, array in values.items()])
    known = np.isfinite(seen)
    if not known.any(axis=0).all():
        channel = int(np.argmin(known.any(axis=0)))
        raise ValueError(f"{where}: channel {channel} of condition {name!r} is NaN in every training example.")
    mean = np.nanmean(seen, axis=0)
    deviation = np.nanstd(seen, axis=0)
    deviation = np.where(deviation > 1e-14 * np.abs(mean), deviation, 1.0)
    own = Condition(name, kind, shape, mean=tuple(map(float, mean)), deviation=tuple(map(float, deviation)))
    return own, values
