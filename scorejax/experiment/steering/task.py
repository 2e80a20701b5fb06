"""What is done with given images."""

from __future__ import annotations

import abc
from typing import Any

import jax
from jax import Array

from scorejax import samplers
from scorejax.experiment.config import Config
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE

NOISE = 2**31 + 1  # a stream apart from those of the samplers


class Task(abc.ABC):
    """One thing to do with images. A pytree: its arrays are arguments of compiled programs."""

    @abc.abstractmethod
    def sample(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], **sampler: Any
    ) -> samplers.Sample:
        """Draw images by the model's score.

        Args:
            keys: one per image, `[B]`.
            process: the forward process.
            score: the model's, perhaps steered towards classes.
            y: the given images `[B, H, W, C]`, or the measurement of them, in the units of the data.
            shape: of what is drawn, `(B, H, W, C)`.
            sampler: keyword arguments of `build.sampler`.
        """


def key(config: Config) -> Array:
    """What is random about a measurement follows the evaluation's seed, not the samples."""
    return jax.random.fold_in(jax.random.key(config.eval.seed), NOISE)
