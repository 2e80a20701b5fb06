"""Numbers that are not finite, found before they reach a loss."""

import numpy as np

from scorejax.data.evaluation import spread
from scorejax.data.lazy import Examples

_BLOCK = 64 * 2**20  # bytes looked at at a time
MOST = 4 * 2**30  # bytes looked at in all; of a larger array, rows spread over it


def not_finite(array: Examples) -> tuple[int, str] | None:
    """Return the row of the first number that is not finite, and words for it such as "column 1 is nan"; or None."""
    if array.dtype.kind != "f" or 0 in array.shape:
        return None
    size = array.nbytes // len(array)
    rows = spread(len(array), 0 if array.nbytes <= MOST else max(1, MOST // size))
    step = max(1, _BLOCK // size)
    for first in range(0, len(rows), step):
        block = (
            array[rows[first] : rows[first] + step]
            if len(rows) == len(array) and isinstance(array, np.ndarray)
            else array[rows[first : first + step]]
        )
        bad = ~np.isfinite(block)
        if bad.any():
            row, *place = (int(i) for i in np.argwhere(bad)[0])
            column = f"column {place[0] if len(place) == 1 else tuple(place)} " if place else ""
            count = int(bad.sum())
            more = f" (the first of {count:,} such numbers in {len(block):,} rows)" if count > 1 else ""
            return int(rows[first + row]), f"{column}is {block[(row, *place)]}{more}"
    return None
