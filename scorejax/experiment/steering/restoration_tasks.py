"""How images are drawn given a measurement of them: by a posterior score, mode by mode, or by replacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import guidance, samplers
from scorejax.experiment.assemble.sampling import SamplerArguments
from scorejax.experiment.steering.tasks import NOISE, Restoring
from scorejax.guidance.ddrm import Spectrum
from scorejax.guidance.operators import Operator
from scorejax.guidance.operators.selections import Mask
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import register_dataclass, static
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE


@dataclass(frozen=True, kw_only=True)
class Restoration(Restoring):
    """Samples given `y = A x_0 + sigma_y n`.

    Attributes:
        operator: `A`.
        sigma_y: in the units of the data.
        measured: whether the given images are the measurements, not what is to be found.
        draws: how often each image is drawn.
    """

    compared = "pinv"

    operator: Operator
    sigma_y: float = static()
    measured: bool = static()
    draws: int = static(default=1)

    def measure(self, keys: Array, x0: Array) -> Array:
        """Return `y` for the images `x0 [B, H, W, C]`, the noise of each by its own key."""
        y = self.operator.forward(x0)
        noise = keys_lib.normal(keys_lib.fold_in(keys, NOISE), y.shape, y.dtype)
        return self.operator.clean(y + self.sigma_y * noise)

    def residual(self, keys: Array, x: Array, y: Array) -> Array:
        return self.operator.forward(x) - y

    def comparison(self, y: Array) -> Array:
        return self.operator.pinv(y)

    def measured_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the measurement of one image of this shape."""
        return jax.eval_shape(self.operator.forward, jax.ShapeDtypeStruct((1, *shape), jnp.float32)).shape[1:]


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class ByPosteriorScore(Restoration):
    """Restoration by the score given the measurement, under any sampler.

    Attributes:
        guide: `(sde, score, operator, y) -> score`, a pytree.
        bounds: of the posterior mean, guidance included, see `guidance.clipped`; None: none.
    """

    guide: Partial
    bounds: tuple[float, float] | None = static()

    def sample(
        self,
        keys: Array,
        process: LinearSDE,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        guided = self.guide(process, score, self.operator, y)
        sampler["clip"] = self.bounds  # the method's own setting holds, not the sampler's
        return samplers.sample(keys, process, guided, shape, **sampler)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class ByModes(Restoration):
    """Restoration mode by mode (DDRM), with steps of its own: of the sampler, the times and the last denoising.

    Attributes:
        spectrum: the operator's modes.
        options: of `guidance.ddrm`.
    """

    spectrum: Spectrum
    options: tuple[tuple[str, float], ...] = static()

    def sample(
        self,
        keys: Array,
        process: LinearSDE,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        own = {"times": sampler["times"], "denoise": sampler["denoise"], **dict(self.options)}
        return guidance.ddrm(keys, process, score, self.spectrum, y, self.sigma_y, shape=shape, **own)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class ByReplacement(Restoration):
    """Restoration by putting what is known, as noisy as the sample, in its place after each step.

    Attributes:
        rounds: how often each step is taken (RePaint).
        jump: over how many steps each round goes back.
    """

    rounds: int = static()
    jump: int = static()

    def sample(
        self,
        keys: Array,
        process: LinearSDE,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        options: dict[str, Any] = {"rounds": self.rounds, "jump": self.jump}
        if isinstance(self.operator, Mask):
            return guidance.inpaint(keys, process, score, y, self.operator.mask, **sampler, **options)
        return guidance.colorize(keys, process, score, y, **sampler, **options)
