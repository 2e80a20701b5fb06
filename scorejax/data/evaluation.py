"""Which examples a number is measured on: batches that cover each exactly once, and even choices of a few."""

from collections.abc import Iterator

import numpy as np


def eval_batches(n: int, batch_size: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield examples start..n-1 in order, in batches of one shape; repeats fill the last one, and a mask marks them.

    Args:
        n: number of examples.
        batch_size: length of every batch.
        start: the first example, to resume half-way.

    Yields:
        indices int `[batch_size]` and a mask bool `[batch_size]`, False where an index is only filling. Over
        all batches the unmasked indices are each of `start..n-1` once, so sums weighted by the mask divided by
        the count are exact.
    """
    if n < 1 or batch_size < 1:
        raise ValueError(f"n = {n} and batch_size = {batch_size}; both must be at least 1.")
    for first in range(start, n, batch_size):
        slots = np.arange(first, first + batch_size)
        yield np.minimum(slots, n - 1), slots < n


def spread(total: int, wanted: int) -> np.ndarray:
    """Return the numbers of `wanted` examples spread evenly over `total`; of all for 0, or if there are no more."""
    count = min(wanted, total) or total
    return np.arange(count) * total // count
