"""Training, from top to bottom: build, resume, then compiled chunks of optimizer steps until the end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import logging
from jax import Array, lax

from scorejax import data, guidance
from scorejax.experiment import assemble as build
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.experiment.training.loop import (
    DROPOUT,
    EXAMPLES,
    INIT,
    TIMES,
    Finished,
    State,
    advance,
    descend,
    feed,
    restore_or_init,
)
from scorejax.models import pretrained
from scorejax.numerics import keys
from scorejax.runtime import checkpoint, parallel


def train(config: Config, workdir: str | Path) -> Finished:
    """Train until `config.train.steps`, going on from the newest checkpoint in `workdir`.

    Args:
      config: the run's.
      workdir: folder of the run, made if need be.

    Raises:
      ConfigError: something in the config does not exist or does not fit.
      CheckpointError: checkpoints cannot be read or written.
      DivergedError: the loss or its gradient is not finite.
    """
    # ---- Build everything, so that mistakes show before any work is done.
    build.check(config, jax.device_count())
    workdir = Path(workdir)
    sde = build.sde(config)
    examples = build.dataset(config)
    network = build.network(config, examples)
    optimizer = build.optimizer(config)

    # ---- Take over the workdir, and go on where a run before left off.
    workdir_lib.claim(workdir, config)
    checkpoints = checkpoint.Checkpoints(workdir, keep=config.train.keep, keep_every=config.train.keep_every)
    memory = build.objective(config, sde).memory
    make_state = functools.partial(init_state, network, optimizer, examples.shape, process=sde, memory=memory)
    start = functools.partial(_published, config.init_from, network, examples.shape, sde) if config.init_from else None
    state, step = restore_or_init(checkpoints, make_state, config.seed, start)

    # ---- Compiled chunks of steps (data, loss, gradient, update, average) until the end.
    feeder = feed(config, examples)
    update = make_update(config, sde, network, optimizer, feeder)
    return advance(config, workdir, checkpoints, feeder, update, state, step)


# ---- One step --------------------------------------------------------------------------------------------------


def init_state(
    network: Any,
    optimizer: optax.GradientTransformation,
    shape: tuple[int, ...],
    key: Array,
    *,
    process: Any = None,
    memory: Any = None,
) -> State:
    """The state before the first step; the average starts as a copy of the parameters."""
    params = build.with_process(process, build.init_params(jax.random.fold_in(key, INIT), network, shape))
    return State(jnp.int32(0), params, jax.tree.map(jnp.copy, params), optimizer.init(params), key, memory)


def make_update(
    config: Config, sde: Any, network: Any, optimizer: optax.GradientTransformation, feeder: Any
) -> Callable[[State, Any], tuple[State, dict[str, Array]]]:
    """One optimizer step on one device's part of the batch: `(state, payload) -> (state, metrics)`.

    Each example's randomness depends on the key, the step and the example's place in the whole batch, so that any
    number of devices computes the same (dropout excepted, which is drawn per device).
    """
    batch, parts, levels = config.train.batch, feeder.parts, feeder.data.gray_levels
    objective = build.objective(config, sde, network, levels)
    hidden = config.model.label_dropout
    null_label = build.null_label(config, feeder.data) if hidden else None

    def update(state: State, payload: Any) -> tuple[State, dict[str, Array]]:
        part = parallel.part()
        stream = functools.partial(jax.random.fold_in, state.key)
        raw, labels = feeder.draw(payload, state.step, part)
        own = data.example_keys(stream(EXAMPLES), state.step, batch, part=part, parts=parts)
        x0 = data.prepare(
            keys.fold_in(own, 0),
            raw,
            levels,
            centered=config.data.centered,
            dequantize=config.data.dequantize,
            mirror=config.data.flip,
        )
        if null_label is not None:
            labels = guidance.drop_labels(keys.fold_in(own, 2), labels, null_label, hidden)
        # Times are drawn for the whole batch, so that stratification spans it, and cut.
        all_times = objective.draw(jax.random.fold_in(stream(TIMES), state.step), state.memory, batch)
        t = lax.dynamic_slice_in_dim(all_times, part * (batch // parts), batch // parts)
        dropout_key = jax.random.fold_in(jax.random.fold_in(stream(DROPOUT), state.step), part)

        def loss(params: Any) -> Array:
            return objective.loss(params, keys.fold_in(own, 1), x0, labels, t, dropout_key, state.memory)

        memory = state.memory
        state, metrics, losses = descend(config, optimizer, state, loss)
        if memory is not None:
            memory = objective.remember(memory, all_times, parallel.gather(losses))
        return state._replace(memory=memory), metrics

    return update


def _published(path: str, network: Any, shape: tuple[int, ...], process: Any = None) -> Any:
    """Weights to start from."""
    params, step = pretrained.load(path, network, max(shape[:2]), channels=shape[-1])
    logging.info("starting from %s, of step %d", path, step)
    return build.with_process(process, params)
