"""Training of something beside a frozen score, such as a dequantizer or a variance head.

It is a run like any, in a folder inside the score's: it resumes, logs and saves the same way, under a config whose
sections train, optim and ema are made from the section of what is trained. The score's weights are its averaged
ones; another score needs another folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging
from jax import Array

from scorejax import data
from scorejax.experiment import assemble as build
from scorejax.experiment import config as configs
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.experiment.model import Model
from scorejax.experiment.training.loop import EXAMPLES, INIT, Finished, State, advance, descend, feed, restore_or_init
from scorejax.numerics import keys
from scorejax.runtime import checkpoint, parallel
from scorejax.runtime.errors import ConfigError
from scorejax.scores.predictions import Score

FREE = ("steps", "log_every", "checkpoint_every")  # of a section: what may change between two starts


class Companion(NamedTuple):
    """What is trained beside a score.

    Attributes:
      section: its section of the config: steps, batch, lr, warmup, clip, ema_decay, log_every, checkpoint_every, and
        what is its own.
      folder: where it is kept.
      init: `key -> params`.
      loss: `(params, score, keys [B], raw examples [B, ...]) -> [B]`.
    """

    section: str
    folder: Path
    init: Callable[[Array], Any]
    loss: Callable[[Any, Score, Array, Array], Array]


def train(model: Model, examples: data.Dataset, companion: Companion) -> Finished:
    """Train a companion until its section's `steps`, going on from the newest checkpoint in its folder.

    Args:
      model: the score, from `evaluate.restore`.
      examples: its training data.
      companion: what to train.

    Raises:
      ConfigError: something in the config does not exist or does not fit, or differs from that of a begun companion.
      CheckpointError: checkpoints cannot be read or written.
      DivergedError: the loss or its gradient is not finite.
    """
    config, folder = own_config(model.config, companion.section), companion.folder
    build.check(config, jax.device_count())
    optimizer = build.optimizer(config)

    # ---- Take over the folder, and go on where a run before left off.
    _check_section(folder, config, companion.section)
    workdir_lib.claim_score(folder, model.step, model.params)
    workdir_lib.claim(folder, config)
    logging.info("%s: training %s beside the score of step %d", folder, companion.section, model.step)
    checkpoints = checkpoint.Checkpoints(folder, keep=config.train.keep)

    def make_state(key: Array) -> State:
        params = companion.init(jax.random.fold_in(key, INIT))
        return State(jnp.int32(0), params, jax.tree.map(jnp.copy, params), optimizer.init(params), key)

    state, step = restore_or_init(checkpoints, make_state, config.seed)

    # ---- Compiled chunks of steps until the end.
    feeder = feed(config, examples)
    batch, parts = config.train.batch, feeder.parts

    def update(state: State, payload: Any, frozen: Any) -> tuple[State, dict[str, Array]]:
        part = parallel.part()
        raw, labels = feeder.draw(payload, state.step, part)
        own = data.example_keys(
            jax.random.fold_in(state.key, EXAMPLES), state.step, batch, part=part, parts=parts
        )  # fmt: skip
        raw = data.flip(keys.fold_in(own, 0), raw) if config.data.flip else raw
        score = build.score(
            config, model.process, model.module, frozen, class_labels=labels if config.model.conditional else None
        )

        def loss(params: Any) -> Array:
            return companion.loss(params, score, keys.fold_in(own, 1), raw)

        state, metrics, _ = descend(config, optimizer, state, loss)
        return state, metrics

    return advance(config, folder, checkpoints, feeder, update, state, step, (model.params,))


def own_config(config: Config, section: str) -> Config:
    """The score's config with the sections train, optim and ema of a companion."""
    c, own = config[section], configs.from_dict(configs.to_dict(config))
    own.train.update({"steps": c.steps, "batch": c.batch, "steps_per_call": 0, "log_every": c.log_every})
    own.train.update({"checkpoint_every": c.checkpoint_every, "keep": 2, "keep_every": 0, "preview_every": 0})
    own.optim.update({"name": "adam", "lr": c.lr, "warmup": c.warmup, "clip": c.clip})
    own.optim.update({"weight_decay": 0.0, "decay": "none"})
    own.ema.update({"decay": c.ema_decay, "warmup": True})
    return own


def _check_section(folder: Path, config: Config, section: str) -> None:
    """The section may change between two starts of the score's run, but not under a begun companion."""
    if not checkpoint.steps(folder):
        return
    before, now = workdir_lib.saved_config(folder)[section], config[section]
    for key in now:
        if key not in FREE and before[key] != now[key]:
            raise ConfigError(
                f"{folder} was begun with {section}.{key} = {before[key]!r}, got {now[key]!r}; keep it, or delete the "
                "folder"
            )
