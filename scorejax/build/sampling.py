"""Steppers, correctors and time grids of a config."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from scorejax import samplers, times
from scorejax.build.arguments import options, pick, unset
from scorejax.config import Config
from scorejax.errors import ConfigError, user_errors
from scorejax.gamma import Gamma
from scorejax.sdes import LinearSDE
from scorejax.settings import choices


def _annealed_langevin(epsilon: float, steps_per_level: int) -> samplers.Stepper:
    """`steps` of the config are those of the time grid."""
    return samplers.annealed_langevin(epsilon, steps_per_level)


STEPPERS: dict[str, Callable[..., samplers.Stepper]] = {
    name: getattr(samplers, name)
    for name in (
        "euler_maruyama",
        "reverse_diffusion",
        "ancestral",
        "probability_flow",
        "adaptive_probability_flow",
        "ddim",
        "dpm_solver",
        "dpm_solver_adaptive",
        "unipc",
        "euler",
        "heun",
        "analytic",
    )
}
STEPPERS["annealed_langevin"] = _annealed_langevin
CORRECTORS: dict[str, Callable[..., samplers.Stepper]] = {"langevin": samplers.langevin, "ald": samplers.ald}
GRIDS = {name: getattr(times, name) for name in ("uniform", "quadratic", "log_snr", "karras")}


def grid(config: Config) -> Callable[[LinearSDE, int], jax.Array]:
    """The time grid of a config as a function of the process and the number of steps."""
    return partial(pick("sampler.times", config.sampler.times, GRIDS), t_min=config.sampler.t_min)


def sampler(config: Config, process: LinearSDE) -> dict[str, Any]:
    """Keyword arguments of `scorejax.sample`: stepper, times, corrector, corrector_first, denoise."""
    c = config.sampler
    factory = pick("sampler.stepper", c.stepper, STEPPERS)
    place = grid(config)
    corrector = pick("sampler.corrector", c.corrector, {"none": None, **CORRECTORS})
    of_corrector = {"corrector_steps": "steps", "snr": "snr", "norm": "norm"}
    of_stepper = [key for key in unset("sampler") if key not in (*of_corrector, "t_min")]
    with user_errors("section sampler"):
        times_ = place(process, c.steps)
        given = options(config, "sampler", factory, of_stepper)
        chosen = _analytic(process, times_, **given) if factory is samplers.analytic else factory(**given)
        correct = None
        given = {new: c[key] for key, new in of_corrector.items() if c[key] is not None}
        if corrector is not None:
            correct = corrector(**given)
        elif given:
            raise ConfigError(
                f"sampler.{next(iter(given))} is set but sampler.corrector is 'none'; "
                f"choose one of {choices(CORRECTORS)}"
            )
        return {
            "stepper": chosen,
            "times": times_,
            "corrector": correct,
            "corrector_first": c.corrector_first,
            "denoise": c.denoise,
        }


def _analytic(process: LinearSDE, grid: jax.Array, gamma: str | None = None, **options: Any) -> samplers.Stepper:
    """Analytic-DPM by the statistic in a file."""
    if gamma is None:
        raise ConfigError("sampler.stepper = 'analytic' needs sampler.gamma, the file that --mode=calibrate writes")
    return samplers.analytic(process, grid, Gamma.load(gamma, process), **options)
