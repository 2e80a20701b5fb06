"""Reverse chains of a config: described once, for the sampler that draws from one and the bound that measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import numpy as np
from jax.tree_util import Partial

from scorejax import reverse
from scorejax.experiment.assemble.arguments import pick
from scorejax.experiment.assemble.model import VECTOR_NETWORKS
from scorejax.experiment.config import Config
from scorejax.reverse import gamma
from scorejax.reverse import optimal_times as trajectories
from scorejax.reverse.gamma import Gamma
from scorejax.reverse.variance import NoiseResidual, VarianceHead
from scorejax.runtime.errors import ConfigError
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE, times
from scorejax.sdes.discrete import Chain

HEADS = ("npr", "sn", "ocm")
VARIANCES = (*reverse.VARIANCES, "analytic", *HEADS, "learned")
TRAJECTORIES = ("even", "ddim_uniform", "ddim_quadratic", "optimal")
GRIDS: dict[str, None] = dict.fromkeys(("uniform", "quadratic", "log_snr", "karras", *TRAJECTORIES))


class Head(Protocol):
    """A variance that a network predicts, without the score beside which it runs."""

    def on(self, process: LinearSDE, score: Score) -> VarianceHead:
        """The head on this score; made beside it, inside a compiled program, the network runs once for both."""
        ...


class Fitted(NamedTuple):
    """What was fitted to a trained network for its reverse chains; no config holds it.

    Attributes:
      gamma: the statistic of `--mode=calibrate`.
      head: a trained head.
    """

    gamma: Gamma | None = None
    head: Head | None = None


NOTHING = Fitted()


@dataclass(frozen=True)
class Plan:
    """A reverse chain, but for what is fitted to the network.

    Attributes:
      variance: one of `VARIANCES`.
      times: one of `GRIDS`.
      steps: of the time grid; with the last factor, or the last denoising, one evaluation more.
      eta: 1 is DDPM, 0 DDIM.
      clip: clip predicted data to the interval that images lie in.
      t_min: last time of the grid; None: the process's.
    """

    variance: str
    times: str
    steps: int
    eta: float
    clip: bool
    t_min: float | None


def grid(
    process: LinearSDE, name: str, steps: int, *, t_min: float | None, eta: float = 1.0, fitted: Fitted = NOTHING
) -> np.ndarray | jax.Array:
    """`steps + 1` decreasing times: a grid, or a trajectory over the levels of a chain.

    Raises:
      ConfigError: an unknown name, one that does not fit the process, or no statistic for an optimal trajectory.
      ValueError: a number of steps that the process does not have.
    """
    pick("times", name, GRIDS)
    if name not in TRAJECTORIES:
        return getattr(times, name)(process, steps, t_min=t_min)
    if name == "optimal":
        if fitted.gamma is None:
            raise ConfigError("an optimal trajectory needs the statistic that --mode=calibrate makes")
        known = fitted.gamma if t_min is None else fitted.gamma.since(t_min)
        return trajectories.optimal(process, known, steps + 1, eta=eta)
    if not isinstance(process, Chain):
        if name == "even":
            return times.uniform(process, steps, t_min=t_min)
        raise ConfigError(
            f"times = {name!r} visits levels of a discrete chain (ddpm, smld), which {type(process).__name__} has not; "
            "choose even, optimal or quadratic"
        )
    if t_min is not None:
        raise ConfigError(f"sampler.t_min = {t_min} does not belong to times = {name!r}, which ends at the first level")
    return getattr(trajectories, name)(process, steps + 1)


def chain(config: Config, process: LinearSDE, plan: Plan, fitted: Fitted = NOTHING) -> reverse.ReverseChain:
    """The reverse chain of a plan; if a network predicts its variance, then with a head that is still to be replaced.

    The real one is made where the parameters are, inside the compiled program (`evaluation.variances.on_network`).

    Raises:
      ConfigError: an unknown variance or grid, or something that was not fitted.
      ValueError: whatever `scorejax.reverse.chain` refuses.
    """
    pick("variance", plan.variance, dict.fromkeys(VARIANCES))
    times_ = grid(process, plan.times, plan.steps, t_min=plan.t_min, eta=plan.eta, fitted=fitted)
    variance: str | Gamma | VarianceHead = plan.variance
    if plan.variance == "analytic":
        if fitted.gamma is None:
            raise ConfigError("variance = 'analytic' needs the statistic that --mode=calibrate makes")
        variance = fitted.gamma
    elif plan.variance == "learned" and not config.model.learned_range:
        raise ConfigError(
            f"variance = 'learned' needs a network with model.learned_range, {config.model.name} has none"
        )
    elif plan.variance in HEADS and fitted.head is None:
        raise ConfigError(f"variance = {plan.variance!r} needs a head that was trained for this network")
    elif plan.variance not in reverse.VARIANCES:
        variance = NoiseResidual(Partial(_not_yet))
    interval = data_range(config)
    return reverse.chain(
        process,
        times_,
        variance=variance,
        eta=plan.eta,
        clip=interval if plan.clip else None,
        rederive_noise=plan.eta == 1.0,  # Analytic-DPM's DDIM keeps the predicted noise
        data_range=interval,
    )


def needs(variance: str | None, times: str) -> set[str]:
    """What must have been fitted to the network: `gamma`, the kind of a head, or both."""
    found = {"gamma"} if variance == "analytic" or times == "optimal" else set()
    return found | {variance} if variance in HEADS else found


def data_range(config: Config) -> tuple[float, float] | None:
    """The interval of model space that images lie in; None for vectors."""
    if config.model.name in VECTOR_NETWORKS:
        return None
    return (-1.0, 1.0) if config.data.centered else (0.0, 1.0)


def stand_in(process: LinearSDE) -> Fitted:
    """What fits every plan, to find mistakes in one before anything was fitted."""
    known = gamma.grid(process)
    return Fitted(Gamma.of(process, known, np.zeros((1, len(known)))), _StandIn())


class _StandIn:
    def on(self, process: LinearSDE, score: Score) -> VarianceHead:
        return NoiseResidual(Partial(_not_yet))


def _not_yet(x: jax.Array, t: jax.Array) -> jax.Array:
    raise RuntimeError("this head is to be replaced by `evaluation.variances.on_network`")
