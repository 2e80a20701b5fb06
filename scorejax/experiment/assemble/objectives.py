"""What a run minimises, how it draws its times, and what it remembers meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorejax import objectives, reverse
from scorejax.experiment.assemble.arguments import options, pick, unset
from scorejax.experiment.assemble.classifier import (
    CLASSIFIERS,
    OBJECTIVE,
    check_objective,
    classifier_loss,
    is_classifier,
)
from scorejax.experiment.assemble.model import process_of, score_and_range
from scorejax.experiment.config import Config
from scorejax.experiment.config.settings import DEFAULTS, choices
from scorejax.objectives import LossHistory
from scorejax.reverse.variance import LearnedRange
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.scores import jacobian as probes
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE
from scorejax.sdes.discrete import Chain
from scorejax.sdes.learned import Learned

OBJECTIVES: dict[str, Callable[..., jax.Array]] = {
    name: getattr(objectives, name) for name in ("denoising", "sliced", "implicit", "hybrid", "vlb", "continuous_vlb")
}
BOUNDS = ("hybrid", "vlb", "continuous_vlb")  # in bits/dim: their weights are not for choosing
OF_CHAINS = ("hybrid", "vlb")


class Objective(NamedTuple):
    """The objective of a run.

    Attributes:
      draw: `(key, memory, n) -> t [n]`, the times of a whole batch.
      loss: `(params, keys [b], x0 [b, ...], labels [b], t [b], dropout_key, memory) -> loss [b]`, of a part of it.
      remember: `(memory, t [n], loss [n]) -> memory`, after a batch.
      memory: arrays, before the first step; None if nothing is remembered.
    """

    draw: Callable[[jax.Array, Any, int], jax.Array]
    loss: Callable[..., jax.Array]
    remember: Callable[[Any, jax.Array, jax.Array], Any]
    memory: Any = None


def objective(
    config: Config, process: LinearSDE, module: nn.Module | None = None, levels: int | None = None
) -> Objective:
    """The objective of a config.

    Args:
      config: the run's.
      process: from `sde(config)`.
      module: from `network`; may be left out where the loss is not called.
      levels: number of grey levels of the data, which bounds are told; None for vectors.

    Raises:
      ConfigError: unknown names, or an objective that does not fit the process or the network.
    """
    _check_fit(config, process)
    network: Any = module
    if is_classifier(config):
        check_objective(config, process)
        entropy = classifier_loss(config, process, network)
        return Objective(_drawn(config, process), lambda *given: entropy(*given[:-1]), _forget)  # it takes no memory
    if config.objective.name == OBJECTIVE:
        raise ConfigError(f"objective.name = {OBJECTIVE!r} needs a classifier: model.name in {choices(CLASSIFIERS)}")
    with user_errors("section objective"):  # found out here, not inside the compiled step
        found = (_of_chain if config.objective.name in OF_CHAINS else _at_times)(config, process, levels)

    def loss(
        params: Any,
        keys: jax.Array,
        x0: jax.Array,
        labels: jax.Array | None,
        t: jax.Array,
        dropout_key: jax.Array,
        memory: Any,
    ) -> jax.Array:
        now, told = process_of(process, params), labels if config.model.conditional else None
        score, head = score_and_range(config, now, network, params, class_labels=told, dropout_key=dropout_key)
        return found.loss(keys, now, score, head, x0, t, memory)

    return found._replace(loss=loss)


# ---- Objectives of scores; their loss is `(keys, process, score, head, x0, t, memory) -> loss [b]` ------------------


def _at_times(config: Config, process: LinearSDE, levels: int | None) -> Objective:
    """The objectives that hold for any process, at times drawn without looking at the losses."""
    c = config.objective
    function = pick("objective.name", c.name, OBJECTIVES)
    given = options(config, "objective", function, unset("objective"))
    given |= _of_bound(config, levels) if c.name in BOUNDS else _weights(config, given)

    def loss(
        keys: jax.Array, process: LinearSDE, score: Score, head: None, x0: jax.Array, t: jax.Array, memory: None
    ) -> jax.Array:
        return function(keys, process, score, x0, t=t, time_sampling=c.times, **given)

    return Objective(_drawn(config, process), loss, _forget)


def _of_chain(config: Config, process: LinearSDE, levels: int | None) -> Objective:
    """`hybrid` and `vlb`: the terms of the bound are the levels of the chain, from the noisiest down.

    With `vlb`, importance means a proposal from the last losses of every term (improved DDPM, arXiv 2102.09672).
    """
    c = config.objective
    if not isinstance(process, Chain):
        raise ConfigError(
            f"objective.name = {c.name!r} is the bound of a chain of levels, got sde.name = {config.sde.name!r}; set "
            "sde.name = 'ddpm', or objective.name = 'continuous_vlb'"
        )
    function = OBJECTIVES[c.name]
    given = options(config, "objective", function, unset("objective")) | _of_bound(config, levels)
    times = np.arange(process.levels, 0, -1) / process.levels
    learns = c.times == "importance" and c.name == "vlb"

    def terms(t: jax.Array) -> jax.Array:
        return process.levels - jnp.round(t * process.levels).astype(jnp.int32)

    def draw(key: jax.Array, memory: LossHistory, n: int) -> jax.Array:
        return jnp.asarray(times, jnp.float32)[objectives.draw_terms(key, n, memory.proposal())]

    def loss(
        keys: jax.Array,
        process: LinearSDE,
        score: Score,
        head: LearnedRange,
        x0: jax.Array,
        t: jax.Array,
        memory: LossHistory | None,
    ) -> jax.Array:
        chain = dataclasses.replace(reverse.chain(process, times), variance_head=head)
        proposal = {} if memory is None else {"proposal": memory.proposal()}
        return function(keys, process, score, x0, chain=chain, terms=terms(t), **proposal, **given)

    def remember(memory: LossHistory, t: jax.Array, losses: jax.Array) -> LossHistory:
        return memory.update(terms(t), losses * memory.proposal()[terms(t)])

    if learns:
        return Objective(draw, loss, remember, LossHistory.empty(process.levels))
    return Objective(_drawn(config, process), loss, _forget)


def _drawn(config: Config, process: LinearSDE) -> Callable[[jax.Array, None, int], jax.Array]:
    """Times by the name `objective.times`."""
    times = config.objective.times
    objectives.time_density(process, jnp.full(1, process.t_max), times)
    return lambda key, memory, n: objectives.draw_times(key, process, n, times)


def _forget(memory: None, t: jax.Array, losses: jax.Array) -> None:
    return None


def _of_bound(config: Config, levels: int | None) -> dict[str, Any]:
    for key in ("weighting", "reduction"):
        value, default = config.objective[key], DEFAULTS["objective"][key]
        if value != default:
            raise ConfigError(
                f"objective.{key} = {value!r} does not belong to {config.objective.name}, a bound in bits/dim that has "
                f"its own; leave it at {default!r}"
            )
    return {"levels": levels, "centered": config.data.centered}


def _weights(config: Config, given: dict[str, Any]) -> dict[str, Any]:
    c = config.objective
    pick("objective.weighting", c.weighting, objectives.WEIGHTINGS)
    pick("objective.reduction", c.reduction, dict.fromkeys(objectives.REDUCTIONS))
    pick("objective.projection", given.get("projection", "rademacher"), dict.fromkeys(probes.PROJECTIONS))
    if given.get("probes", 1) < 1:
        raise ConfigError(f"objective.probes = {given['probes']}; it must be at least 1")
    return {"weighting": c.weighting, "reduction": c.reduction}


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
