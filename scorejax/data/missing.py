"""Missing numbers: NaN where one is, whether the data hold it there or a mask says so."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

import numpy as np

from scorejax.data.dataset import Dataset
from scorejax.data.lazy import Examples, blocks, chosen

Missing: TypeAlias = Literal["refuse", "nan"]
"""What NaN in examples means: a mistake, or a number that is missing."""


def masked(where: object, key: str, x: Examples, mask: Examples) -> np.ndarray:
    """Return examples with NaN where the mask is zero, floating numbers in memory.

    Args:
        where: the file, for messages.
        key: the name of the examples.
        x: `[N, ...]`.
        mask: of the same shape, nonzero where a number is known.

    Raises:
        ValueError: another shape, or a mask that is no number.
    """
    if tuple(mask.shape) != tuple(x.shape) or mask.dtype.kind not in "biuf":
        raise ValueError(
            f"{where}: the mask of {key!r} is {mask.dtype} of shape {tuple(mask.shape)}, but {key!r} has shape "
            f"{tuple(x.shape)}; give one number for each, nonzero where it is known."
        )
    values = np.asarray(x)
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    return np.where(np.asarray(mask) != 0, values, np.asarray(np.nan, values.dtype))


def check_missing(where: object, key: str, examples: Examples) -> None:
    """Refuse an infinite number, and an example whose numbers are all missing.

    Raises:
        ValueError: there is one; the message says where.
    """
    first = 0
    for block in blocks(examples):
        flat = np.asarray(block).reshape(len(block), -1)
        for bad, what in ((np.isinf(flat).any(axis=1), "holds an infinite number"), (np.isnan(flat).all(axis=1), "")):
            if bad.any():
                row = first + int(np.argmax(bad))
                what = what or "is wholly missing: nothing is learned of it, leave it out"
                raise ValueError(f"{where}: row {row} of {key!r} {what}.")
        first += len(block)


def complete(examples: Dataset) -> Dataset:
    """Return the examples whose numbers are all known.

    Raises:
        ValueError: fewer than two are.
    """
    known = [np.isfinite(np.asarray(block)).reshape(len(block), -1).all(axis=1) for block in blocks(examples.examples)]
    whole = np.concatenate(known)
    if whole.sum() < 2:
        raise ValueError(
            f"{examples.name}: numbers are missing from all examples but {whole.sum()}, so that samples cannot be held "
            "against them; set eval.samples=0"
        )
    labels = None if examples.labels is None else examples.labels[whole]
    return dataclasses.replace(examples, examples=chosen(examples.examples, whole), labels=labels, missing=False)
