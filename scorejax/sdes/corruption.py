"""What turns data into a prior: the part that diffusions share with every other forward process.

A `Corruption` is a law `q(x_t | x_0)` to draw from, and a law at its end to begin from. An `SDE` is one with a drift
and a diffusion, which a score leads back; a `LinearSDE` (`sdes/linear.py`) one whose `q(x_t | x_0)` is a Gaussian in
closed form. A function asks for the least of them that it needs.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics.host_arrays import HostArrays
from scorejax.numerics.trees import static

Time = Array | np.ndarray | float
"""A time: a scalar, or one per example `[B]`."""


@dataclass(frozen=True, kw_only=True)
class Corruption(HostArrays, abc.ABC):
    """A forward process: how `x_t` is drawn given the data `x_0`, for times from `t_min` to `t_max`.

    Attributes:
        described: what processes of this kind are, for messages.
        instead: what serves them, for messages about what does not; empty where it depends.
        grid: the time grid that suits the process, by its name in `scorejax.times`.
        moves: whether it leads from the data to the prior; if not, it is one density under every time, see `still`.
        ends_at_data: whether time 0, the data themselves, is a level at which a sampler may end.
        t_min: the time next to the data at which integrals stop.
        t_max: the time at which the process has become the prior.
    """

    described: ClassVar[str] = "a corruption of the data"
    instead: ClassVar[str] = ""
    grid: ClassVar[str] = "uniform"
    moves: ClassVar[bool] = True
    ends_at_data: ClassVar[bool] = False
    t_min: float = static()
    t_max: float = static()

    @abc.abstractmethod
    def corrupt(self, key: Array, x0: Array, t: Time) -> Array:
        """Draw `x_t` given the data `x0 [B, ...]`; `key` is one key or one per example `[B]`."""

    @abc.abstractmethod
    def prior_sample(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Draw from the law at `t_max`; `key` is one key or one per sample `[B]`."""

    def settled(self, x: Array) -> Array:
        """Return points where a step of a sampler may leave them; a process in a box folds back what left it."""
        return x

    def label(self, t: Array) -> Array:
        """Return the noise label that published networks of this process expect: `999 t`."""
        return 999.0 * t

    def time_of(self, u: Array) -> Array:
        """Map `u` in [0, 1) to a training time; uniform `u` gives times uniform on [t_min, t_max]."""
        return self.t_min + (self.t_max - self.t_min) * u

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of an example that the process was made for; None: any."""
        return None

    def fit(self, examples: Array | np.ndarray) -> dict[str, np.ndarray]:
        """Return what the process takes from the data, as named arrays for `fitted`; most take nothing.

        Args:
            examples: training data in the units of the model, `[N, ...]`.
        """
        return {}

    def fitted(self, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the process with what `fit` found."""
        return self

    @property
    def asks_for_data(self) -> bool:
        """Whether the process must be fitted to the data before it can be used."""
        return False

    def replace(self, **changes) -> Self:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class SDE(Corruption):
    """A diffusion `dx = drift(x, t) dt + g(t) dw`, which the score of its marginals leads back to the data.

    reverse SDE:              dx = [drift - g^2 score] dt + g dw'
    probability-flow ODE:     dx/dt = drift - g^2 score / 2

    (Song et al., arXiv 2011.13456, equations 6 and 13.)
    """

    described: ClassVar[str] = "a diffusion with a drift and a score"

    @abc.abstractmethod
    def drift(self, x: Array, t: Time) -> Array:
        """Return the forward drift at points `x [B, ...]`."""

    @abc.abstractmethod
    def diffusion_squared(self, t: Time) -> Array:
        """Return `g^2(t)`."""

    @abc.abstractmethod
    def prior_logp(self, x: Array) -> Array:
        """Return the log density `[B]` of the prior, in nats."""

    @abc.abstractmethod
    def noise_variance(self, t: Time) -> Array:
        """Return the variance of the noise at `t`, the unit in which objectives weigh the squared score."""

    def tangential(self, x: Array, score: Array) -> Array:
        """Return what a network puts out as a score; in a box, with no part that points through the walls."""
        return score

    def diffusion(self, t: Time) -> Array:
        """Return `g(t)`, the coefficient of `dw`."""
        return jnp.sqrt(jnp.maximum(self.diffusion_squared(t), 0.0))

    def scale(self, coefficient: Array, t: Time, x: Array) -> Array:
        """Return the coefficient, a function of `t`, times `x`."""
        return per_batch(coefficient, as_time(t), x.ndim) * x


Kind = TypeVar("Kind", bound=Corruption)


def check_kind(sde: Corruption, kind: type[Kind], what: str) -> Kind:
    """Return the process, refused unless it is of the kind that is needed.

    Raises:
        ValueError: it is of another kind.
    """
    if not isinstance(sde, kind):
        raise ValueError(
            f"{what} needs {kind.described}, got {type(sde).__name__}, {sde.described}{'; ' * bool(sde.instead)}"
            f"{sde.instead}"
        )
    return sde


def check_moves(sde: Corruption, what: str) -> None:
    """Refuse a process that does not move where one that carries the prior to the data is needed.

    Raises:
        ValueError: it does not.
    """
    if not sde.moves:
        raise ValueError(
            f"{what} needs a process from the prior to the data, got {type(sde).__name__}, one density at one level of "
            "noise: draw from it by samplers.ula or samplers.mala; an energy has a likelihood by its partition function"
        )


def check_static(what: str, **numbers: object) -> None:
    """Refuse traced numbers where a number is part of the pytree's structure, or of a table made on the host.

    Raises:
        ValueError: with the names of those that are traced.
    """
    traced = [name for name, number in numbers.items() if not doors.known(number)]
    if traced:
        raise ValueError(
            f"{what}: {', '.join(traced)} is part of a compiled program, not one of its arguments, so that no JAX "
            "transformation can trace it; make the process outside, or vary beta_min, beta_max of vp or sigma_min, "
            "sigma_max of ve"
        )


def per_batch(coefficient: Array, t: Time, ndim: int) -> Array:
    """Append axes to a coefficient of `t [B]` so that it broadcasts against an array of `ndim` axes."""
    if jnp.ndim(t) == 0:
        return coefficient
    return coefficient.reshape(coefficient.shape + (1,) * (ndim - coefficient.ndim))


def as_time(t: Time) -> Array:
    """Return a time as an array of the working float type."""
    return jnp.asarray(t, dtype=jnp.result_type(float))
