"""DPM-Solver and DPM-Solver++, orders 1 to 3, multistep and singlestep: one evaluation for every interval of a grid.

Both are polynomials in `lambda = log(alpha / sigma)` under the integrals of `exponential`. Multistep methods remember
the predictions of earlier steps, singlestep ones those of the stages inside a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax.numpy as jnp
from jax import Array

from scorejax.numerics.trees import register_dataclass, static
from scorejax.samplers.exponential import (
    ExponentialStepper,
    Form,
    History,
    Node,
    Order,
    Quantile,
    check_exponential,
    chosen,
    exact,
    half,
    node,
    quadrature,
    stand_in,
    z_phi,
)
from scorejax.samplers.stepper import Step
from scorejax.scores.predictions import Score
from scorejax.sdes.linear import LinearSDE

Kind: TypeAlias = Literal["multistep", "singlestep", "singlestep_fixed"]
SolverType: TypeAlias = Literal["dpmsolver", "taylor"]
ThirdOrder: TypeAlias = Literal["exact", "published"]
KINDS = get_args(Kind)
SOLVER_TYPES = get_args(SolverType)
THIRD_ORDERS = get_args(ThirdOrder)


@register_dataclass
@dataclass(frozen=True)
class MultistepDPMSolver(ExponentialStepper):
    """Adams-Bashforth in `lambda`: the polynomial goes through this prediction and those of the steps before."""

    order: int = static(default=2)
    solver_type: str = static(default="dpmsolver")
    third: str = static(default="exact")
    lower_order_final: bool | None = static(default=None)

    def init(self, sde: LinearSDE, x: Array, times: Array) -> History:
        lower = times.shape[0] <= 10 if self.lower_order_final is None else self.lower_order_final
        return History.empty(sde, x, times, self.order - 1, lower_order_final=lower)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: History) -> Step:
        here, there = node(sde, t), node(sde, s)
        value = self.predict(sde, score, x, t).astype(x.dtype)
        rules = (
            exact,
            half if self.solver_type == "dpmsolver" else exact,
            exact if self.third == "exact" else published,
        )
        # the weights of every order, so that one compiled step serves the first steps, the middle and the last
        rows = [self.weights(here, there, memory.nodes[:i], rules[i], size=self.order - 1) for i in range(self.order)]
        # no more predictions are known than steps were made, and at the end the order falls with the steps left
        order = jnp.minimum(jnp.minimum(self.order, memory.done + 1), memory.left)
        x = self.advance(sde, t, here, there, x, jnp.stack(rows)[order - 1], (value, *memory.values))
        return Step(x, memory.pushed(here, value))


class Stages(NamedTuple):
    """What a singlestep method remembers inside a step: where it began and the predictions made since."""

    x: Array
    nodes: tuple[Node, ...]
    values: tuple[Array, ...]
    position: Array
    order: Array
    left: Array


@register_dataclass
@dataclass(frozen=True)
class SinglestepDPMSolver(ExponentialStepper):
    """Runge-Kutta in `lambda`: a step of order `k` spans `k` intervals, whose inner times are its stages."""

    order: int = static(default=2)
    solver_type: str = static(default="dpmsolver")
    fixed: bool | Array = False

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Stages:
        first, zero, inner = node(sde, times[0]), jnp.int32(0), self.order - 1
        nodes = tuple(stand_in(first, i) for i in range(inner))
        return Stages(x, nodes, (jnp.zeros_like(x),) * inner, zero, zero, jnp.int32(times.shape[0] - 1))

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Stages) -> Step:
        here, there, stage = node(sde, t), node(sde, s), memory.position
        value = self.predict(sde, score, x, t).astype(x.dtype)
        # a new step begins at stage 0: only there are its order and its origin chosen
        order = jnp.where(stage == 0, self._next_order(memory.left), memory.order)
        origin = jnp.where(stage == 0, x, memory.x)
        nodes = [*(chosen(stage == i, here, old) for i, old in enumerate(memory.nodes)), here]
        values = [*(chosen(stage == i, value, old) for i, old in enumerate(memory.values)), value]
        row = jnp.where(stage == 0, 0, jnp.where(order == 2, 1, stage + 1))
        x = self.advance(sde, t, nodes[0], there, origin, self._rows(nodes, there)[row], values)
        memory = Stages(origin, tuple(nodes[:-1]), tuple(values[:-1]), (stage + 1) % order, order, memory.left - 1)
        return Step(x, memory)

    def _next_order(self, left: Array) -> Array:
        """Return the order of the step that begins with so many intervals left (`times.singlestep_orders`)."""
        order = jnp.minimum(self.order, left)
        if self.order < 3:
            return order
        # published: the last three evaluations are steps of 2 and 1
        return jnp.where((left == 3) & jnp.logical_not(self.fixed), 2, order)

    def _rows(self, nodes: list[Node], there: Node) -> Array:
        """Return the weights of: a first stage, the second of two, the second of three, the third."""
        start, size, taylor = nodes[0], self.order - 1, self.solver_type == "taylor"
        rows = [self.weights(start, there, [], exact, size=size)]
        if self.order > 1:
            rows.append(self.weights(start, there, nodes[1:2], exact if taylor else half, size=size))
        if self.order > 2:
            rows.append(self.weights(start, there, nodes[1:2], exact, size=size))
            last = self.weights(start, there, nodes[1:] if taylor else nodes[2:], exact)
            rows.append(last if taylor else jnp.stack([last[0], jnp.zeros_like(last[0]), last[1]]))
        return jnp.stack(rows)


def published(z: Array, r: Sequence[Array]) -> list[Array]:
    """Return the `rho` of the published third-order multistep update, whose second derivative lacks its factorial."""
    return quadrature(r, z_phi(z, 3)[1:])


def dpm_solver(
    order: Order = 2,
    kind: Kind = "multistep",
    prediction: Form = "data",
    *,
    solver_type: SolverType = "dpmsolver",
    third: ThirdOrder = "exact",
    lower_order_final: bool | None = None,
    thresholding: Quantile | None = None,
) -> MultistepDPMSolver | SinglestepDPMSolver:
    """Return DPM-Solver (arXiv 2206.00927) or DPM-Solver++ (arXiv 2211.01095) for the probability-flow ODE.

    Every interval of the time grid costs one evaluation, for every order and kind. Good grids are
    `times.log_snr` and `times.uniform`; the published one for `singlestep` is `times.singlestep`.

    Args:
        order: 1 (which is DDIM), 2 or 3.
        kind: `multistep` reuses earlier predictions; `singlestep` groups the intervals in steps of `order`, with the
            published shorter steps at the end (`times.singlestep_orders`); `singlestep_fixed` takes full steps only,
            and a shorter one where the number of intervals leaves a remainder.
        prediction: `data` (DPM-Solver++) or `noise` (DPM-Solver).
        solver_type: weight of the highest difference in second order and singlestep methods: `dpmsolver` or `taylor`.
        third: third-order multistep: `exact`, or `published`, which halves the second derivative and is of order 2.
        lower_order_final: multistep: let the orders fall to 1 at the end of the grid. None does it as published, for
            grids of fewer than 10 steps.
        thresholding: quantile of dynamic thresholding for data in [-1, 1], 0.995 as published; needs `data`.

    Raises:
        ValueError: on an unknown order or name, or thresholding of predicted noise.
    """
    check_exponential("dpm_solver", order, prediction, thresholding)
    for what, value, choices in (
        ("kind", kind, KINDS),
        ("solver_type", solver_type, SOLVER_TYPES),
        ("third", third, THIRD_ORDERS),
    ):
        if value not in choices:
            raise ValueError(f"dpm_solver: unknown {what} {value!r}; choose one of {', '.join(choices)}")
    if kind == "multistep":
        return MultistepDPMSolver(prediction, thresholding, order, solver_type, third, lower_order_final)
    return SinglestepDPMSolver(prediction, thresholding, order, solver_type, kind == "singlestep_fixed")
