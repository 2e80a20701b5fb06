"""Variance heads: reverse variances that a network predicts from `x_t`, coordinate by coordinate.

Where the modes of a process differ, the coordinates are its modes, as in all of its reverse chains.

Each class says what its network was fitted to, and makes of it the variance of the noise given `x_t`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics.trees import register_dataclass, static

HeadNetwork = Callable[[Array, Array], Array]
"""`network(x, t)`: `x [B, ...]`, `t [B]` -> `[B, ...]`; a `jax.tree_util.Partial` that carries its parameters."""


@register_dataclass
@dataclass(frozen=True)
class UnboundHead:
    """A head that has not been put on its network yet; what a reverse chain holds until `bind`.

    A chain is made on the host, while the head has to be made inside the compiled program, from the same parameters as
    the score, so that one evaluation of the network serves both. Derive from this to carry the head's own parameters:
    a registered dataclass is an argument of the program like any other.
    """


@dataclass(frozen=True)
class VarianceHead(abc.ABC):
    """A variance that a network predicts: it turns the output of a head into a variance.

    Attributes:
        network: `network(x, t)`.
        average: use one variance per example, the mean over its coordinates.
    """

    of_step: ClassVar[bool] = False
    """Whether the value makes the variance of a step with `step_variance`, or is the variance of the noise."""

    network: HeadNetwork
    average: bool = static(default=False)

    def __call__(self, x: Array, t: Array, noise: Array) -> Array:
        """Return the variance of the noise given `x_t = x`, or what `step_variance` takes, shaped like `x`.

        Args:
            x: points `[B, ...]`.
            t: their times `[B]`.
            noise: the noise predicted there, `-sigma score`.
        """
        value = self.value(doors.field(x, self.network(x, t), "a variance head"), noise)
        if not self.average:
            return value
        return jnp.broadcast_to(jnp.mean(value, axis=tuple(range(1, x.ndim)), keepdims=True), x.shape)

    @abc.abstractmethod
    def value(self, output: Array, noise: Array) -> Array:
        """Return the variance of the noise, or what `step_variance` takes, for this output of the head."""

    def step_variance(self, posterior: Array, forward: Array, value: Array) -> Array:
        """Return the variance of a step, for a head with `of_step`, from the step's own variances and the value.

        Args:
            posterior: variance of `q(x_s | x_t, x_0)`, broadcastable to `value`.
            forward: variance of `q(x_t | x_s)`, likewise.
            value: of the head, shaped like `x`.
        """
        raise NotImplementedError(f"{type(self).__name__} predicts the variance of the noise")


@register_dataclass
@dataclass(frozen=True)
class NoiseResidual(VarianceHead):
    """NPR-DPM (arXiv 2206.07309): the head is fitted to `(eps - eps(x_t))^2` of a frozen network.

    Optimal among diagonal variances for the given mean, even if that is not exact: the choice for likelihoods.
    """

    def value(self, output: Array, noise: Array) -> Array:
        return output


@register_dataclass
@dataclass(frozen=True)
class SquaredNoise(VarianceHead):
    """SN-DPM (arXiv 2206.07309): the head `h` is fitted to `eps^2`; the variance of the noise is `h - eps(x_t)^2`.

    Trusts the mean to be exact. Its samples are the best of the family at few steps, its likelihood is not.
    """

    def value(self, output: Array, noise: Array) -> Array:
        return output - noise**2


@register_dataclass
@dataclass(frozen=True)
class ScoreCurvature(VarianceHead):
    """Optimal covariance matching: the head is fitted to the diagonal of `sigma_t^2` times the Jacobian of the score.

    The variance of the noise is `1 + sigma_t^2 H_ii` (second-order Tweedie).
    """

    def value(self, output: Array, noise: Array) -> Array:
        return 1.0 + output


@register_dataclass
@dataclass(frozen=True)
class LearnedRange(VarianceHead):
    """Improved DDPM (arXiv 2102.09672): `log variance = v log beta + (1 - v) log beta_tilde`, `v` from the head.

    Published networks put out `2 v - 1` in a second half of their channels.
    """

    of_step: ClassVar[bool] = True

    def value(self, output: Array, noise: Array) -> Array:
        return output

    def step_variance(self, posterior: Array, forward: Array, value: Array) -> Array:
        return jnp.exp(value * jnp.log(forward) + (1.0 - value) * jnp.log(posterior))


@register_dataclass
@dataclass(frozen=True)
class AroundForward(VarianceHead):
    """The first diffusion model (Sohl-Dickstein et al., arXiv 1503.03585): `logit variance = logit beta + scale z`.

    `z` is from the head; where it is zero, the variance is the forward one. For steps with `beta < 1`.

    Attributes:
        scale: what the output is multiplied by. With `T^(-1/2)` for a chain of `T` levels, an output of unit size costs
            a finite number of nats over the whole chain, however many levels it has.
    """

    of_step: ClassVar[bool] = True

    scale: float = static(default=1.0)

    def value(self, output: Array, noise: Array) -> Array:
        return self.scale * output

    def step_variance(self, posterior: Array, forward: Array, value: Array) -> Array:
        return jax.nn.sigmoid(value + jnp.log(forward) - jnp.log1p(-forward))
