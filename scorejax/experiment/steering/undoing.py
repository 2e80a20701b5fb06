"""Given images freed of the degradation that the model was trained to undo: cold diffusion from images of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from jax import Array

from scorejax import samplers
from scorejax.degradations import Degradation, Drawn
from scorejax.experiment.assemble.sampling import SamplerArguments
from scorejax.experiment.steering.guidance import About, OfImages
from scorejax.experiment.steering.tasks import NOISE, Restoring
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count
from scorejax.numerics.trees import register_dataclass, static
from scorejax.runtime.errors import ConfigError
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import Corruption


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Undoing(Restoring):
    """Images led back from a level of the model's own degradation.

    Attributes:
        degradation: what is undone.
        level: at which the images are.
        measured: whether the given images are degraded, not what is to be found.
    """

    compared = "degraded"

    degradation: Degradation
    level: int = static()
    measured: bool = static()

    @property
    def time(self) -> float:
        """Of the level."""
        return self.level / self.degradation.levels

    def measure(self, keys: Array, x0: Array) -> Array:
        return self.degradation.degrade(x0, self.time, self._drawn(keys, x0.shape))

    def residual(self, keys: Array, x: Array, y: Array) -> Array:
        drawn = self.degradation.begin(keys, y) if self.measured else self._drawn(keys, y.shape)
        return self.degradation.degrade(x, self.time, self.degradation.infer(y, x, self.time, drawn)) - y

    def comparison(self, y: Array) -> Array:
        return y

    def sample(
        self,
        keys: Array,
        process: Corruption,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        known = self.degradation if self.measured else self.degradation.held(self._drawn(keys, shape))
        times = np.asarray(sampler["times"])
        below = times[times < self.time - 0.5 * self.degradation.t_min]
        own: dict[str, Any] = {**sampler, "times": np.concatenate([[self.time], below])}
        return samplers.sample(keys, known, score, shape, x_init=y, **own)

    def _drawn(self, keys: Array, shape: tuple[int, ...]) -> Drawn:
        return self.degradation.draw(keys_lib.fold_in(keys, NOISE), shape)


@dataclass(frozen=True, kw_only=True)
class Undo(OfImages):
    """Restore images from the degradation that the model was trained to undo.

    Attributes:
        level: at which they are; None: the last.
        measured: whether the input is degraded already, not what is to be found.
    """

    needs = ("restore",)

    level: Count | None = None
    measured: bool = False

    def image_task(self, about: About) -> Undoing:
        found = about.model.degradation
        if found is None:
            raise ConfigError("guidance = 'undo' is of models of recipe 'restoration'; this one undoes no degradation")
        if self.level is not None and self.level > found.levels:
            raise ConfigError(f"guidance.level = {self.level}; this degradation has levels 1 to {found.levels}")
        return Undoing(degradation=found, level=self.level or found.levels, measured=self.measured)
