"""Cold diffusion with functions for a degradation and its restoration; `samplers.cold` is the stepper."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.samplers.cold import Rule, check_rule, cold_step


def cold(
    degrade: Callable[[Array, Array], Array],
    restore: Callable[[Array, Array], Array],
    x: Array,
    levels: Array | np.ndarray,
    *,
    rule: Rule = "corrected",
) -> Array:
    """Restore `x`, degraded to `levels[0]`, down to `levels[-1]` (Cold Diffusion, arXiv 2208.09392).

        corrected:  x_r = x_s - D(y, s) + D(y, r),   y = R(x_s, s)           algorithm 2
        naive:      x_r = D(y, r)                                            algorithm 1

    For linear `D` the corrected rule ends `sum_s (D_r - D_s) (y_s - x_0)` away from `x_0`: what no degradation
    touches comes out exactly however bad `R` is, and where `D(x, s) = x + s e` all of it does. For the degradations of
    `scorejax.degradations`, with what is random about them, take the stepper `samplers.cold`.

    Args:
        degrade: `D(x_0, s)`, `[B, ...]` and a scalar level to `[B, ...]`; `D(x_0, 0) = x_0`.
        restore: `R(x_s, s)`, an estimate of `x_0`, usually a network.
        x: `[B, ...]`.
        levels: decreasing, `[n + 1]`, the last usually 0.
        rule: `corrected` or `naive`.

    Raises:
        ValueError: if the rule is unknown or the levels do not decrease.
    """
    check_rule(rule)
    if np.ndim(levels) != 1 or len(levels) < 2 or not np.all(np.diff(np.asarray(levels)) < 0):
        raise ValueError(f"cold: need at least two levels that decrease strictly, got {levels}")

    def step(x: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        s, r = pair
        clean = restore(x, s)
        return cold_step(lambda level: degrade(clean, level), x, s, r, rule), None

    levels = jnp.asarray(levels)
    return jax.lax.scan(step, doors.points(x), (levels[:-1], levels[1:]))[0]
