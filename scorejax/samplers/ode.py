"""The probability-flow ODE solved adaptively by diffrax; encoding, decoding, interpolation in latent space.

Every sample has a step size of its own, so that it does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from scorejax.numerics import doors
from scorejax.numerics.adjoints import Adjoint, Solved, check_adjoint, differentiable, hint_at_adjoint
from scorejax.numerics.batching import closed, mapped
from scorejax.numerics.ranges import Count, Positive
from scorejax.numerics.trees import PyTree, register_dataclass, static
from scorejax.samplers.driver import Sample
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score, probability_flow
from scorejax.scores.self_conditioning import of_point_and_time
from scorejax.sdes.corruption import SDE, Corruption, Time, check_kind, check_moves

State = TypeVar("State")  # a tree of arrays [B, ...]
EVALUATIONS_PER_STEP = 6  # Tsit5 reuses its last stage


@register_dataclass
@dataclass(frozen=True)
class AdaptiveProbabilityFlow(Stepper):
    """The probability-flow ODE from `t` to `s` by Tsit5 with its own step size for every sample."""

    process: ClassVar[type[Corruption]] = SDE
    rtol: float | Array
    atol: float | Array
    max_steps: int = static(default=4096)
    adjoint: str = static(default="recompute")

    def step(self, keys: Array, sde: SDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        drift = probability_flow(sde, score)
        x, nfe = solve(
            lambda time, y: drift(y, time), x, t, s, self.rtol, self.atol, self.max_steps, adjoint=self.adjoint
        )
        return Step(x, (), jnp.max(nfe))


def adaptive_probability_flow(
    rtol: Positive = 1e-5, atol: Positive = 1e-5, max_steps: Count = 4096, adjoint: Adjoint = "recompute"
) -> AdaptiveProbabilityFlow:
    """Return the adaptive solver of the probability-flow ODE (Tsitouras 5(4) by diffrax).

    Between two times of the grid each sample takes as many steps as it needs, so `times=[t_max, t_min]` is enough.
    A sample that does not arrive within `max_steps` is NaN, never silently wrong.

    Args:
        rtol: relative tolerance; float32 resolves about 1e-6.
        atol: absolute tolerance, in model units.
        max_steps: most solver steps between two times.
        adjoint: how it is differentiated, at no cost to a solve that is not: `recompute` for `jax.grad`, which takes
            the memory of `2 sqrt(max_steps)` batches; `forward` for `jax.jvp` and `jax.jacfwd`, which
            fail without it.

    Raises:
        ValueError: unless the tolerances are positive and the adjoint is known.
    """
    if doors.known(rtol, atol) and not (rtol > 0 and atol > 0 and max_steps > 0):
        raise ValueError(
            f"adaptive_probability_flow: need positive rtol, atol and max_steps, got {rtol}, {atol}, {max_steps}"
        )
    return AdaptiveProbabilityFlow(rtol, atol, max_steps, check_adjoint(adjoint))


def solve(
    field: Callable[[Array, State], State],
    y: State,
    t0: Time,
    t1: Time,
    rtol: float | Array,
    atol: float | Array,
    max_steps: int,
    *,
    adjoint: str = "recompute",
) -> tuple[State, Array]:
    """Solve `dy/dt = field(t, y)` for a batch, each example with steps of its own.

    Args:
        field: maps times `[B]` and a tree of states `[B, ...]` to their rates of change.
        y: the states at `t0`.
        t0: where to start.
        t1: where to end, on either side.
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_steps: most steps of an example.
        adjoint: how the result is differentiated, as in `numerics.adjoints`.

    Returns:
        `y(t1)`, NaN where it did not arrive, and the evaluations made for each example, `[B]`.
    """
    size = jax.tree.leaves(y)[0].shape[0]
    start, end = (jnp.asarray(t, jnp.result_type(float)) for t in (t0, t1))
    pure, consts = closed(field, jnp.broadcast_to(start, (size,)), y)
    held = consts, jnp.asarray(rtol), jnp.asarray(atol)

    def run(held: tuple, y: State, t0: Array, t1: Array, record: bool) -> Solved:
        consts, rtol, atol = held
        one = mapped(pure, consts, size)
        # Each example has step sizes of its own, but the field is a function of the whole batch.
        return jax.vmap(lambda point: _alone(one, point, t0, t1, rtol, atol, max_steps, record))(y)

    def step(held: tuple, y: State, t: Array, s: Array) -> State:
        return _tsit5(lambda t, y: pure(held[0], t, y), y, t, s)

    solved = differentiable(run, step, held, y, start, end, max_steps=max_steps, adjoint=adjoint)
    return solved.y, solved.evaluations


def _alone(
    field: Callable[[Array, State], State], y: State, t0: Array, t1: Array, rtol: Array, atol: Array, most: int,
    record: bool,
) -> Solved:  # fmt: skip
    """Solve for one example, and record the times of its steps if they are asked for."""
    import diffrax

    whole = diffrax.SubSaveAt(t1=True)
    each = diffrax.SubSaveAt(steps=True, fn=lambda t, y, args: t)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: field(jnp.asarray(t), y)),
        diffrax.Tsit5(),
        t0,
        t1,
        dt0=None,  # chosen by the solver from the field at the start
        y0=y,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol, norm=_largest),
        saveat=diffrax.SaveAt(subs=[whole, each] if record else [whole]),
        max_steps=most,
        throw=False,  # an error cannot leave a compiled program; a failure becomes NaN below
        adjoint=diffrax.ForwardMode(),  # a plain while loop, whose memory does not grow with `max_steps`
    )
    arrived = solution.result == diffrax.RESULTS.successful
    assert solution.ys is not None and solution.ts is not None
    end = jax.tree.map(lambda leaf: jnp.where(arrived, leaf[-1], jnp.nan), solution.ys[0])
    evaluations = EVALUATIONS_PER_STEP * solution.stats["num_steps"] + 1
    if not record:
        return Solved(end, evaluations)
    return Solved(end, evaluations, solution.ts[1], solution.stats["num_accepted_steps"])


def _tsit5(field: Callable[[Array, State], State], y: State, t: Array, s: Array) -> State:
    """Return the states at `s [B]` after one step of the solver's method from `t [B]`."""
    import diffrax

    tableau = diffrax.Tsit5.tableau
    stages = len(tableau.c)  # without the last, which is the first of the next step
    weights = jnp.asarray([[*row, *[0.0] * (stages - len(row))] for row in ([], *tableau.a_lower)], t.dtype)
    nodes = jnp.asarray([0.0, *tableau.c[:-1]], t.dtype)

    def reach(slopes: State, row: Array) -> State:
        def one(point: Array, slope: Array) -> Array:
            length = (s - t).reshape(-1, *[1] * (point.ndim - 1)).astype(point.dtype)
            return point + length * jnp.tensordot(row.astype(point.dtype), slope, 1)

        return jax.tree.map(one, y, slopes)

    @jax.checkpoint  # a gradient holds the inside of one evaluation at a time, not of six
    def evaluate(slopes: State, row: Array, node: Array) -> State:
        return field(t + node * (s - t), reach(slopes, row))

    def stage(slopes: State, inputs: tuple[Array, Array, Array]) -> tuple[State, None]:
        i, row, node = inputs
        found = evaluate(slopes, row, node)
        return jax.tree.map(lambda kept, new: kept.at[i].set(new.astype(kept.dtype)), slopes, found), None

    none = jax.tree.map(lambda leaf: jnp.zeros((stages, *leaf.shape), leaf.dtype), y)
    slopes, _ = lax.scan(stage, none, (jnp.arange(stages), weights[:stages], nodes))
    return reach(slopes, weights[stages])


def _largest(error: PyTree) -> Array:
    """Root mean square of the part of the state that is worst off: one density counts as much as many pixels."""
    return jnp.max(jnp.stack([jnp.sqrt(jnp.mean(leaf**2)) for leaf in jax.tree.leaves(error)]))


def encode(
    sde: SDE, score: Score, x: Array, *, rtol: float = 1e-5, atol: float = 1e-5, adjoint: Adjoint = "recompute"
) -> Sample:
    """Map data at `sde.t_min` to its latent at `sde.t_max` along the probability-flow ODE.

    Args:
        sde: the forward process.
        score: `score(x, t)`.
        x: data in model units, `[B, ...]`, floating numbers.
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.
        adjoint: how it is differentiated, as in `samplers.adaptive_probability_flow`.

    Raises:
        ValueError: on data that are not finite floating numbers, a score of another shape, or an unknown adjoint.
    """
    return _transport(sde, score, doors.points(x), sde.t_min, sde.t_max, rtol, atol, adjoint)


def decode(
    sde: SDE,
    score: Score,
    latent: Array,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    adjoint: Adjoint = "recompute",
) -> Sample:
    """Map latents at `sde.t_max` to data at `sde.t_min` along the probability-flow ODE, the inverse of `encode`.

    Args:
        sde: the forward process.
        score: `score(x, t)`.
        latent: `[B, ...]`, floating numbers.
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.
        adjoint: how it is differentiated, as in `samplers.adaptive_probability_flow`.

    Raises:
        ValueError: on latents that are not finite floating numbers, a score of another shape, or an unknown adjoint.
    """
    return _transport(sde, score, doors.points(latent, "latent"), sde.t_max, sde.t_min, rtol, atol, adjoint)


def interpolate(first: Array, second: Array, n: int) -> Array:
    """Return `n` points from `first` to `second`, `[n, B, ...]`, on great circles, norms interpolated linearly.

    Latents of a high-dimensional Gaussian lie near a sphere, which straight lines leave. Where no great circle is
    singled out one is chosen: between opposite latents, through the coordinate that is smallest in them; from zero or
    to it, in the direction of the other end. (A latent of one number has no circle to go by, and passes through zero.)

    Args:
        first: latents `[B, ...]`, floating numbers.
        second: as many, of the same shape.
        n: how many points, the ends among them.

    Raises:
        ValueError: if the shapes differ or `n < 2`, or on latents that are not finite floating numbers.
    """
    first, second = doors.points(first, "first"), doors.points(second, "second")
    if first.shape != second.shape or n < 2:
        raise ValueError(
            f"interpolate needs two arrays of one shape and n >= 2, got {first.shape}, {second.shape}, n={n}"
        )
    a, b = (y.reshape(y.shape[0], -1) for y in (first, second))
    (a, left), (b, right) = _unit(a), _unit(b)
    a, b = jnp.where(left > 0.0, a, b), jnp.where(right > 0.0, b, a)
    cosine = jnp.sum(a * b, axis=1, keepdims=True)
    across, sine = _unit(b - cosine * a)
    # the difference of nearly parallel latents is mostly rounding, which need not be orthogonal to them: once more
    across, rest = _unit(across - jnp.sum(across * a, axis=1, keepdims=True) * a)
    sine = sine * rest
    smallest = jax.nn.one_hot(jnp.argmin(jnp.abs(a), axis=1), a.shape[1], dtype=a.dtype)
    chosen, _ = _unit(smallest - jnp.sum(smallest * a, axis=1, keepdims=True) * a)
    lost = sine < 8.0 * jnp.finfo(a.dtype).eps  # what is left of the difference is rounding
    across, angle = jnp.where(lost, chosen, across), jnp.arctan2(jnp.where(lost, 0.0, sine), cosine)

    def point(u: Array) -> Array:
        direction = jnp.cos(u * angle) * a + jnp.sin(u * angle) * across
        return (direction * ((1.0 - u) * left + u * right)).reshape(first.shape)

    return jax.vmap(point)(jnp.linspace(0.0, 1.0, n))


def _unit(y: Array) -> tuple[Array, Array]:
    """Return vectors `[B, D]` of length one, or zero where they are zero, and the lengths `[B, 1]`."""
    # by the largest coordinate first, whose square might leave the range of the type
    largest = jnp.max(jnp.abs(y), axis=1, keepdims=True)
    scaled = y / jnp.where(largest > 0.0, largest, 1.0)
    square = jnp.sum(scaled**2, axis=1, keepdims=True)
    length = jnp.sqrt(jnp.where(largest > 0.0, square, 1.0))
    return scaled / length, largest * length


def _transport(
    sde: SDE, score: Score, x: Array, t0: float, t1: float, rtol: float, atol: float, adjoint: Adjoint
) -> Sample:
    check_moves(check_kind(sde, SDE, "the probability-flow ODE"), "the probability-flow ODE")
    with hint_at_adjoint():
        return _integrate(
            sde,
            of_point_and_time(score, "the probability-flow ODE"),
            x,
            t0,
            t1,
            adaptive_probability_flow(rtol, atol, adjoint=adjoint),
        )


@jax.jit
def _integrate(sde, score, x, t0, t1, stepper):
    keys = jnp.broadcast_to(jax.random.key(0), x.shape[:1])  # unused: the flow is deterministic
    step = stepper.step(keys, sde, score, x, jnp.asarray(t0), jnp.asarray(t1), ())
    return Sample(sde.settled(step.x), step.nfe)
