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
from scorejax.experiment.evaluation.subject import Subject
from scorejax.runtime.errors import ConfigError

EXAMPLES = 1000  # of the data, spread evenly
EXCESS = 0.05  # most of the pixels that would lie inside the range
ERRORS = 3.0  # standard errors that the excess must be above the limit


def saturation(model: Subject, x: np.ndarray) -> Result:
    """The shares of pixels at the ends of the range, `saturated` and `saturated_data`, with a warning in the log.

    Nothing for vectors; of the data None where they are not there any more.

    Args:
        model: with the form of its data.
        x: samples, as gray levels `[N, H, W, C]`.
    """
    levels = model.form.gray_levels
    if not (levels and model.form.pictured):
        return {}
    drawn = shares(x, levels)
    try:
        train = model.trained.recipe.given.examples
    except ConfigError:
        return {"saturated": float(drawn.mean()), "saturated_data": None}
    real = shares(train.examples[data_lib.spread(len(train), EXAMPLES)], levels)
    warn(model.config, drawn, real)
    return {"saturated": float(drawn.mean()), "saturated_data": float(real.mean())}


def shares(images: np.ndarray, levels: int) -> np.ndarray:
    """Of each image the share of pixels at the ends; one after the other, since they may lie on a disk."""
    return np.array([np.mean((image == 0) | (image == levels - 1)) for image in images])


def warn(config: Config, drawn: np.ndarray, real: np.ndarray) -> None:
    """Warn where more of the pixels that would lie inside the range, `(p - q) / (1 - q)`, went to its ends than may.

    Args:
        config: of the sampler.
        drawn: the shares of samples `[N]`, whose mean is p.
        real: the shares of examples `[M]`, whose mean is q.
    """
    p, q = float(drawn.mean()), float(real.mean())
    error = math.hypot(drawn.std() / len(drawn) ** 0.5, real.std() / len(real) ** 0.5)
    if p - q <= EXCESS * (1.0 - q) + ERRORS * error:
        return
    logging.warning(
        "%.0f %% of the pixels of the samples lie at the ends of the range, of the data %.1f %%: %s",
        100 * p, 100 * q, _advice(config),
    )  # fmt: skip


def _advice(config: Config) -> str:
    c = config.sampler
    if getattr(c.stepper, "clip", None) is False:
        return "set sampler.stepper.clip=true"
    if c.clip.name == "none":
        return "set sampler.clip=auto"
    return "take more sampler.steps or a sampler with noise such as ancestral, or train longer"
