"""Labels of the user's own: classes by number or by name, or embeddings."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scorejax.data import notice
from scorejax.data.dataset import Dataset
from scorejax.data.finite import not_finite

MOST_CLASSES = 1000  # more are taken only if there are as many examples
_SHOWN = 6  # absent classes that a message names


class Labels(NamedTuple):
    """Labels as a `Dataset` holds them.

    Attributes:
        arrays: int32 classes `[N]`, or float32 embeddings `[N, D]` or `[N, L, D]`, by the key they were stored under.
        num_classes: over all keys; 0 for embeddings.
        names: of the classes; empty if they have none.
    """

    arrays: Mapping[str, np.ndarray]
    num_classes: int = 0
    names: tuple[str, ...] = ()


def read_labels(where: Path, stored: Mapping[str, np.ndarray], counts: Mapping[str, int]) -> Labels:
    """Return the labels of all splits: numbers of classes, texts that name them, or embeddings.

    Args:
        where: the file, for messages.
        stored: labels by key.
        counts: number of examples by the same keys.

    Raises:
        ValueError: another number of labels than of examples, one float for each example, or no labels at all.
    """
    found = {key: _flat(array) for key, array in stored.items()}
    for key, labels in found.items():
        if labels.ndim == 0 or len(labels) != counts[key]:
            count = "one value" if labels.ndim == 0 else f"{len(labels):,} labels"
            raise ValueError(f"{where}: {key!r} holds {count} for {counts[key]:,} examples; give one for each.")
    kinds = {key: _kind(where, key, labels) for key, labels in found.items()}
    if len(set(kinds.values())) > 1:
        shown = ", ".join(f"{key!r} holds {kind}" for key, kind in kinds.items())
        raise ValueError(f"{where}: {shown}; give labels of one kind to all splits.")
    kind = next(iter(kinds.values()))
    if kind == "names":
        names = sorted({str(name) for labels in found.values() for name in labels})
        return Labels({k: np.searchsorted(names, v).astype(np.int32) for k, v in found.items()}, len(names), (*names,))
    if kind == "classes":
        return Labels({k: v.astype(np.int32) for k, v in found.items()}, _count(where, found))
    return Labels({key: _embeddings(where, key, labels) for key, labels in found.items()})


def mention_absent(examples: Dataset, split: str) -> None:
    """Say which classes a split has no example of: they are missing, or numbered from 1."""
    labels = examples.labels
    if labels is None or examples.embeddings:
        return
    absent = np.flatnonzero(np.bincount(labels, minlength=examples.num_classes) == 0)
    if not len(absent):
        return
    names = examples.label_names
    shown = [f"{c} ({names[c]})" if names else str(c) for c in absent[:_SHOWN]] + ["..."] * (len(absent) > _SHOWN)
    which = f"class {shown[0]} has" if len(absent) == 1 else f"classes {', '.join(shown)} have"
    notice.warn(
        f"{examples.name}: the labels of split {split!r} run from {labels.min()} to {labels.max()}: {which} no example"
    )


def _flat(labels: np.ndarray) -> np.ndarray:
    """Texts as str, and a column of classes as what it stands for."""
    labels = np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 and labels.dtype.kind in "iubU" else labels


def _kind(where: Path, key: str, labels: np.ndarray) -> str:
    kind, rank = labels.dtype.kind, labels.ndim
    if rank == 1 and kind in "iub":
        return "classes"
    if rank == 1 and kind == "U":
        return "names"
    if rank in (2, 3) and kind in "fiub":
        return "embeddings"
    wanted = "classes are whole numbers or texts [N], embeddings are floats [N, D] or [N, L, D]"
    if rank == 1 and kind == "f":
        whole = bool(np.all(labels == np.round(labels)))
        do = (
            "they are whole: store labels.astype(int)"
            if whole
            else f"{labels[labels != np.round(labels)][0]:g} is not whole: a number as a condition is stored as "
            "labels[:, None]"
        )
        raise ValueError(f"{where}: {key!r} is {labels.dtype} of shape {labels.shape}, but {wanted}; {do}.")
    raise ValueError(f"{where}: {key!r} is {labels.dtype} of shape {labels.shape}; {wanted}.")


def _count(where: Path, found: Mapping[str, np.ndarray]) -> int:
    """The number of classes over all splits, so that they agree on it."""
    key = max(found, key=lambda key: int(found[key].max()))
    low, high = min(int(labels.min()) for labels in found.values()), int(found[key].max())
    total = sum(map(len, found.values()))
    if low < 0 or high >= max(MOST_CLASSES, total):
        raise ValueError(
            f"{where}: the labels of {key!r} run from {low} to {high} for {total:,} examples; number the classes 0, 1, "
            "2, ..., for instance by np.unique(labels, return_inverse=True)[1]."
        )
    return high + 1


def _embeddings(where: Path, key: str, labels: np.ndarray) -> np.ndarray:
    if labels.dtype.kind in "iub":
        notice.warn(
            f"{where}: whole numbers {key!r} of shape {labels.shape} are taken for embeddings of {labels.shape[-1]} "
            "numbers, not for classes, which are whole numbers [N]"
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and refused as such
        single = labels.astype(np.float32)
    if bad := not_finite(single):
        raise ValueError(f"{where}: row {bad[0]} of {key!r}, {bad[1]}; remove such rows, or fill them in.")
    return single
