"""SDE-DPM-Solver++: exponential integration of the reverse SDE, with the predicted data of the step before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax.numpy as jnp
from annotated_types import Interval
from jax import Array

from scorejax.numerics.trees import register_dataclass, static
from scorejax.samplers.exponential import History, node
from scorejax.samplers.stepper import Kernel, Step, Stepper
from scorejax.scores.predictions import Score, tweedie
from scorejax.sdes.linear import LinearSDE


@register_dataclass
@dataclass(frozen=True)
class SDEDPMSolver(Stepper):
    """The step of ancestral sampling with predicted data that are carried on to the middle of the step."""

    grid: ClassVar[str | None] = "log_snr"
    order: int = static(default=2)

    def init(self, sde: LinearSDE, x: Array, times: Array) -> History:
        return History.empty(sde, x, times, self.order - 1, lower_order_final=False)

    def kernel(self, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: History) -> Kernel:
        c_t, c_0, v = sde.posterior(s, t)
        data = tweedie(sde, x, t, score(x, t)).astype(x.dtype)
        carried, here = data, node(sde, t)
        if self.order == 2:
            (before,), (old,) = memory.nodes, memory.values
            ahead = node(sde, s).half_log_snr - here.half_log_snr
            behind = here.half_log_snr - before.half_log_snr
            # a mode that is pure noise stands still, and its prediction has no weight
            share = jnp.where(behind == 0.0, 0.0, 0.5 * ahead / jnp.where(behind == 0.0, 1.0, behind))
            carried = data + sde.scale(jnp.where(memory.done > 0, share, 0.0), t, data - old)
        mean = sde.scale(c_t, t, x) + sde.scale(c_0, t, carried)
        return Kernel(mean, jnp.sqrt(v), memory.pushed(here, data))

    def taken(self, memory: History, take: Callable[[Array], Array]) -> History:
        return memory._replace(values=tuple(take(value) for value in memory.values))

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: History) -> Step:
        return self.kernel(sde, score, x, t, s, memory).draw(keys, sde, t)


def sde_dpm_solver(order: Annotated[int, Interval(ge=1, le=2)] = 2) -> SDEDPMSolver:
    """Return SDE-DPM-Solver++ (arXiv 2211.01095, appendix B), multistep, for the reverse SDE: one evaluation a step.

    With `lambda = log(alpha / sigma)`, `h` its growth in this step and `h'` in the one before,

        x_s = (sigma_s / sigma_t) e^{-h} x_t + alpha_s (1 - e^{-2h}) D + sigma_s sqrt(1 - e^{-2h}) z
        D = x0 + (h / (2 h')) (x0 - x0'),   x0 = E[x_0 | x_t],   x0' that of the step before

    The first order has `D = x0` and is ancestral sampling. The noise of every step forgets errors of earlier ones, such
    as those of an approximate guidance, which an ODE solver keeps; the second order makes draws as wide as the law in
    far fewer steps than the first.

    Args:
        order: 1 or 2.

    Raises:
        ValueError: on another order.
    """
    if order not in (1, 2):
        raise ValueError(f"sde_dpm_solver: order must be 1 or 2, got {order}")
    return SDEDPMSolver(order)
