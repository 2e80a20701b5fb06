"""The probability-flow ODE solved adaptively by diffrax; encoding, decoding, interpolation in latent space.

Every sample has a step size of its own, so that it does not depend on its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics.batching import together
from scorejax.numerics.trees import PyTree, as_pytree
from scorejax.samplers.driver import Sample
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score, probability_flow
from scorejax.sdes.linear import LinearSDE, Time, static

State = TypeVar("State")  # a tree of arrays
EVALUATIONS_PER_STEP = 6  # Tsit5 reuses its last stage


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AdaptiveProbabilityFlow(Stepper):
    """The probability-flow ODE from `t` to `s` by Tsit5 with its own step size for every sample."""

    rtol: float | Array
    atol: float | Array
    max_steps: int = static(default=4096)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        drift = together(probability_flow(sde, score), x, jnp.zeros(x.shape[0], x.dtype))

        def one(point: Array) -> tuple[Array, Array]:
            def field(time, y, _):
                return drift(y, time)

            return solve(field, point, t, s, self.rtol, self.atol, self.max_steps)

        x, nfe = jax.vmap(one)(x)
        return Step(x, (), jnp.max(nfe))


def adaptive_probability_flow(rtol: float = 1e-5, atol: float = 1e-5, max_steps: int = 4096) -> AdaptiveProbabilityFlow:
    """Return the adaptive solver of the probability-flow ODE (Tsitouras 5(4) by diffrax).

    Between two times of the grid each sample takes as many steps as it needs, so `times=[t_max, t_min]` is enough.
    A sample that does not arrive within `max_steps` is NaN, never silently wrong.

    Args:
        rtol: relative tolerance; float32 resolves about 1e-6.
        atol: absolute tolerance, in model units.
        max_steps: most solver steps between two times.

    Raises:
        ValueError: unless the tolerances are positive.
    """
    if not (rtol > 0 and atol > 0 and max_steps > 0):
        raise ValueError(
            f"adaptive_probability_flow: need positive rtol, atol and max_steps, got {rtol}, {atol}, {max_steps}"
        )
    return AdaptiveProbabilityFlow(rtol, atol, max_steps)


def solve(
    field, y: State, t0: Time, t1: Time, rtol: float | Array, atol: float | Array, max_steps: int
) -> tuple[State, Array]:
    """Solve `dy/dt = field(t, y, None)` from `t0` to `t1`; return `y(t1)` (NaN on failure) and evaluations made."""
    import diffrax

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        t0,
        t1,
        dt0=None,  # chosen by the solver from the field at the start
        y0=y,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol, norm=_largest),
        saveat=diffrax.SaveAt(t1=True),
        max_steps=max_steps,
        throw=False,  # an error cannot leave a compiled program; a failure becomes NaN below
        adjoint=diffrax.ForwardMode(),  # a plain while loop, whose memory does not grow with `max_steps`
    )
    arrived = solution.result == diffrax.RESULTS.successful
    end = jax.tree.map(lambda leaf: jnp.where(arrived, leaf[-1], jnp.nan), solution.ys)
    return end, EVALUATIONS_PER_STEP * solution.stats["num_steps"] + 1


def _largest(error: PyTree) -> Array:
    """Root mean square of the part of the state that is worst off: one density counts as much as many pixels."""
    return jnp.max(jnp.stack([jnp.sqrt(jnp.mean(leaf**2)) for leaf in jax.tree.leaves(error)]))


def encode(sde: LinearSDE, score: Score, x: Array, *, rtol: float = 1e-5, atol: float = 1e-5) -> Sample:
    """Map data at `sde.t_min` to its latent at `sde.t_max` along the probability-flow ODE.

    Args:
        sde: the forward process.
        score: `score(x, t)`.
        x: data in model units, `[B, ...]`.
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.
    """
    return _transport(sde, score, x, sde.t_min, sde.t_max, rtol, atol)


def decode(sde: LinearSDE, score: Score, latent: Array, *, rtol: float = 1e-5, atol: float = 1e-5) -> Sample:
    """Map latents at `sde.t_max` to data at `sde.t_min` along the probability-flow ODE, the inverse of `encode`.

    Args:
        sde: the forward process.
        score: `score(x, t)`.
        latent: `[B, ...]`.
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.
    """
    return _transport(sde, score, latent, sde.t_max, sde.t_min, rtol, atol)


def interpolate(first: Array, second: Array, n: int) -> Array:
    """Return `n` points from `first` to `second`, `[n, B, ...]`, on great circles, norms interpolated linearly.

    Latents of a high-dimensional Gaussian lie near a sphere, which straight lines leave.

    Raises:
        ValueError: if the shapes differ or `n < 2`.
    """
    if first.shape != second.shape or n < 2:
        raise ValueError(
            f"interpolate needs two arrays of one shape and n >= 2, got {first.shape}, {second.shape}, n={n}"
        )
    a, b = (y.reshape(y.shape[0], -1) for y in (first, second))
    norms = [jnp.linalg.norm(y, axis=1, keepdims=True) for y in (a, b)]
    a, b = a / norms[0], b / norms[1]
    angle = jnp.arccos(jnp.clip(jnp.sum(a * b, 1, keepdims=True), -1.0, 1.0))

    def point(u: Array) -> Array:
        # the ratio sin(u angle) / sin(angle) tends to u for parallel latents
        small = angle < 1e-4
        safe = jnp.where(small, 1.0, angle)
        left = jnp.where(small, 1.0 - u, jnp.sin((1.0 - u) * safe) / jnp.sin(safe))
        right = jnp.where(small, u, jnp.sin(u * safe) / jnp.sin(safe))
        return ((left * a + right * b) * ((1.0 - u) * norms[0] + u * norms[1])).reshape(first.shape)

    return jax.vmap(point)(jnp.linspace(0.0, 1.0, n))


def _transport(sde: LinearSDE, score: Score, x: Array, t0: float, t1: float, rtol: float, atol: float) -> Sample:
    return _integrate(sde, as_pytree(score), x, t0, t1, adaptive_probability_flow(rtol, atol))


@jax.jit
def _integrate(sde, score, x, t0, t1, stepper):
    keys = jnp.broadcast_to(jax.random.key(0), x.shape[:1])  # unused: the flow is deterministic
    step = stepper.step(keys, sde, score, x, jnp.asarray(t0), jnp.asarray(t1), ())
    return Sample(step.x, step.nfe)
