"""Cold diffusion: `x_r = x_s - D(y, s) + D(y, r)` undoes a degradation `D` that need not be noise, level by level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from jax import Array

from scorejax.degradations.base import Degradation, Drawn
from scorejax.numerics.trees import register_dataclass, static
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score, tweedie
from scorejax.sdes.corruption import Corruption
from scorejax.sdes.linear import LinearSDE

Rule: TypeAlias = Literal["corrected", "naive"]


def cold_step(degrade: Callable[[Any], Array], x: Array, s: Any, r: Any, rule: Rule) -> Array:
    """Return `x_r` of cold diffusion, given `x_s` and the degradation of its restoration as a function of the level.

    corrected:  x_s - D(y, s) + D(y, r)         algorithm 2 of arXiv 2208.09392
    naive:      D(y, r)                         algorithm 1
    """
    lower = degrade(r)
    return lower if rule == "naive" else x - degrade(s) + lower


def check_rule(rule: str) -> None:
    """Refuse a rule that does not exist.

    Raises:
        ValueError: this is one.
    """
    if rule not in get_args(Rule):
        raise ValueError(f"cold: unknown rule {rule!r}; choose one of {', '.join(get_args(Rule))}")


@register_dataclass
@dataclass(frozen=True)
class Cold(Stepper):
    """Restored, and degraded again to the next level."""

    process = Corruption

    rule: Rule = static()  # noqa: RUF009

    def begin(self, keys: Array, sde: Corruption, x: Array, times: Array) -> Drawn:
        """Return all that is random about the degradation, which stays for the whole trajectory."""
        return sde.begin(keys, x) if isinstance(sde, Degradation) else ()

    def step(self, keys: Array, sde: Corruption, score: Score, x: Array, t: Array, s: Array, memory: Drawn) -> Step:
        if isinstance(sde, Degradation):
            clean = score(x, t)
            drawn = sde.infer(x, clean, t, memory)
            return Step(cold_step(lambda u: sde.degrade(clean, u, drawn), x, t, s, self.rule), memory)
        if not isinstance(sde, LinearSDE):
            raise ValueError(
                f"the stepper Cold needs {Degradation.described}, or {LinearSDE.described}; got {type(sde).__name__}, "
                f"{sde.described}"
            )
        clean = tweedie(sde, x, t, score(x, t))
        drawn = sde.scale(1.0 / sde.sigma(t), t, x - sde.scale(sde.alpha(t), t, clean))
        return Step(cold_step(lambda u: sde.perturb(clean, u, drawn), x, t, s, self.rule), memory)


def cold(rule: Rule = "corrected") -> Cold:
    """Return the samplers of cold diffusion (Bansal et al., arXiv 2208.09392): one restoration a step.

        corrected:  x_r = x_s - D(y, s) + D(y, r),   y = R(x_s, s)           algorithm 2
        naive:      x_r = D(y, r)                                            algorithm 1

    In the place of the score stands the restoration `R(x, t) -> x_0`, the process is one of `scorejax.degradations`,
    and the grid ends at 0, the data: `degradations.levels(process, n)`, without `denoise`.
    A grid of one step restores directly: with the naive rule it returns `R(x_T)`.

    Of a linear `D` whose draw stays, the corrected rule ends `sum_s (D_r - D_s) (y_s - x_0)` away from `x_0`: what no
    level touches comes out exactly, however bad `R` is. On a Gaussian process, whose score is then asked for, the noise
    is what leads from the restoration to the point at hand; both rules are DDIM with eta 0.

    Args:
        rule: corrected, or naive.

    Raises:
        ValueError: another rule.
    """
    check_rule(rule)
    return Cold(rule)
