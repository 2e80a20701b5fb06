"""Cold diffusion: `x_r = x_s - D(y, s) + D(y, r)` undoes a degradation `D` that is no noise, step by step.

There is no score and no forward process here: a network restores, and the degradation is applied again, more weakly.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors

RULES = ("corrected", "naive")


def cold(
    degrade: Callable[[Array, Array], Array],
    restore: Callable[[Array, Array], Array],
    x: Array,
    levels: Array | np.ndarray,
    *,
    rule: str = "corrected",
) -> Array:
    """Restore `x`, degraded to `levels[0]`, down to `levels[-1]` (Cold Diffusion, arXiv 2208.09392).

        corrected:  x_r = x_s - D(y, s) + D(y, r),   y = R(x_s, s)           algorithm 2
        naive:      x_r = D(y, r)                                            algorithm 1

    For linear `D` the corrected rule ends `sum_s (D_r - D_s) (y_s - x_0)` away from `x_0`: what no degradation
    touches comes out exactly however bad `R` is, and where `D(x, s) = x + s e` all of it does. With noise for a
    degradation and the noise that `y` implies it is `samplers.ddim()`.

    Args:
        degrade: `D(x_0, s)`, `[B, ...]` and a scalar level to `[B, ...]`; `D(x_0, 0) = x_0`.
        restore: `R(x_s, s)`, an estimate of `x_0`, usually a network.
        x: `[B, ...]`.
        levels: decreasing, `[n + 1]`, the last usually 0.
        rule: `corrected` or `naive`.

    Raises:
        ValueError: if the rule is unknown or the levels do not decrease.
    """
    if rule not in RULES:
        raise ValueError(f"cold: unknown rule {rule!r}; choose one of {', '.join(RULES)}")
    if np.ndim(levels) != 1 or len(levels) < 2 or not np.all(np.diff(np.asarray(levels)) < 0):
        raise ValueError(f"cold: need at least two levels that decrease strictly, got {levels}")

    x = doors.points(x)

    def step(x: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        s, r = pair
        clean = restore(x, s)
        lower = degrade(clean, r)
        return (x - degrade(clean, s) + lower if rule == "corrected" else lower), None

    levels = jnp.asarray(levels)
    return jax.lax.scan(step, x, (levels[:-1], levels[1:]))[0]
