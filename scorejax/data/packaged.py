"""Small sets of real data that come with libraries which are there anyway: a recording, a map, and a table."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from annotated_types import Interval
from numpy.lib.stride_tricks import sliding_window_view

from scorejax.data.dataset import Dataset, check_split
from scorejax.numerics.ranges import Seed

_HELD_OUT = 5  # every so many blocks of the map, and the last such part of the recording
_BLOCK = 43  # sides of the blocks of the map, in pixels
STEPS = {"age": 1.0, "bmi": 0.1, "bp": 1.0, "s1": 1.0, "s3": 1.0, "s6": 1.0}
"""Columns of `diabetes`, and the steps in which they were written down."""


def _sample(name: str) -> str:
    from matplotlib import cbook

    return str(cbook.get_sample_data(name, asfileobj=False))


def eeg(split: str, *, length: Annotated[int, Interval(ge=2, le=128)] = 64) -> Dataset:
    """Windows of an electroencephalogram of four electrodes, float `[N, length, 4]`, at 100 steps a second.

    The recording of 8 seconds that comes with matplotlib. The test split is its last fifth, so that no window of it
    overlaps one of the training split.

    Args:
        split: "train" or "test".
        length: of a window, in steps; one begins at every step.
    """
    check_split("eeg", split)
    recording = np.fromfile(_sample("eeg.dat"), np.float64).reshape(800, 4)
    parts = np.split(recording, [800 - 800 // _HELD_OUT])
    windows = sliding_window_view(parts[split == "test"], length, axis=0)  # [N, C, L]
    return Dataset("eeg", np.ascontiguousarray(windows.swapaxes(1, 2), np.float32))


def elevation(split: str, *, side: Annotated[int, Interval(ge=2, le=_BLOCK)] = 16) -> Dataset:
    """Squares of a map of heights in whole meters, int16 `[N, side, side, 1]`, 90 meters from pixel to pixel.

    The surroundings of Jacksboro, Tennessee, 344 x 403 pixels that come with matplotlib. The map is cut into 72 blocks
    of 43 x 44 pixels, every fifth of them is held out, and squares do not reach over their edges.

    Args:
        split: "train" or "test".
        side: of a square, in pixels; one begins at every other pixel.
    """
    check_split("elevation", split)
    with np.load(_sample("jacksboro_fault_dem.npz")) as found:
        heights = found["elevation"]
    blocks = [block for row in np.array_split(heights, 8) for block in np.array_split(row, 9, axis=1)]
    squares = [
        sliding_window_view(block, (side, side))[::2, ::2].reshape(-1, side, side, 1)
        for i, block in enumerate(blocks)
        if (i % _HELD_OUT == 2) == (split == "test")
    ]
    return Dataset("elevation", np.concatenate(squares))


def diabetes(split: str, *, seed: Seed = 0) -> Dataset:
    """Six measurements of 442 patients, float `[N, 6]`, with the progress of their disease a year later as a condition.

    Age, body mass index, blood pressure, cholesterol, HDL and blood sugar of the set in scikit-learn (Efron
    et al. 2004). They were written down in steps, over which they are spread evenly; the condition has mean 0 and
    deviation 1 over the training split. Every tenth patient belongs to the test split.

    Args:
        split: "train" or "test".
        seed: of the places within the steps.
    """
    from sklearn.datasets import load_diabetes  # takes long to import, and only this set needs it

    check_split("diabetes", split)
    found: Any = load_diabetes(scaled=False)
    columns = [list(found.feature_names).index(name) for name in STEPS]
    steps = np.array(list(STEPS.values()))
    values = found.data[:, columns] + steps * (
        np.random.default_rng(seed).random((len(found.data), len(columns))) - 0.5
    )
    in_test = np.arange(len(values)) % 10 == 9
    progress = found.target[:, None]
    progress = (progress - progress[~in_test].mean()) / progress[~in_test].std()
    rows = in_test == (split == "test")
    return Dataset("diabetes", values[rows].astype(np.float32), progress[rows].astype(np.float32))
