"""UniPC: a predictor of order p, corrected to order p + 1 by the evaluation that the next step makes anyway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

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
    dot,
    exact,
    half,
    lagrange,
    node,
    z_phi,
)
from scorejax.samplers.stepper import Step
from scorejax.scores.predictions import Score
from scorejax.sdes.linear import LinearSDE

Variant: TypeAlias = Literal["bh1", "bh2", "vary_coeff", "vary_coeff_published"]
VARIANTS = get_args(Variant)


@register_dataclass
@dataclass(frozen=True)
class UniPC(ExponentialStepper):
    """The unified predictor-corrector; a step first corrects the point that the step before predicted."""

    order: int = static(default=3)
    variant: str = static(default="bh1")
    corrector: bool = static(default=True)
    lower_order_final: bool = static(default=True)

    def init(self, sde: LinearSDE, x: Array, times: Array) -> History:
        return History.empty(sde, x, times, self.order, lower_order_final=self.lower_order_final)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: History) -> Step:
        here, there = node(sde, t), node(sde, s)
        value = self.predict(sde, score, x, t).astype(x.dtype)
        if self.corrector:
            # the order of the step before, zero before the first one
            order = jnp.minimum(jnp.minimum(self.order, memory.done), memory.left + 1)
            row = self._corrections(here, memory)[order]
            for weight, earlier in zip(row, (*memory.values, value), strict=True):
                x = x + sde.scale(weight, t, earlier)
        # from here on the corrected point counts, but its prediction stays the one made before the correction
        memory = memory.pushed(here, value)
        order = jnp.minimum(jnp.minimum(self.order, memory.done), memory.left + 1)
        x = self.advance(sde, t, here, there, x, self._predictions(there, memory.nodes)[order - 1], memory.values)
        return Step(x, memory)

    def _predictions(self, there: Node, nodes: Sequence[Node]) -> Array:
        """Return the predictor's weights of the predictions at `nodes`, the first being where it starts, by order."""
        rules = (exact, self._one_node, exact)
        orders = range(1, self.order + 1)
        return jnp.stack([self.weights(nodes[0], there, nodes[1:p], rules[p - 1], size=self.order - 1) for p in orders])

    def _corrections(self, here: Node, memory: History) -> Array:
        """Return the corrector's weights less the predictor's, of the predictions remembered and of this one."""
        start, rows = memory.nodes[0], []
        rules = (self._one_node, exact, exact)
        for p, predicted in enumerate(self._predictions(here, memory.nodes), start=1):
            rule = published if self.variant == "vary_coeff_published" else rules[p - 1]
            *corrected, last = self.weights(start, here, [*memory.nodes[1:p], here], rule)
            none = [jnp.zeros_like(last)] * (self.order - p)
            rows.append(
                jnp.stack([*corrected, *none, last]) - jnp.append(predicted, jnp.zeros_like(last)[None], axis=0)
            )
        # row 0 corrects nothing: before the first step there is no predicted point
        return jnp.stack([jnp.zeros_like(rows[0]), *rows])

    def _one_node(self, z: Array, r: Sequence[Array]) -> list[Array]:
        """Return the weight of a single difference, `B(z) / 2` in the paper's words."""
        if self.variant == "bh1":
            return [0.5 * z]
        return half(z, r) if self.variant == "bh2" else exact(z, r)


def published(z: Array, r: Sequence[Array]) -> list[Array]:
    """Return the `rho` of the published `vary_coeff` corrector, the last node being the new point.

    Its new difference enters one row of the inverse matrix alone, with the moment of the next, so that the order is 1.
    """
    n, phi = len(r), z_phi(z, len(r) + 1)
    polynomials = lagrange(r)
    moments = [math.factorial(i) * phi[i] for i in range(1, n)]
    old = [dot(moments, polynomial[:-1]) for polynomial in polynomials[:-1]]
    row = max(n - 2, 0)
    return [*old, phi[n] * math.factorial(row + 1) * polynomials[-1][row]]


def unipc(
    order: Order = 3,
    variant: Variant = "bh1",
    prediction: Form = "data",
    *,
    corrector: bool = True,
    lower_order_final: bool = True,
    thresholding: Quantile | None = None,
) -> UniPC:
    """Return UniPC (arXiv 2302.04867) for the probability-flow ODE: order p + 1 for p predictions, one a step.

    The corrector works with the evaluation that the next step makes anyway, so a step costs one; the last point is
    therefore not corrected, as published. Without it the second order is multistep DPM-Solver of order 2 (`bh2`).

    Args:
        order: of the predictor: 1, 2 or 3.
        variant: `bh1` or `bh2`, which weigh a single difference by `z / 2` or `(e^z - 1) / 2` and are otherwise
            equal; `vary_coeff`, the exact weights throughout; `vary_coeff_published`, whose corrector loses rows of a
            matrix and is of order 1.
        prediction: `data` or `noise`.
        corrector: correct every point but the last.
        lower_order_final: let the orders fall to 1 at the end of the grid, as published.
        thresholding: quantile of dynamic thresholding for data in [-1, 1], 0.995 as published; needs `data`.

    Raises:
        ValueError: on an unknown order, variant or prediction, or thresholding of predicted noise.
    """
    check_exponential("unipc", order, prediction, thresholding)
    if variant not in VARIANTS:
        raise ValueError(f"unipc: unknown variant {variant!r}; choose one of {', '.join(VARIANTS)}")
    return UniPC(prediction, thresholding, order, variant, corrector, lower_order_final)
