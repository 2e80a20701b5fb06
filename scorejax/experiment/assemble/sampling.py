"""Steppers, correctors and time grids of a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypedDict, cast

import jax
import numpy as np
from jax.tree_util import Partial

from scorejax import samplers
from scorejax.degradations import Degradation
from scorejax.experiment.assemble.network import gaussian
from scorejax.experiment.assemble.network import sde as make_sde
from scorejax.experiment.config import Config, base, chosen, tiny
from scorejax.reverse import gamma
from scorejax.reverse.gamma import Gamma
from scorejax.reverse.variance import UnboundHead
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.scores.clipping import Clip, Interval
from scorejax.sdes import Drifting, LinearSDE
from scorejax.sdes.corruption import Corruption, check_kind


def none() -> None:
    """Use no corrector."""
    return


def auto(sde: Corruption, n: int, *, t_min: float | None = None, stepper: samplers.Stepper) -> jax.Array | np.ndarray:
    """The grid that suits the stepper, or else the process: log_snr, karras or uniform."""
    return samplers.GRIDS[fitting_grid(stepper, sde)](sde, n, t_min=t_min)


def fitting_grid(stepper: samplers.Stepper, sde: Corruption) -> str:
    """The name of the grid that suits a stepper, or else its process."""
    # modes that differ have a noise level each: no grid is even in all of them; other processes have no noise level
    by_modes = isinstance(sde, LinearSDE) and sde.by_modes
    return sde.grid if by_modes or isinstance(sde, Drifting) else stepper.grid or sde.grid


GRIDS: Mapping[str, Callable[..., jax.Array | np.ndarray]] = {"auto": auto, **samplers.GRIDS}
CORRECTORS: Mapping[str, Callable[..., samplers.Stepper | None]] = {"none": none, **samplers.CORRECTORS}
STATISTIC = "analytic"
"""The variance that takes the statistic of `--mode=calibrate`; an optimal time grid asks for it too."""


class Fitted(NamedTuple):
    """What was fitted to a trained network for its reverse chains; no config holds it.

    Attributes:
        gamma: the statistic of `--mode=calibrate`.
        head: a trained variance head, `(sde, score) -> VarianceHead`.
    """

    gamma: Gamma | None = None
    head: Partial | None = None

    def __call__(self, name: str) -> Gamma | UnboundHead:
        """What is fitted, under the name of a variance; a head is put on its network inside the compiled program.

        Raises:
            ConfigError: the statistic is not there.
        """
        if name != STATISTIC:
            return UnboundHead()
        if self.gamma is None:
            raise ConfigError("this needs the statistic that --mode=calibrate makes")
        return self.gamma


class SamplerArguments(TypedDict):
    """Keyword arguments of `scorejax.sample`."""

    stepper: samplers.Stepper
    times: jax.Array | np.ndarray
    corrector: samplers.Stepper | None
    corrector_first: bool
    denoise: bool
    clip: Interval | Clip | None


def sampler(
    config: Config,
    sde: Corruption,
    fitted: Callable[[str], Gamma | UnboundHead] = Fitted(),  # noqa: B008
    data_range: Interval | None = None,
) -> SamplerArguments:
    """The sampler of a config, prepared for its grid.

    Args:
        config: the run's.
        sde: the forward process.
        fitted: what was fitted to the network, where the chain or the grid needs it.
        data_range: the interval that images lie in.

    Raises:
        ConfigError: unknown names, settings that do not belong together, or something that was not fitted.
    """
    c = config.sampler
    stepper, corrector = make_stepper(config, fitted, data_range), c.corrector.make()
    if isinstance(sde, Degradation) and at_defaults(config):
        stepper = samplers.cold()
    if not (sde.moves or stepper.stays):
        raise ConfigError(
            f"sampler.stepper = {c.stepper.name!r} carries noise to data, but recipe {config.recipe.name!r} makes a "
            "model of one noise level; choose one that stays at a level: ula, or for an energy mala"
        )
    try:
        check_kind(sde, stepper.process, f"sampler.stepper = {c.stepper.name!r}")
    except ValueError as error:
        raise ConfigError(f"{error}{': set sampler.stepper=cold' * isinstance(sde, Degradation)}") from None
    with user_errors("section sampler"):
        if corrector is not None:
            check_kind(sde, corrector.process, f"sampler.corrector = {c.corrector.name!r}")
        if c.denoise and not isinstance(sde, Degradation):
            check_kind(sde, LinearSDE, "sampler.denoise=true, Tweedie's formula,")
        denoise = isinstance(sde, LinearSDE | Degradation) if c.denoise is None else c.denoise
        times = time_grid(config, sde, stepper, fitted)
        return {
            "stepper": stepper.prepare(cast(LinearSDE, sde), times),  # of the kind that it needs
            "times": times,
            "corrector": corrector,
            "corrector_first": c.corrector_first,
            "denoise": denoise and not (isinstance(sde, Degradation) and times[-1] == 0),  # which are the data
            "clip": clip(config, sde, stepper, data_range),
        }


def at_defaults(config: Config) -> bool:
    """Whether nobody set anything in section `sampler`."""
    default, shrunk = base(), base()
    tiny(shrunk)
    return chosen(config, "sampler") in [chosen(each, "sampler") for each in (default, shrunk)]


def make_stepper(
    config: Config,
    fitted: Callable[[str], Gamma | UnboundHead] = Fitted(),  # noqa: B008
    data_range: Interval | None = None,
) -> samplers.Stepper:
    """The stepper of a config, whose grid is not known yet; arguments as of `sampler`."""
    c = config.sampler
    # what the sampler clips, or is not to, a reverse chain does not clip by its default; its own setting goes before
    own = {} if c.clip.name == "auto" else {"clip": None}
    return c.stepper.make(fitted=fitted, data_range=data_range, **own)


def clip(config: Config, sde: Corruption, stepper: samplers.Stepper, data_range: Interval | None) -> Clip | None:
    """What holds predicted data to their range; None: nothing does, or the stepper itself.

    Raises:
        ConfigError: two settings say what it is, or the range is not known.
    """
    c = config.sampler
    if not sde.moves or isinstance(sde, Drifting):
        if c.clip.name not in ("auto", "none"):
            what = f"sde = {config.sde.name!r}, {sde.described}," if sde.moves else "a model of one noise level"
            raise ConfigError(
                f"sampler.clip = {c.clip.name!r} holds data that are predicted from noise; {what} predicts none: leave "
                "it out"
            )
        return None
    if not stepper.decides_clip:
        return c.clip.make(data_range=data_range)
    if c.clip.name != "auto":
        raise ConfigError(
            f"sampler.clip = {c.clip.name!r}, but sampler.stepper = {c.stepper.name!r} has a setting of its own for "
            "the same (clip, thresholding): leave out one of them"
        )
    return None


def time_grid(
    config: Config,
    sde: Corruption,
    stepper: samplers.Stepper,
    fitted: Callable[[str], Gamma | UnboundHead] = Fitted(),  # noqa: B008
) -> jax.Array | np.ndarray:
    """The `sampler.steps + 1` decreasing times of a config, for its stepper; all levels of a degradation with fewer."""
    c = config.sampler
    steps = min(c.steps, sde.levels) if isinstance(sde, Degradation) else c.steps
    return c.time_grid.make(sde, steps, t_min=c.t_min, fitted=fitted, stepper=stepper)


def grid_name(config: Config, sde: Corruption, stepper: samplers.Stepper) -> str:
    """The name of the time grid of a config, for its stepper."""
    name = config.sampler.time_grid.name
    return fitting_grid(stepper, sde) if name == "auto" else name


def needed(config: Config, sde: Corruption | None = None) -> set[str]:
    """Names of the variances that must be fitted before the sampler of a config can run.

    Raises:
        ConfigError: the sampler cannot be.
    """
    sde = make_sde(config) if sde is None else sde
    asked: set[str] = set()

    def stand_in(name: str) -> Gamma | UnboundHead:
        asked.add(name)
        return stand_in_for(name, check_kind(sde, LinearSDE, "the statistic"))

    sampler(config, sde, stand_in, (-1.0, 1.0))  # any range; that of the data is not known yet
    if config.sampler.gamma is not None and STATISTIC not in asked:
        raise ConfigError(
            f"sampler.gamma is set, but sampler.stepper = {config.sampler.stepper.name!r} on sampler.time_grid = "
            f"{config.sampler.time_grid.name!r} does not use it"
        )
    return asked


def stand_in_for(name: str, sde: Corruption) -> Gamma | UnboundHead:
    """A stand-in for what is fitted later, so that a chain can be checked before."""
    if name != STATISTIC:
        return UnboundHead()
    linear = gaussian(sde, "the statistic of --mode=calibrate")
    times = gamma.grid(linear)
    return Gamma.of(linear, times, np.zeros((1, len(times), *np.shape(linear.log_snr(linear.t_max)))))
