"""The law of an example given what a decoder says of it: gray levels, binary pixels, or vectors.

A decoder gives `parameters` numbers for each value of an example, on a last axis `[..., P]`. Each law knows what it
observes of an example, the log probability of that, and how an example is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.likelihood import gray_levels as levels_lib
from scorejax.likelihood.decoder import gaussian_log_prob, level_log_prob, logistic_level_log_prob
from scorejax.numerics import keys as keys_lib

Family: TypeAlias = Literal["logistic", "gaussian"]
"""The law of a value about its mean."""
LEAST_LOG_SCALE = -7.0  # in model space: a hundredth of one of 8-bit gray levels, below which nothing is gained


class Observation(Protocol):
    """The law of an example given the outputs of a decoder."""

    @property
    def parameters(self) -> int:
        """Numbers that it takes for each value of an example."""
        ...

    def observe(self, keys: Array, x: Array) -> Array:
        """Return what is explained of examples `x [B, ...]` of model space, gray levels at the middle of their bins."""
        ...

    def log_prob(self, outputs: Array, observed: Array) -> Array:
        """Return `log p(observed | outputs)`, `[..., B]`: of outputs `[..., B, *shape, P]`, observed `[B, *shape]`."""
        ...

    def draw(self, keys: Array | None, outputs: Array) -> Array:
        """Return examples in model space, `[B, ...]`; without keys the means of their laws."""
        ...


@dataclass(frozen=True)
class Levels:
    """Gray levels: a law on the line, cut into their bins, so that the probabilities of all levels sum to 1.

    Attributes:
        gray_levels: how many levels there are.
        centered: model space is [-1, 1) instead of [0, 1).
        family: of the law; its mean and the log of its scale are the two parameters.
    """

    gray_levels: int
    centered: bool
    family: Family

    parameters = 2

    def observe(self, keys: Array, x: Array) -> Array:
        """The levels themselves."""
        return x

    def log_prob(self, outputs: Array, observed: Array) -> Array:
        """The log probability of the levels."""
        mean, log_scale = _mean_and_scale(outputs)
        if self.family == "logistic":
            value = logistic_level_log_prob(observed, mean, log_scale, self.gray_levels, centered=self.centered)
        else:
            variance = jnp.exp(2.0 * log_scale)
            value = level_log_prob(observed, mean, variance, self.gray_levels, centered=self.centered)
        return _total(value, observed)

    def draw(self, keys: Array | None, outputs: Array) -> Array:
        """Within the interval of model space, where the open bins end."""
        return jnp.clip(_around(keys, outputs, self.family), -1.0 if self.centered else 0.0, 1.0)


@dataclass(frozen=True)
class Values:
    """Vectors of model space, each value by a law of its own.

    Attributes:
        family: of the law; its mean and the log of its scale are the two parameters.
    """

    family: Family

    parameters = 2

    def observe(self, keys: Array, x: Array) -> Array:
        """The vectors themselves."""
        return x

    def log_prob(self, outputs: Array, observed: Array) -> Array:
        """The log density of model space."""
        mean, log_scale = _mean_and_scale(outputs)
        if self.family == "logistic":
            value = jax.scipy.stats.logistic.logpdf((observed - mean) * jnp.exp(-log_scale)) - log_scale
        else:
            value = gaussian_log_prob(observed, mean, jnp.exp(2.0 * log_scale))
        return _total(value, observed)

    def draw(self, keys: Array | None, outputs: Array) -> Array:
        """Vectors of model space."""
        return _around(keys, outputs, self.family)


@dataclass(frozen=True)
class Binary:
    """Black and white pixels, drawn from the gray levels anew whenever an image is looked at (dynamic binarization).

    Level `k` of `L` is white with probability `k / (L - 1)` (Salakhutdinov and Murray, 2008). What is modeled is the
    law of the black and white images.

    Attributes:
        gray_levels: how many levels there are.
        centered: white is 1 and black -1 instead of 0.
    """

    gray_levels: int
    centered: bool

    parameters = 1

    def observe(self, keys: Array, x: Array) -> Array:
        """Pixels that are black or white."""
        levels = levels_lib.to_levels(x, self.gray_levels, centered=self.centered)
        white = keys_lib.uniform(keys, x.shape) * (self.gray_levels - 1) < levels
        return levels_lib.from_unit(white.astype(x.dtype), centered=self.centered)

    def log_prob(self, outputs: Array, observed: Array) -> Array:
        """The log probability of the pixels; the parameter is the logit of white."""
        logits = outputs[..., 0]
        return _total(jnp.where(observed > 0.0, jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)), observed)

    def draw(self, keys: Array | None, outputs: Array) -> Array:
        """Pixels that are black or white, as gray levels; without keys gray, the probability of white."""
        chance = jax.nn.sigmoid(outputs[..., 0])
        unit = chance if keys is None else (keys_lib.uniform(keys, chance.shape) < chance).astype(chance.dtype)
        return levels_lib.from_unit(unit, centered=self.centered)


def _mean_and_scale(outputs: Array) -> tuple[Array, Array]:
    return outputs[..., 0], jnp.maximum(outputs[..., 1], LEAST_LOG_SCALE)


def _around(keys: Array | None, outputs: Array, family: Family) -> Array:
    """Draws of the law about the means; the means without keys."""
    mean, log_scale = _mean_and_scale(outputs)
    if keys is None:
        return mean
    sampler = jax.random.logistic if family == "logistic" else jax.random.normal
    noise = jax.vmap(lambda key: sampler(key, mean.shape[1:], mean.dtype))(keys)
    return mean + jnp.exp(log_scale) * noise


def _total(value: Array, observed: Array) -> Array:
    """The sum over the values of each example."""
    return jnp.sum(value, axis=tuple(range(1 - observed.ndim, 0)))
