"""How many pixels of samples lie at the ends of the range, against how many of the data do.

Errors of the score push pixels over the ends, where they are cut off: too many there are a fault of the sampling.
"""

from __future__ import annotations

import math

import numpy as np
from absl import logging

from scorejax import data as data_lib
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation.evaluation import Result

EXAMPLES = 1000  # of the data, spread evenly
EXCESS = 0.05  # most of the pixels that would lie inside the range
ERRORS = 3.0  # standard errors that the excess must be above the limit


def saturation(config: Config, x: np.ndarray, train: data_lib.Dataset) -> Result:
    """The shares of pixels at the ends of the range, `saturated` and `saturated_data`, with a warning in the log.

    Nothing for vectors. With the shares p of samples and q of data, the warning is of `(p - q) / (1 - q)`, the share of
    the pixels inside the range that went to its ends.

    Args:
        config: the run's.
        x: samples, as gray levels `[N, H, W, C]`.
        train: the data.
    """
    if not train.gray_levels:
        return {}
    drawn = _shares(x, train.gray_levels)
    real = _shares(train.examples[data_lib.spread(len(train), EXAMPLES)], train.gray_levels)
    p, q = float(drawn.mean()), float(real.mean())
    error = math.hypot(drawn.std() / len(drawn) ** 0.5, real.std() / len(real) ** 0.5)
    if p - q > EXCESS * (1.0 - q) + ERRORS * error:
        logging.warning(
            "%.0f %% of the pixels of the samples lie at the ends of the range, of the data %.1f %%: %s",
            100 * p, 100 * q, _advice(config),
        )  # fmt: skip
    return {"saturated": p, "saturated_data": q}


def _shares(images: np.ndarray, levels: int) -> np.ndarray:
    """Of each image the share of pixels at the ends; one after the other, since they may lie on a disk."""
    return np.array([np.mean((image == 0) | (image == levels - 1)) for image in images])


def _advice(config: Config) -> str:
    c = config.sampler
    off = c.clip.name == "none" or getattr(c.stepper, "clip", None) is False
    clip = "set sampler.clip=auto (of a reverse chain sampler.stepper.clip=true), " if off else ""
    return f"{clip}take sampler.stepper=ancestral or more sampler.steps, or train longer"
