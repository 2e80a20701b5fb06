"""DPM-Solver with steps in `lambda = log(alpha / sigma)` chosen by comparing two orders: DPM-Solver-12 and -23."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
from annotated_types import Interval
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics.adjoints import Adjoint, Solved, check_adjoint, differentiable
from scorejax.numerics.batching import closed, mapped
from scorejax.numerics.ranges import Count, Positive
from scorejax.numerics.trees import register_dataclass, static
from scorejax.samplers.dpm_solver import SOLVER_TYPES, SolverType
from scorejax.samplers.exponential import ExponentialStepper, Form, Node, Quantile, check_exponential, exact, half, node
from scorejax.samplers.stepper import Step
from scorejax.scores.predictions import Score
from scorejax.sdes.linear import LinearSDE

Control: TypeAlias = Literal["sample", "batch"]
CONTROLS = get_args(Control)
SAFETY = 0.9  # of the step that would just be accepted

Predict = Callable[[Array, Array], Array]
Held: TypeAlias = "tuple[AdaptiveDPMSolver, LinearSDE, list[Array]]"


class Progress(NamedTuple):
    """The state of an adaptive solve: `x` at time `t`, the last accepted lower-order point, the next step.

    `times` is where the accepted steps ended, if that is recorded, and `steps` how many they are, for each sample.
    """

    x: Array
    lower: Array
    t: Array
    h: Array
    arrived: Array
    tried: Array
    steps: Array
    times: Array | None


@register_dataclass
@dataclass(frozen=True)
class AdaptiveDPMSolver(ExponentialStepper):
    """Singlestep DPM-Solver of orders `order - 1` and `order`, whose difference sets the step in `lambda`."""

    rtol: float | Array = 0.05
    atol: float | Array = 0.0078
    first: float | Array = 0.05
    order: int = static(default=3)
    solver_type: str = static(default="dpmsolver")
    control: str = static(default="sample")
    max_steps: int = static(default=4096)
    adjoint: str = static(default="recompute")

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        def predict(x: Array, t: Array) -> Array:
            return self.predict(sde, score, x, t).astype(x.dtype)

        size = x.shape[0]
        pure, consts = closed(predict, x, jnp.broadcast_to(t, (size,)))

        def run(held: Held, x: Array, t: Array, s: Array, record: bool) -> Solved:
            own, sde, consts = held
            if own.control == "batch":
                return own._solve(
                    lambda x, t: pure(consts, x, jnp.broadcast_to(t, (size,))), sde, x, t, s, record
                )  # fmt: skip
            # the score is called on the whole batch, while each sample has a loop of its own around it
            alone = mapped(pure, consts, size)

            def one(point: Array) -> Solved:
                return own._solve(lambda x, t: alone(x[0], t)[None], sde, point[None], t, s, record)

            solved = jax.vmap(one)(x)
            return solved._replace(y=solved.y[:, 0])

        def accepted(held: Held, x: Array, t: Array, s: Array) -> Array:
            own, sde, consts = held
            alone = mapped(pure, consts, size)

            def one(point: Array, t: Array, s: Array) -> Array:
                start, end = _half(sde, t), _half(sde, s)
                by_row = lambda x, t: alone(x[0], t)[None]  # noqa: E731
                return own._pair(by_row, sde, point[None], t, s, start, end - start)[1][0]

            return jax.vmap(one)(x, t, s)

        solved = differentiable(
            run, accepted, (self, sde, consts), x, t, s, max_steps=self.max_steps, adjoint=self.adjoint
        )
        return Step(solved.y, (), self.order * jnp.max(solved.evaluations))

    def _solve(self, predict: Predict, sde: LinearSDE, x: Array, t: Array, s: Array, record: bool) -> Solved:
        """Return the points at `s` (NaN where they did not arrive) and the number of steps tried."""
        end = _half(sde, s)

        def going(now: Progress) -> Array:
            return ~now.arrived & (now.tried < self.max_steps) & jnp.isfinite(now.h)

        def attempt(now: Progress) -> Progress:
            start = _half(sde, now.t)
            last = now.h > 0.999 * (end - start)  # no crumb is left over
            h = jnp.where(last, end - start, now.h)
            time = jnp.where(last, s, sde.inverse_log_snr(2.0 * (start + h)))
            low, high = self._pair(predict, sde, now.x, now.t, time, start, h)
            # published: the tolerance is relative to the larger of the lower-order points, here and last accepted
            error = self._error(high - low, jnp.maximum(jnp.abs(low), jnp.abs(now.lower)))
            accepted = error <= 1.0
            x, lower, at = (
                jnp.where(accepted, new, old) for new, old in ((high, now.x), (low, now.lower), (time, now.t))
            )
            h = jnp.minimum(SAFETY * h * error ** (-1.0 / self.order), end - start)  # an error may be zero
            times = None if now.times is None else now.times.at[now.steps].set(time)  # a rejected one is written over
            return Progress(x, lower, at, h, accepted & last, now.tried + 1, now.steps + accepted, times)

        first, none, no_steps = jnp.asarray(self.first, t.dtype), jnp.zeros((), bool), jnp.int32(0)
        times = jnp.zeros(self.max_steps, t.dtype) if record else None
        done = jax.lax.while_loop(going, attempt, Progress(x, x, t, first, none, no_steps, no_steps, times))
        end = jnp.where(done.arrived, done.x, jnp.nan)
        if done.times is None:
            return Solved(end, done.tried)
        if self.control == "batch":  # one loop, whose steps are those of every sample
            times, steps = (jnp.broadcast_to(value, (x.shape[0], *value.shape)) for value in (done.times, done.steps))
            return Solved(end, done.tried, times, steps)
        return Solved(end, done.tried, done.times, done.steps)

    def _pair(
        self, predict: Predict, sde: LinearSDE, x: Array, t: Array, s: Array, start: Array, h: Array
    ) -> tuple[Array, Array]:
        """Return the points at `s` by the two orders, with stages at equal parts of the step in `lambda`."""
        rule = exact if self.solver_type == "taylor" else half

        def advance(end: Node, weights: Array, *values: Array) -> Array:
            return self.advance(sde, t, here, end, x, weights, values)

        times = [sde.inverse_log_snr(2.0 * (start + h * i / self.order)) for i in range(1, self.order)]
        here, stage, *rest, there = (node(sde, u) for u in (t, *times, s))
        first = predict(x, t)
        second = predict(advance(stage, self.weights(here, stage, [], exact), first), times[0])
        middle = advance(there, self.weights(here, there, [stage], rule), first, second)
        if self.order == 2:
            return advance(there, self.weights(here, there, [], exact), first), middle
        inner = advance(rest[0], self.weights(here, rest[0], [stage], exact), first, second)
        third = predict(inner, times[1])
        if self.solver_type == "taylor":
            return middle, advance(there, self.weights(here, there, [stage, *rest], exact), first, second, third)
        return middle, advance(there, self.weights(here, there, rest, exact), first, third)

    def _error(self, difference: Array, size: Array) -> Array:
        """Return the root mean square of the error in units of the tolerance; of the worst sample of a batch."""
        squares = (difference / jnp.maximum(self.atol, self.rtol * size)) ** 2
        if self.control == "sample":
            return jnp.sqrt(jnp.mean(squares))
        return jnp.sqrt(jnp.max(jnp.mean(squares.reshape(squares.shape[0], -1), axis=1)))


def _half(sde: LinearSDE, t: Array) -> Array:
    """Return `lambda = log(alpha / sigma)`, its mean where the modes differ: that in which steps are measured."""
    return 0.5 * sde.mean_log_snr(t)


def dpm_solver_adaptive(
    order: Annotated[int, Interval(ge=2, le=3)] = 3,
    prediction: Form = "noise",
    *,
    rtol: Positive = 0.05,
    atol: Positive = 0.0078,
    first: Positive = 0.05,
    solver_type: SolverType = "dpmsolver",
    control: Control = "sample",
    thresholding: Quantile | None = None,
    max_steps: Count = 4096,
    adjoint: Adjoint = "recompute",
) -> AdaptiveDPMSolver:
    """Return adaptive DPM-Solver (arXiv 2206.00927, appendix C): pairs of orders 1 and 2, or 2 and 3.

    Between two times of the grid it takes the steps it needs, so `times=[t_max, t_min]` is enough; a step tried costs
    `order` evaluations. A sample that does not arrive within `max_steps` is NaN, never silently wrong.

    Args:
        order: of the higher method of the pair: 2 (DPM-Solver-12) or 3 (DPM-Solver-23).
        prediction: `noise` (DPM-Solver) or `data` (DPM-Solver++), whose errors alpha makes small at the noisy end, so
            that the published test passes long steps there: give it smaller tolerances.
        rtol: relative tolerance.
        atol: absolute tolerance; 2 / 256 as published, for data in [-1, 1].
        first: the first step in `lambda = log(alpha / sigma)`.
        solver_type: as in `dpm_solver`.
        control: `sample`, each with its own steps, so that it does not depend on the others; or `batch`, all with
            those of the worst, as published.
        thresholding: as in `dpm_solver`.
        max_steps: most steps tried between two times of the grid.
        adjoint: how it is differentiated, as in `adaptive_probability_flow`.

    Raises:
        ValueError: on an unknown order or name, or numbers that are not positive.
    """
    check_exponential("dpm_solver_adaptive", order, prediction, thresholding)
    for what, value, choices in (
        ("order", order, (2, 3)),
        ("solver_type", solver_type, SOLVER_TYPES),
        ("control", control, CONTROLS),
    ):
        if value not in choices:
            raise ValueError(
                f"dpm_solver_adaptive: unknown {what} {value!r}; choose one of {', '.join(map(str, choices))}"
            )
    if doors.known(rtol, atol, first) and not (rtol > 0 and atol > 0 and first > 0 and max_steps > 0):
        raise ValueError(
            "dpm_solver_adaptive: need positive rtol, atol, first and max_steps, got "
            f"{rtol}, {atol}, {first}, {max_steps}"
        )
    return AdaptiveDPMSolver(
        prediction, thresholding, rtol, atol, first, order, solver_type, control, max_steps, check_adjoint(adjoint)
    )
