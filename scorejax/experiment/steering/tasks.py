"""What is done with given images: the seam between guidance and the programs that do it."""

from __future__ import annotations

import abc
from typing import ClassVar, Unpack

from jax import Array

from scorejax import samplers
from scorejax.experiment.assemble.sampling import SamplerArguments
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import Corruption

NOISE = 2**31 + 1  # a stream apart from those of the samplers


class Task(abc.ABC):
    """One thing to do with images. A pytree: its arrays are arguments of compiled programs."""

    restores: ClassVar[bool] = False
    """Whether the given images are to be found again, so that they are the truth."""

    @abc.abstractmethod
    def sample(
        self,
        keys: Array,
        process: Corruption,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        """Draw images by the model's score.

        Args:
            keys: one per image, `[B]`.
            process: the forward process.
            score: the model's, perhaps steered toward classes.
            y: the given images `[B, H, W, C]`, or the measurement of them, in the units of the data.
            shape: of what is drawn, `(B, H, W, C)`.
            sampler: keyword arguments of `scorejax.sample`.
        """


class Restoring(Task):
    """Images are found again from what was measured of them.

    Attributes:
        measured: whether the given images are the measurements, not what is to be found.
    """

    restores = True
    compared: ClassVar[str]
    """What results are compared with, by its name in a report."""
    measured: bool

    @abc.abstractmethod
    def measure(self, keys: Array, x0: Array) -> Array:
        """Return the measurement of images `x0 [B, H, W, C]`, what is random about it by one key for each."""

    @abc.abstractmethod
    def residual(self, keys: Array, x: Array, y: Array) -> Array:
        """Return by how much the measurement of `x`, without its noise, differs from `y`; keys as of `measure`."""

    @abc.abstractmethod
    def comparison(self, y: Array) -> Array:
        """Return the images that a measurement gives without a model."""

    def measured_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the measurement of one image of this shape."""
        return shape
