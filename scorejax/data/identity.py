"""What a data set is: a fingerprint of its content, and one line for a person."""

import hashlib
import mmap

import numpy as np

from scorejax.data.dataset import Dataset, kind_of, shown
from scorejax.data.evaluation import spread
from scorejax.data.lazy import Examples

# Larger arrays are known by some of their rows, so that a fingerprint costs less than a second.
WHOLE_BYTES = 64 * 2**20
ROWS = 4096  # at most, evenly spread


def fingerprint_of(examples: Dataset) -> str:
    """Return sixteen hexadecimal digits that change with the content of a split; its name plays no part.

    They begin a SHA-256 over the gray levels, the classes and their names, and each array's type, shape and content.
    Of an array of more than 64 MiB the content is that of at most 4,096 rows, and 64 MiB, evenly spread over it.
    """
    about = (examples.gray_levels, examples.num_classes, examples.label_names)
    about += (examples.conditions,) if examples.conditions else ()
    digest = hashlib.sha256(repr(about).encode())
    for array in (examples.examples, examples.labels):
        if array is None:
            continue
        digest.update(f"{array.dtype.name} {tuple(array.shape)}".encode())
        if array.nbytes > WHOLE_BYTES:
            rows = min(ROWS, max(1, WHOLE_BYTES // (array.nbytes // len(array))))
            array = _scattered(array, spread(len(array), rows))
        elif not isinstance(array, np.ndarray):
            array = np.asarray(array[np.arange(len(array))])
        # The same digits on machines of either byte order.
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:16]


def _scattered(array: Examples, rows: np.ndarray) -> np.ndarray:
    """Read rows far apart; of a file, without the megabytes after each that the system reads ahead."""
    mapped: mmap.mmap | None = getattr(array, "_mmap", None)
    if mapped is None or not hasattr(mmap, "MADV_RANDOM"):
        return array[rows]
    mapped.madvise(mmap.MADV_RANDOM)
    chosen = array[rows]
    mapped.madvise(mmap.MADV_NORMAL)
    return chosen


def describe(train: Dataset, test: Dataset | None = None) -> str:
    """Return one line: how many examples of which kind, and the classes or conditions that come with them.

    Such as "digits: 1,500 train and 297 test images 8x8x1 of 17 gray levels, 10 classes".
    """
    counts = f"{len(train):,} train" + (f" and {len(test):,} test" if test is not None else "")
    kind = f"{'series' if len(train.shape) == 2 else kind_of(train.shape) + 's'} {shown(train.shape)}"
    if len(train.shape) == 1:
        kind = f"vectors of {train.shape[0]:,} number{'s' * (train.shape[0] != 1)}"
    if train.gray_levels is not None:
        kind += f" of {train.gray_levels} gray levels"
    elif train.levels is not None:
        lo, hi, count = train.levels.lo, train.levels.hi, train.levels.count
        kind += f" of {count:,} levels, {lo:.10g} to {hi:.10g} ({train.examples.dtype})"
    elif len(train.shape) > 1:
        kind += f" of {train.examples.dtype}"
    return f"{train.name}: {counts} {kind}{_conditions(train)}"


def _conditions(examples: Dataset) -> str:
    if examples.labels is None:
        return ""
    if not examples.embeddings:
        return f", {examples.num_classes} class{'es' * (examples.num_classes != 1)}"
    if examples.conditions:
        return f", conditions {', '.join(map(str, examples.conditions))}"
    *length, width = examples.labels.shape[1:]
    return f", conditions of {' x '.join(map(str, [*length, width]))} numbers"
