"""Objectives of a config at times that are drawn for a whole batch: of any time, or of the levels of a chain."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import objectives, reverse
from scorejax.experiment.assemble.parameters import stand_in
from scorejax.experiment.config import Config, Part, takes
from scorejax.experiment.config.schema import TIME_SAMPLING
from scorejax.objectives import LossHistory, TimesBy
from scorejax.objectives.time_sampling import divided_out
from scorejax.objectives.weighting import COEFFICIENTS, Trained
from scorejax.reverse.variance import VarianceHead
from scorejax.runtime.errors import ConfigError
from scorejax.scores.predictions import Score as ScoreFunction
from scorejax.sdes import SDE, LinearSDE
from scorejax.sdes.discrete import Chain
from scorejax.sdes.learned import Learned


class Objective(NamedTuple):
    """An objective, at times that are drawn for a whole batch.

    Attributes:
        draw: `(history, key, n) -> t [n]`.
        loss: `(keys [b], sde, score, head, x0 [b, ...], t [b], history, coefficients) -> loss [b]`, with what the
            weighting trains, if it trains something.
        remember: `(history, t [n], losses [n]) -> history`, after a batch.
        history: makes the one before the first step; None if nothing is remembered.
        is_continuous_bound: whether it is a bound in continuous time.
    """

    draw: Callable[[LossHistory | None, Array, int], Array]
    loss: Callable[..., Array]
    remember: Callable[[LossHistory, Array, Array], LossHistory] = lambda history, t, losses: history
    history: Callable[[], LossHistory | None] = lambda: None
    is_continuous_bound: bool = False


def of_config(config: Config, process: SDE, *, gray_levels: int | None, sigma_data: float) -> Objective:
    """The objective of section `objective`, by what its factory takes.

    One that takes `chain` is a bound whose terms are the levels of a chain; one that takes `gray_levels` is a bound
    in bits/dim, which needs to know those of the data. All others hold at any time of any process.

    Args:
        config: the run's.
        process: the forward process, as it is before training.
        gray_levels: of the data.
        sigma_data: the deviation of the data that a weighting may ask for.

    Raises:
        ConfigError: it does not fit the process or the network.
    """
    c, sde = config.objective, stand_in(process)
    factory, settings = c.find(), c.own()
    parameters, time_sampling = takes(factory), times_by(c.time_sampling)
    of_chain, of_bound = "chain" in parameters, "centered" in parameters
    learns_range = bool(getattr(config.model, "learned_range", None))
    if of_chain != learns_range:
        bounds = ", ".join(name for name, other in objectives.OBJECTIVES.items() if "chain" in takes(other))
        raise ConfigError(
            f"objective = {c.name!r} {'needs' if of_chain else 'does not go with'} model.learned_range=true: the "
            f"bounds of a chain ({bounds}) train the variances, and no other objective does"
        )
    if isinstance(sde, Learned) and not (of_bound and not of_chain):
        raise ConfigError(
            f"sde = 'learned' is learned by the bound in continuous time alone: set objective = 'continuous_vlb', "
            f"got {c.name!r}"
        )
    if of_chain and not isinstance(sde, Chain):
        raise ConfigError(
            f"objective = {c.name!r} is the bound of a chain of levels, got sde = {config.sde.name!r}; set "
            "sde = 'ddpm', or objective = 'continuous_vlb'"
        )
    if of_bound:
        count = "gray_levels" if "gray_levels" in parameters else "levels"
        settings |= {count: gray_levels, "centered": config.data.centered}
    if "time_sampling" in parameters:
        settings["time_sampling"] = time_sampling
    if (weighting := named_weighting(c)) is not None:
        settings["weighting"] = weighting_by(weighting, sigma_data)
    function = functools.partial(factory, **settings)
    if of_chain:
        assert isinstance(sde, Chain)  # refused above
        return bound_of_chain(function, sde, time_sampling, "proposal" in parameters)
    objectives.time_density(sde, jnp.full(1, sde.t_max), time_sampling)

    def loss(
        keys: Array,
        sde: SDE,
        score: ScoreFunction,
        head: VarianceHead | None,
        x0: Array,
        t: Array,
        history: LossHistory | None,
        coefficients: Array | None = None,
    ) -> Array:
        return trained_by(function, coefficients)(keys, sde, score, x0, t=t)

    try_out(trained_by(function, coefficients(c)), sde)
    return Objective(drawn(sde, time_sampling), loss, is_continuous_bound=of_bound)


def try_out(function: Callable[..., Array], sde: SDE) -> None:
    """Trace an objective once, on made-up vectors: it refuses wrong settings here, in the first second."""
    shape = (1, *(sde.shape or (4,)))
    key, x0, t = jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)
    jax.eval_shape(lambda x0, t: function(key, sde, lambda x, t: x, x0, t=t), x0, t)


def weighting_by(part: Part, sigma_data: float) -> Callable[..., Array | Trained]:
    """The weighting `(sde, t) -> weight` of the node `objective.weighting`; one that is trained takes `coefficients`.

    Args:
        part: the node.
        sigma_data: the deviation of the data that a weighting may ask for.
    """
    factory, own = part.find(), part.own()
    below = {key: weighting_by(part[key], sigma_data) for key in own if isinstance(part[key], Part)}
    given = {"sigma_data": sigma_data} if "sigma_data" in takes(factory) else {}
    return functools.partial(factory, **own | below | given)


def coefficients(objective: Part) -> Array | None:
    """What the weighting of an objective trains, as it is before the first step; None if it trains nothing."""
    weighting = named_weighting(objective)
    return jnp.zeros(COEFFICIENTS) if weighting is not None and "coefficients" in takes(weighting.find()) else None


def named_weighting(objective: Part) -> Part | None:
    """The node of the weighting of an objective that has one."""
    found = objective.weighting if "weighting" in objective.own() else None
    return found if isinstance(found, Part) else None


def trained_by(function: Callable[..., Array], found: Array | None) -> Callable[..., Array]:
    """An objective whose weighting has these coefficients; None: one that has none."""
    if found is None:
        return function
    assert isinstance(function, functools.partial)
    weighting = functools.partial(function.keywords["weighting"], coefficients=found)
    return functools.partial(function, weighting=weighting)


def times_by(text: str) -> TimesBy:
    """The sampler or the law of times `NAME:key=value...` of the setting `objective.time_sampling`."""
    part = Part(TIME_SAMPLING, "objective.time_sampling")
    part.choose_text(text)
    return part.make()


def drawn(sde: SDE, time_sampling: TimesBy) -> Callable[[LossHistory | None, Array, int], Array]:
    """How the times of a batch are drawn."""
    return lambda history, key, n: objectives.draw_times(key, sde, n, time_sampling)


def bound_of_chain(
    function: Callable[..., Array], sde: Chain, time_sampling: TimesBy, takes_proposal: bool
) -> Objective:
    """A bound whose terms are the levels of the chain, from the noisiest down.

    Where the bound alone is trained, importance means a proposal from the last losses of every term (improved DDPM,
    arXiv 2102.09672).
    """
    times = np.arange(sde.levels, 0, -1) / sde.levels
    time_sampling = divided_out(time_sampling, "a bound")
    learns = time_sampling == "importance" and takes_proposal

    def terms(t: Array) -> Array:
        return sde.levels - jnp.round(t * sde.levels).astype(jnp.int32)

    def draw(history: LossHistory | None, key: Array, n: int) -> Array:
        assert history is not None  # this objective has one
        return jnp.asarray(times, jnp.float32)[objectives.draw_terms(key, n, history.proposal())]

    def loss(
        keys: Array,
        sde: LinearSDE,
        score: ScoreFunction,
        head: VarianceHead,
        x0: Array,
        t: Array,
        history: LossHistory | None,
        coefficients: Array | None = None,
    ) -> Array:
        chain = dataclasses.replace(reverse.chain(sde, times), variance_head=head)
        proposal = {} if history is None else {"proposal": history.proposal()}
        return function(keys, sde, score, x0, chain=chain, terms=terms(t), **proposal)

    def remember(history: LossHistory, t: Array, losses: Array) -> LossHistory:
        return history.update(terms(t), losses * history.proposal()[terms(t)])

    if learns:
        # Made when it is asked for: an array of a traced program must not outlive it in the cached objective.
        return Objective(draw, loss, remember, functools.partial(LossHistory.empty, sde.levels))
    objectives.time_density(sde, jnp.full(1, sde.t_max), time_sampling)
    return Objective(drawn(sde, time_sampling), loss)
