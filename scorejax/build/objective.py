"""What a run minimises, how it draws its times, and what it remembers meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorejax import objectives, probes, reverse
from scorejax.build.arguments import options, pick, unset
from scorejax.config import Config
from scorejax.errors import ConfigError, user_errors
from scorejax.objectives import LossHistory
from scorejax.score import Score
from scorejax.sdes import LinearSDE
from scorejax.sdes.discrete import Chain
from scorejax.sdes.learned import Learned
from scorejax.settings import DEFAULTS
from scorejax.variance import LearnedRange

OBJECTIVES: dict[str, Callable[..., jax.Array]] = {
    name: getattr(objectives, name) for name in ("denoising", "sliced", "implicit", "hybrid", "vlb", "continuous_vlb")
}
BOUNDS = ("hybrid", "vlb", "continuous_vlb")  # in bits/dim: their weights are not for choosing
OF_CHAINS = ("hybrid", "vlb")


class Objective(NamedTuple):
    """The objective of a run.

    Attributes:
      draw: `(key, memory, n) -> t [n]`, the times of a whole batch.
      loss: `(keys [b], process, score, head, x0 [b, ...], t [b], memory) -> loss [b]`, of a part of it.
      remember: `(memory, t [n], loss [n]) -> memory`, after a batch.
      memory: arrays, before the first step; None if nothing is remembered.
    """

    draw: Callable[[jax.Array, Any, int], jax.Array]
    loss: Callable[..., jax.Array]
    remember: Callable[[Any, jax.Array, jax.Array], Any]
    memory: Any = None


def objective(config: Config, process: LinearSDE, levels: int | None = None) -> Objective:
    """The objective of a config.

    Args:
      config: the run's.
      process: from `sde(config)`.
      levels: number of grey levels of the data, which bounds are told; None for vectors.

    Raises:
      ConfigError: unknown names, or an objective that does not fit the process or the network.
    """
    name = config.objective.name
    with user_errors("section objective"):  # found out here, not inside the compiled step
        function = pick("objective.name", name, OBJECTIVES)
        given = options(config, "objective", function, unset("objective"))
        _check_fit(config, process)
        if name in BOUNDS:
            _check_unweighted(config)
            given |= {"levels": levels, "centered": config.data.centered}
            if name in OF_CHAINS:
                return _of_chain(config, process, given)
        else:
            given |= _weighting(config, given)
        times = config.objective.times
        objectives.time_density(process, jnp.full(1, process.t_max), times)

    def draw(key: jax.Array, memory: None, n: int) -> jax.Array:
        return objectives.draw_times(key, process, n, times)

    def loss(
        keys: jax.Array, process: LinearSDE, score: Score, head: None, x0: jax.Array, t: jax.Array, memory: None
    ) -> jax.Array:
        return function(keys, process, score, x0, t=t, times=times, **given)

    return Objective(draw, loss, _forget)


def _of_chain(config: Config, process: LinearSDE, given: dict[str, Any]) -> Objective:
    """`hybrid` and `vlb`: the terms of the bound are the levels of the chain, from the noisiest down.

    With `vlb`, importance means a proposal from the last losses of every term (improved DDPM, arXiv 2102.09672).
    """
    c = config.objective
    if not isinstance(process, Chain):
        raise ConfigError(
            f"objective.name = {c.name!r} is the bound of a chain of levels, got sde.name = {config.sde.name!r}; set "
            "sde.name = 'ddpm', or objective.name = 'continuous_vlb'"
        )
    count = process.levels
    steps = reverse.chain(process, np.arange(count, 0, -1) / count)
    learns = c.times == "importance" and c.name == "vlb"
    if not learns:
        objectives.time_density(process, jnp.full(1, process.t_max), c.times)

    def terms(t: jax.Array) -> jax.Array:
        return count - jnp.round(t * count).astype(jnp.int32)

    def draw(key: jax.Array, memory: LossHistory | None, n: int) -> jax.Array:
        if memory is None:
            return objectives.draw_times(key, process, n, c.times)
        return jnp.asarray(steps.times, jnp.float32)[objectives.draw_terms(key, n, memory.proposal())]

    def loss(
        keys: jax.Array,
        process: LinearSDE,
        score: Score,
        head: LearnedRange,
        x0: jax.Array,
        t: jax.Array,
        memory: LossHistory | None,
    ) -> jax.Array:
        chain = dataclasses.replace(steps, head=head)
        proposal = {} if memory is None else {"proposal": memory.proposal()}
        return OBJECTIVES[c.name](keys, process, score, x0, chain=chain, terms=terms(t), **proposal, **given)

    def remember(memory: LossHistory, t: jax.Array, losses: jax.Array) -> LossHistory:
        return memory.update(terms(t), losses * memory.proposal()[terms(t)])

    return Objective(draw, loss, remember, LossHistory.empty(count)) if learns else Objective(draw, loss, _forget)


def _forget(memory: None, t: jax.Array, losses: jax.Array) -> None:
    return None


def _weighting(config: Config, given: dict[str, Any]) -> dict[str, Any]:
    c = config.objective
    pick("objective.weighting", c.weighting, objectives.WEIGHTINGS)
    pick("objective.reduction", c.reduction, dict.fromkeys(objectives.REDUCTIONS))
    pick("objective.projection", given.get("projection", "rademacher"), dict.fromkeys(probes.PROJECTIONS))
    if given.get("probes", 1) < 1:
        raise ConfigError(f"objective.probes = {given['probes']}; it must be at least 1")
    return {"weighting": c.weighting, "reduction": c.reduction}


def _check_unweighted(config: Config) -> None:
    for key in ("weighting", "reduction"):
        value, default = config.objective[key], DEFAULTS["objective"][key]
        if value != default:
            raise ConfigError(
                f"objective.{key} = {value!r} does not belong to {config.objective.name}, a bound in bits/dim that has "
                f"its own; leave it at {default!r}"
            )


def _check_fit(config: Config, process: LinearSDE) -> None:
    name = config.objective.name
    if (name in OF_CHAINS) != bool(config.model.learned_range):
        raise ConfigError(
            "objectives hybrid and vlb train the variances of model.learned_range, and no other does; got "
            f"objective.name = {name!r} with model.learned_range = {config.model.learned_range}"
        )
    if isinstance(process, Learned) and name != "continuous_vlb":
        raise ConfigError(
            f"sde.name = 'learned' is learned by the bound alone: set objective.name = 'continuous_vlb', got {name!r}"
        )
