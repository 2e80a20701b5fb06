"""Training a dequantizer for a trained score, from top to bottom (Ho et al., arXiv 1902.00275; 2101.09258).

The score network is frozen; the flow minimises the bound of bits per dimension, so whatever it becomes, the bits
that it gives are an upper bound. Its run is a run like any, in the folder `dequantizer/` of the score's: it resumes,
logs and saves the same way, under a config whose sections train, optim and ema are made from `dequantizer`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import logging
from jax import Array

from scorejax import build, checkpoint, data, dequantization, keys, likelihood, parallel
from scorejax import config as configs
from scorejax import workdir as workdir_lib
from scorejax.config import Config
from scorejax.errors import ConfigError
from scorejax.interruption import Interruption
from scorejax.metrics import Writer
from scorejax.train import EXAMPLES, INIT, Finished, Run, State, average, repeat, restore_or_init


def train_dequantizer(config: Config, workdir: str | Path) -> Finished:
    """Train until `config.dequantizer.steps`, going on from the newest checkpoint in `workdir/dequantizer`.

    Args:
      config: that of the score's run.
      workdir: its folder, with at least one checkpoint.

    Raises:
      ConfigError: something in the config does not exist or does not fit.
      CheckpointError: no score to be read, or checkpoints cannot be written.
      DivergedError: the loss or its gradient is not finite.
    """
    workdir_lib.check(workdir, config)
    # ---- Build everything; the score comes from its newest checkpoint.
    own = own_config(config)
    build.check(own, jax.device_count())
    examples = build.dataset(config)
    network, optimizer = build.network(config, examples), build.optimizer(own)
    module = dequantization.network(config, examples)
    frozen = _score_params(config, network, examples.shape, workdir)
    sde, frozen = build.process_of(build.sde(config), frozen), parallel.replicate(frozen)

    # ---- Take over the folder, and go on where a run before left off.
    folder = Path(workdir) / dequantization.FOLDER
    _check_architecture(folder, own)
    workdir_lib.claim(folder, own)
    checkpoints = checkpoint.Checkpoints(folder, keep=own.train.keep)
    make_state = functools.partial(init_state, module, optimizer, examples.shape)
    state, step = restore_or_init(checkpoints, make_state, own.seed)

    # ---- The compiled chunk. The frozen weights travel with the state: as constants they would be compiled in.
    feeder = data.feed(
        examples,
        own.train.batch,
        own.seed,
        parts=jax.device_count(),
        local=parallel.local_parts(),
        sharding=parallel.replicated(),
        budget_bytes=own.data.resident_mib * 2**20,
    )
    count = build.steps_per_call(own, step)
    update = make_update(own, sde, network, module, optimizer, feeder)
    chunk = parallel.train_map(repeat(update, count), feeder.payload_axis)

    # ---- The loop.
    with (
        Interruption() as interruption,
        Writer(folder, resume_step=step, active=parallel.is_main_process()) as writer,
    ):
        try:
            run = Run(own, folder, checkpoints, writer, step)
            while step < own.train.steps and not interruption.requested:
                (state, frozen), metrics = chunk((state, frozen), feeder.payload(step, count))
                step += count
                run.after_call(state, step, metrics, stopping=bool(interruption.requested))
            run.finish(state, step)
        finally:
            feeder.close()
            checkpoints.close()
    return Finished(step, interruption.requested if step < own.train.steps else None)


def own_config(config: Config) -> Config:
    """The score's config with the dequantizer's sections train, optim and ema."""
    c, own = config.dequantizer, configs.from_dict(configs.to_dict(config))
    own.train.update({"steps": c.steps, "batch": c.batch, "steps_per_call": 0, "log_every": c.log_every})
    own.train.update({"checkpoint_every": c.checkpoint_every, "keep": 2, "keep_every": 0, "preview_every": 0})
    own.optim.update({"name": "adam", "lr": c.lr, "warmup": c.warmup, "weight_decay": 0.0, "decay": "none"})
    own.ema.update({"decay": c.ema_decay, "warmup": True})
    return own


def init_state(module: Any, optimizer: optax.GradientTransformation, shape: tuple[int, ...], key: Array) -> State:
    """The state before the first step; the average starts as a copy of the parameters."""
    params = dequantization.init_params(jax.random.fold_in(key, INIT), module, shape)
    return State(jnp.int32(0), params, jax.tree.map(jnp.copy, params), optimizer.init(params), key)


def make_update(
    config: Config, sde: Any, network: Any, module: Any, optimizer: optax.GradientTransformation, feeder: Any
) -> Callable[[tuple[State, Any], Any], tuple[tuple[State, Any], dict[str, Array]]]:
    """One optimizer step on one device's part of the batch: `((state, frozen), payload) -> ((state, frozen), metrics)`.

    The loss is the bound in bits per dimension, each example's from a few times of its own.
    """
    batch, parts, levels = config.train.batch, feeder.parts, feeder.data.levels
    times = config.dequantizer.times

    def update(held: tuple[State, Any], payload: Any) -> tuple[tuple[State, Any], dict[str, Array]]:
        state, frozen = held
        part = parallel.part()
        raw, labels = feeder.draw(payload, state.step, part)
        own = data.example_keys(
            jax.random.fold_in(state.key, EXAMPLES), state.step, batch, part=part, parts=parts
        )  # fmt: skip
        raw = data.flip(keys.fold_in(own, 0), raw) if config.data.flip else raw
        score = build.score(config, sde, network, frozen, class_labels=labels if config.model.conditional else None)

        def loss(params: Any) -> Array:
            bits = likelihood.bound_bits(
                keys.fold_in(own, 1), sde, score, raw, levels, dequantizer=dequantization.bind(module, params, levels),
                centered=config.data.centered, samples=times, chunk=times,
            )  # fmt: skip
            return jnp.mean(bits.value)

        value, gradient = parallel.mean(jax.value_and_grad(loss)(state.params))
        metrics = {"loss": value, "grad_norm": jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient)))}
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = average(config, state.ema, params, state.step)
        return (State(state.step + 1, params, ema, opt_state, state.key), frozen), metrics

    return update


def _score_params(config: Config, network: Any, shape: tuple[int, ...], workdir: str | Path) -> Any:
    restored = checkpoint.restore_ema(workdir, build.shapes(config, network, shape))
    logging.info("a dequantizer for the score of step %d", restored.step)
    return restored.fields["ema"]


def _check_architecture(folder: Path, config: Config) -> None:
    """The section `dequantizer` may change between two starts of the score's run, but not the flow of a begun one."""
    if not checkpoint.steps(folder):
        return
    before = workdir_lib.saved_config(folder).dequantizer
    changed = [key for key in dequantization.ARCHITECTURE if before[key] != config.dequantizer[key]]
    if changed:
        raise ConfigError(
            f"{folder} holds another flow, with dequantizer.{changed[0]} = {before[changed[0]]!r}; keep it, or delete "
            "the folder"
        )
