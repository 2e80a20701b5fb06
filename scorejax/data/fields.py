"""Random fields whose law is known, made from a seed: series, images and volumes of floating numbers."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Interval

from scorejax.data.dataset import Dataset, check_split
from scorejax.numerics.ranges import Count, NonNegative, Positive, Seed
from scorejax.scores.random_field import random_field as law_of

_BLOCK = 2**22  # numbers drawn at a time


def random_field(
    split: str,
    *,
    seed: Seed = 0,
    side: Count = 64,
    dimensions: Annotated[int, Interval(ge=1, le=3)] = 1,
    power: NonNegative = 2.0,
    scale: Positive = 2.0,
    count: Annotated[int, Interval(ge=2, le=2**30)] = 20_000,
) -> Dataset:
    """Draw Gaussian random fields on a periodic grid, `[N, *sides, 1]`; a tenth as many to test as to train.

    Their exact log density is reported next to that of a model.

    Args:
        split: "train" or "test".
        seed: of the draws; the splits are independent.
        side: of the grid, in every direction.
        dimensions: of space: 1 makes series, 2 images, 3 volumes.
        power: how fast the spectrum falls with the wave number.
        scale: waves over a side up to which it is flat.
        count: training examples.
    """
    check_split("random_field", split)
    law = law_of(side, dimensions, power=power, scale=scale)
    generator = np.random.default_rng([seed, int(split == "test")])
    gain, axes = np.sqrt(np.asarray(law.spectrum)), tuple(range(1, dimensions + 1))
    fields = np.empty((max(count // 10, 2) if split == "test" else count, *law.shape), np.float32)
    step = max(1, _BLOCK // gain.size)
    for start in range(0, len(fields), step):
        noise = generator.standard_normal((min(step, len(fields) - start), *gain.shape))
        waves = np.fft.fftn(noise, axes=axes) * gain
        fields[start : start + step] = np.fft.ifftn(waves, axes=axes).real[..., None]
    return Dataset("random_field", fields)
