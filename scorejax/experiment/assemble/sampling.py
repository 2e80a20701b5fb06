"""Steppers, correctors and time grids of a config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from scorejax import samplers
from scorejax.experiment.assemble.arguments import options, pick, unset
from scorejax.experiment.assemble.chains import GRIDS, NOTHING, Fitted, Plan, chain, grid, needs
from scorejax.experiment.config import Config
from scorejax.experiment.config.settings import choices
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.sdes import LinearSDE


def _annealed_langevin(epsilon: float, steps_per_level: int) -> samplers.Stepper:
    """`steps` of the config are those of the time grid."""
    return samplers.annealed_langevin(epsilon, steps_per_level)


class Family(NamedTuple):
    """What the section says of a reverse chain, beside its times."""

    variance: str
    eta: float
    clip: bool
    last_noise: float | None


def reverse_chain(
    variance: str = "posterior", eta: float = 1.0, clip: bool = True, last_noise: float | None = None
) -> Family:
    """A chain of any variance."""
    return Family(variance, eta, clip, last_noise)


def _short(variance: str) -> Callable[..., Family]:
    """The chain of one variance, under its name."""

    def family(eta: float = 1.0, clip: bool = True, last_noise: float | None = None) -> Family:
        return Family(variance, eta, clip, last_noise)

    family.__name__ = variance
    return family


CHAINS: dict[str, Callable[..., Family]] = {
    "reverse_chain": reverse_chain,
    **{name: _short(name) for name in ("analytic", "npr", "sn")},
}
STEPPERS: dict[str, Callable[..., Any]] = {
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
    )
}
STEPPERS |= {"annealed_langevin": _annealed_langevin, **CHAINS}
CORRECTORS: dict[str, Callable[..., samplers.Stepper]] = {"langevin": samplers.langevin, "ald": samplers.ald}
OF_CORRECTOR = {"corrector_steps": "steps", "snr": "snr", "norm": "norm"}
OF_CHAINS = ("clip", "gamma", "t_min")  # or of the grid, and never a stepper's own


def sampler(config: Config, process: LinearSDE, fitted: Fitted = NOTHING) -> dict[str, Any]:
    """Keyword arguments of `scorejax.sample`: stepper, times, corrector, corrector_first, denoise.

    Args:
      config: the run's.
      process: from `sde(config)`.
      fitted: to the network, where the chain or the grid needs it; of a head see `chains.chain`.

    Raises:
      ConfigError: unknown names, settings that do not belong together, or something that was not fitted.
    """
    c = config.sampler
    factory = pick("sampler.stepper", c.stepper, STEPPERS)
    pick("sampler.times", c.times, GRIDS)
    corrector = pick("sampler.corrector", c.corrector, {"none": None, **CORRECTORS})
    with user_errors("section sampler"):
        planned = plan(config)
        if planned is not None and c.stepper in CHAINS:
            chosen = samplers.reverse_chain(chain(config, process, planned, fitted), last_noise=c.last_noise)
            times = chosen.times
        else:
            times = grid(process, c.times, c.steps, t_min=c.t_min, fitted=fitted)
            chosen = factory(**_options(config, factory))
        correct = None
        given = {new: c[key] for key, new in OF_CORRECTOR.items() if c[key] is not None}
        if corrector is not None:
            correct = corrector(**given)
        elif given:
            raise ConfigError(
                f"sampler.{next(iter(given))} is set but sampler.corrector is 'none'; "
                f"choose one of {choices(CORRECTORS)}"
            )
        return {
            "stepper": chosen,
            "times": times,
            "corrector": correct,
            "corrector_first": c.corrector_first,
            "denoise": c.denoise,
        }


def plan(config: Config) -> Plan | None:
    """The reverse chain that the sampler of a config draws from, which has a variational bound; None if it has none.

    `ancestral` draws from the chain of its variance, without clipping.

    Raises:
      ConfigError: a setting that the stepper does not take.
    """
    c = config.sampler
    factory = pick("sampler.stepper", c.stepper, STEPPERS)
    if c.clip is not None and c.stepper not in CHAINS:
        raise ConfigError(
            f"sampler.clip belongs to reverse chains, not to {c.stepper}; choose one of {choices(CHAINS)} "
            "(reverse_chain with sampler.eta = 0 is DDIM)"
        )
    if c.stepper in CHAINS:
        family = factory(**_options(config, factory, "clip"))
    else:
        family = Family(c.variance or "posterior", 1.0, False, None) if c.stepper == "ancestral" else None
    if c.gamma is not None and "gamma" not in needs(family.variance if family else None, c.times):
        raise ConfigError(
            f"sampler.gamma is set, but sampler.stepper = {c.stepper!r} on sampler.times = {c.times!r} does not use it"
        )
    if family is None:
        return None
    return Plan(family.variance, c.times, c.steps, family.eta, family.clip, c.t_min)


def needed(config: Config) -> set[str]:
    """What must have been fitted to the network before the sampler of a config can run, see `chains.needs`."""
    planned = plan(config)
    return needs(planned.variance if planned else None, config.sampler.times)


def _options(config: Config, factory: Callable[..., Any], *more: str) -> dict[str, Any]:
    keys = [key for key in unset("sampler") if key not in (*OF_CORRECTOR, *OF_CHAINS)]
    return options(config, "sampler", factory, [*keys, *more])
