"""Processes whose drift is any function of the point: `q(x_t | x_0)` has no closed form, and is simulated.

Kolmogorov's forward equation gives the density of `x_t` given `x_0` for every drift, but its solution is a Gaussian
only where the drift is affine. What needs `alpha_t` and `sigma_t` refuses these processes; what needs a drift, a
diffusion and a score takes them, and the score is learned from draws of `x_t` alone, by sliced score matching.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import as_pytree, register_dataclass, static
from scorejax.sdes.corruption import SDE, Time, as_time, per_batch
from scorejax.sdes.laws import Law

Method: TypeAlias = Literal["heun", "euler"]
METHODS = get_args(Method)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Drifting(SDE):
    """`dx = drift(x, t) dt + g(t) dw`, reflected at the walls of a box if there are any; made by `drifting`.

    Attributes:
        field: the drift, `(x [B, ...], t [B, 1, ...]) -> [B, ...]`.
        noise: `g`, of times `[B]`.
        law: the law at `t_max`.
        steps: of a simulation from the data to any time.
        method: of the simulation.
        bounds: the walls (low, high) of every coordinate; None: there are none.
    """

    described: ClassVar[str] = "a diffusion with any drift, whose q(x_t | x_0) can only be simulated"
    instead: ClassVar[str] = (
        "it takes predictions of the score, the objectives sliced, implicit and finite_difference, the steppers "
        "euler_maruyama, probability_flow, adaptive_probability_flow and ula, and exact likelihoods"
    )
    field: Callable[[Array, Array], Array]
    noise: Callable[[Array], Array]
    law: Law
    steps: int = static()
    method: str = static()
    bounds: tuple[float, float] | None = static(default=None)

    def drift(self, x: Array, t: Time) -> Array:
        """Return the forward drift at points `x [B, ...]`."""
        x = doors.points(x, finite=False)
        doors.times(t, 0.0, self.t_max, of=x.shape)
        t = jnp.broadcast_to(as_time(t), x.shape[:1])
        return doors.field(x, self.field(x, per_batch(t, t, x.ndim)), "the drift")

    def diffusion(self, t: Time) -> Array:
        """Return `g(t)`, the coefficient of `dw`."""
        t = as_time(t)
        return _diffusion(self.noise, t)

    def diffusion_squared(self, t: Time) -> Array:
        """Return `g^2(t)`."""
        return self.diffusion(t) ** 2

    def noise_variance(self, t: Time) -> Array:
        """Return `1 - exp(-int_0^t g^2)`, what a variance-preserving process with this `g` would have added."""
        t = as_time(t)
        # by quadrature with 16 nodes, exact where g^2 is a polynomial of degree 31
        at = 0.5 * t[..., None] * (1.0 + jnp.asarray(_NODES, t.dtype))
        return -jnp.expm1(-0.5 * t * jnp.sum(self.diffusion_squared(at) * jnp.asarray(_WEIGHTS, t.dtype), axis=-1))

    def settled(self, x: Array) -> Array:
        """Return points reflected at the walls, as often as it takes to be inside."""
        if self.bounds is None:
            return x
        low, high = self.bounds
        width = high - low
        folded = low + width - jnp.abs(jnp.mod(x - low, 2.0 * width) - width)
        # the last digit of what is inside stays as it is
        return jnp.where((low <= x) & (x <= high), x, jnp.clip(folded, low, high))

    def tangential(self, x: Array, score: Array) -> Array:
        """Return the score times `4 (x - low) (high - x) / (high - low)^2` where there are walls, else the score.

        Coordinate by coordinate. The marginals of a reflected process have no slope across a wall, and score matching
        by partial integration, which loses a term at the walls otherwise, needs a score that knows that.
        """
        if self.bounds is None:
            return score
        low, high = self.bounds
        return 4.0 * (x - low) * (high - x) / (high - low) ** 2 * score

    def corrupt(self, key: Array, x0: Array, t: Time) -> Array:
        """Draw `x_t` given the data `x0 [B, ...]`, by `steps` steps from 0 to the time of each example.

        Data outside of the walls, if there are any, are refused where their numbers are known.

        Args:
            key: one key or one per example `[B]`; an example depends on its own key alone.
            x0: data, `[B, ...]`.
            t: times, a number or `[B]`, from 0, the data, to `t_max`.

        Raises:
            ValueError: on points or times that the process is not defined for, or a drift of another shape.
        """
        x0 = self._data(x0, t)
        return _simulate(self, keys_lib.per_example(key, x0.shape[0]), x0, as_time(t), keep=False)[0]

    def path(self, key: Array, x0: Array, t: Time | None = None) -> tuple[Array, Array]:
        """Return the times `[steps + 1, B]` and the points `[steps + 1, B, ...]` of one simulation; as `corrupt`.

        Raises:
            ValueError: as `corrupt`.
        """
        t = self.t_max if t is None else t
        x0 = self._data(x0, t)
        t = jnp.broadcast_to(as_time(t), x0.shape[:1])
        states = _simulate(self, keys_lib.per_example(key, x0.shape[0]), x0, t, keep=True)[1]
        return jnp.linspace(jnp.zeros_like(t), t, self.steps + 1), jnp.concatenate([x0[None], states])

    def _data(self, x0: Array, t: Time) -> Array:
        """Return data in the working float type, which lie between the walls."""
        x0 = doors.points(x0, finite=False)
        doors.times(t, 0.0, self.t_max, of=x0.shape)
        if self.bounds is not None and doors.known(x0):
            check_inside(np.asarray(x0), self.bounds)
        return x0

    def prior_sample(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Draw from the law at `t_max`; `key` is one key or one per sample `[B]`."""
        shape = doors.batch_shape(shape)
        return doors.points(self.law.sample(keys_lib.per_example(key, shape[0]), shape), "the prior", shape=shape)

    def prior_logp(self, x: Array) -> Array:
        """Return the log density `[B]` of the prior, in nats."""
        x = doors.points(x, finite=False)
        return doors.per_row(x, self.law.log_prob(x), "the density of the prior")


def drifting(
    drift: Callable[[Array, Array], Array],
    diffusion: Callable[[Array], Array],
    *,
    prior: Law,
    steps: int = 100,
    t_max: float = 1.0,
    t_min: float = 1e-3,
    method: Method = "heun",
    bounds: tuple[float, float] | None = None,
) -> Drifting:
    """Return the process `dx = drift(x, t) dt + g(t) dw` of any drift.

    `x_t` is drawn by simulating: with `heun`, where `e` is the Brownian increment of variance `int g^2 dt` over a step,

        y = x + h drift(x, t) + e,   x <- x + h / 2 [drift(x, t) + drift(y, t + h)] + e

    which for noise that does not depend on the point has strong order 1 and weak order 2, or with `euler`, whose step
    is `y`. Each example takes `steps` steps of its own length, from the data to its own time. With `bounds` it is
    reflected at the walls of a box: the forward process and its reverse (Lou & Ermon, arXiv 2304.04740) are folded back
    into it after every step, and its marginals have no slope across the walls.

    The prior must be what the process ends in. With `drift = -(g^2 / 2) grad V(x)` that is its stationary law, of the
    density `exp(-V) / Z`, if `int g^2 / 2` is several times the relaxation time of `exp(-V)`.

    Args:
        drift: `(x [B, ...], t [B, 1, ...]) -> [B, ...]`, each example's from its own row alone, with times that
            broadcast against points. Numbers of its own by `jax.tree_util.Partial(function, numbers)`: a function that
            is made anew, such as a lambda in a loop, compiles every program again.
        diffusion: `g(t)`, at times of any shape, not negative.
        prior: the law at `t_max`, with `sample(keys, shape)` and `log_prob(x)`, such as `sdes.independent(...)`.
        steps: of a simulation from the data to any time.
        t_max: the time at which the process has become the prior.
        t_min: the time next to the data at which integrals stop.
        method: `heun`, two evaluations of the drift each step, or `euler`, one.
        bounds: (low, high), the walls of every coordinate, in the units of the model; None: there are none.

    Raises:
        ValueError: unless `0 <= t_min < t_max`, `steps >= 1`, `low < high`, the method is known, `diffusion` returns
            numbers of the shape of its times that are finite and not negative, and the prior is a law.
    """
    drift, diffusion = as_pytree(drift), as_pytree(diffusion)
    if not 0.0 <= t_min < t_max:
        raise ValueError(f"drifting needs 0 <= t_min < t_max, got t_min={t_min}, t_max={t_max}")
    if steps < 1:
        raise ValueError(f"drifting needs at least one step of simulation, got steps={steps}")
    if method not in METHODS:
        raise ValueError(f"drifting: unknown method {method!r}; choose one of {', '.join(METHODS)}")
    if not (hasattr(prior, "sample") and hasattr(prior, "log_prob")):
        raise ValueError(
            f"drifting: a prior has methods sample(keys, shape) and log_prob(x), got a {type(prior).__name__}; "
            "sdes.independent(log_density, low, high) makes one"
        )
    if bounds is not None:
        bounds = doors.interval(bounds, "drifting: bounds")
    if doors.known(diffusion):
        with jax.ensure_compile_time_eval():
            times = np.linspace(0.0, t_max, 257)
            values = np.asarray(_diffusion(diffusion, as_time(times)))
        if not np.all(np.isfinite(values) & (values >= 0.0)):
            first = int(np.argmin(np.isfinite(values) & (values >= 0.0)))
            raise ValueError(
                f"drifting: the diffusion must be finite and not negative from 0 to t_max, got g={values[first]:.4g} "
                f"at t={times[first]:.4g}"
            )
    return Drifting(
        field=drift, noise=diffusion, law=prior, steps=steps, method=method, bounds=bounds, t_min=t_min, t_max=t_max
    )


def check_inside(x: np.ndarray, bounds: tuple[float, float]) -> None:
    """Refuse data that lie outside of the walls of a process.

    Raises:
        ValueError: some do.
    """
    low, high = bounds
    outside = np.count_nonzero((x < low) | (x > high))
    if outside:
        raise ValueError(
            f"the walls of the process are at {low:g} and {high:g}, but the data reach from {x.min():.4g} to "
            f"{x.max():.4g} ({outside} of {x.size} numbers lie outside): move the walls, or scale the data"
        )


def _diffusion(noise: Callable[[Array], Array], t: Array) -> Array:
    """Return `g` at times; one number may stand for all of them."""
    found = jnp.asarray(noise(t))
    if found.shape not in ((), t.shape) or not jnp.issubdtype(found.dtype, jnp.floating):
        raise ValueError(
            f"the diffusion must return one floating number for each time, shape {t.shape}, got {found.shape} of "
            f"{found.dtype}"
        )
    return jnp.broadcast_to(found, t.shape).astype(t.dtype)


@partial(jax.jit, static_argnames="keep")
def _simulate(sde: Drifting, keys: Array, x0: Array, t: Array, *, keep: bool) -> tuple[Array, Array | None]:
    t = jnp.broadcast_to(t, x0.shape[:1]).astype(x0.dtype)
    h = t / sde.steps

    def wide(coefficient: Array) -> Array:
        return per_batch(coefficient, t, x0.ndim)

    def step(x: Array, i: Array) -> tuple[Array, Array | None]:
        # the last may round beyond `t_max`
        start, middle, end = (jnp.minimum(h * (i + part), t) for part in (0.0, 0.5, 1.0))
        first, between, last = (sde.diffusion_squared(at) for at in (start, middle, end))
        # the variance of the increment by Simpson's rule, exact for a g^2 that is cubic in time
        std = jnp.sqrt(h * (first + 4.0 * between + last) / 6.0)
        increment = wide(std) * keys_lib.normal(keys_lib.fold_in(keys, i), x.shape, x.dtype)
        slope = sde.drift(x, start)
        ahead = sde.settled(x + wide(h) * slope + increment)
        if sde.method == "heun":
            ahead = sde.settled(x + wide(0.5 * h) * (slope + sde.drift(ahead, end)) + increment)
        return ahead, ahead if keep else None

    return lax.scan(step, x0, jnp.arange(sde.steps))
