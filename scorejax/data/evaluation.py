"""Batches that cover every example exactly once."""

from collections.abc import Iterator

import numpy as np


def eval_batches(n: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Examples 0..n-1 in order, in batches of one shape; repeats fill the last one and the mask marks them.

    Args:
      n: number of examples.
      batch_size: length of every batch.

    Yields:
      Indices int `[batch_size]` and a mask bool `[batch_size]`, False where an index is only filling. Over
      all batches the unmasked indices are each of `0..n-1` once, so sums weighted by the mask divided by
      `n` are exact.
    """
    if n < 1 or batch_size < 1:
        raise ValueError(f"n = {n} and batch_size = {batch_size}; both must be at least 1.")
    for start in range(0, n, batch_size):
        slots = np.arange(start, start + batch_size)
        yield np.minimum(slots, n - 1), slots < n
