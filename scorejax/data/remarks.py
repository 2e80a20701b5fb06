"""What a person should know of data before they are trained on: copies of training examples held out, and the like."""

from __future__ import annotations

import numpy as np

from scorejax.data import notice
from scorejax.data.dataset import Dataset
from scorejax.data.evaluation import spread

MOST = 0.01  # share of duplicates, or of repeated values, that goes without saying
_ROWS = 20_000  # that are looked at
_VALUES = 20_000
_BYTES = 2**28


def mention_duplicates(train: Dataset, other: Dataset, names: tuple[str, str] = ("train", "test")) -> None:
    """Warn if more than a hundredth of the examples held out are training examples, bit for bit.

    At most 20,000 examples of each are looked at, so that a share that is found is a lower bound.
    """
    seen: dict[int, int] = {}
    for row, content in _rows(train):
        seen.setdefault(content, row)
    found = [(row, seen[content]) for row, content in _rows(other) if content in seen]
    looked = min(len(other), _most(other))
    if len(found) > MOST * looked:
        row, twin = found[0]
        notice.warn(
            f"{train.name}: {len(found):,} of {looked:,} examples of split {names[1]!r} are also in {names[0]!r}, "
            f"such as example {row}, number {twin} there: what is measured on them says little of new ones; "
            "remove copies, or keep what belongs together in one split by data.groups"
        )


def mention_repeated(train: Dataset) -> None:
    """Warn if floating numbers of a channel are repeated: their density has no bound, for they are counted numbers."""
    if train.levels is not None:
        return
    each = int(np.prod(train.shape, dtype=np.int64)) // train.shape[-1]
    rows = spread(len(train), max(1, min(_VALUES, _VALUES // each + 1)))
    x = np.asarray(train.examples[rows]).reshape(-1, train.shape[-1])
    for i, column in enumerate(x[:, :64].T):
        column = column[np.isfinite(column)]
        known = np.unique(column)
        share = 1 - len(known) / max(1, len(column))
        if len(known) > 1 and share > MOST:
            gap = float(np.diff(known).min())
            notice.warn(
                f"{train.name}: {100 * share:.0f} % of the values of channel {i} are repeated, with gaps down to "
                f"{gap:.4g}: a density of such numbers has no bound, so that log-likelihoods say little; if they are "
                f"multiples of a number, set data.quantum to it, such as {gap:.4g}"
            )
            return


def _rows(split: Dataset) -> list[tuple[int, int]]:
    """Some examples by their numbers, each as a hash of its bytes."""
    rows = spread(len(split), _most(split))
    found = []
    for first in range(0, len(rows), 1000):
        some = rows[first : first + 1000]
        block = np.ascontiguousarray(split.examples[some])
        found += [(int(row), hash(example.tobytes())) for row, example in zip(some, block, strict=True)]
    return found


def _most(split: Dataset) -> int:
    size = max(1, int(np.prod(split.shape, dtype=np.int64)) * split.examples.dtype.itemsize)
    return max(1, min(_ROWS, _BYTES // size))
