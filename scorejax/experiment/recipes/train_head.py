"""Training a variance head for a trained score (NPR-DPM and SN-DPM, arXiv 2206.07309; optimal covariance matching).

The score network is frozen and runs without dropout, which would inflate the residual that is fitted.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jax import Array

from scorejax import data, models, objectives
from scorejax.experiment import assemble as build
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.recipes import heads
from scorejax.experiment.training import companion
from scorejax.experiment.training.loop import Finished
from scorejax.numerics import keys as keys_lib
from scorejax.runtime.errors import user_errors
from scorejax.scores.predictions import Score


def train_head(config: Config, workdir: str | Path) -> Finished:
    """Train until `config.head.steps`, going on from the newest checkpoint in `workdir/heads/KIND`.

    The loss is the squared error of the head, averaged over coordinates.

    Args:
      config: that of the score's run.
      workdir: its folder, with at least one checkpoint, unless published weights are the score.

    Raises:
      ConfigError: something in the config does not exist or does not fit.
      CheckpointError: no score to be read, or checkpoints cannot be written.
      DivergedError: the loss or its gradient is not finite.
    """
    workdir_lib.check(workdir, config)
    folder = heads.folder(workdir, config.head.kind)
    examples = build.dataset(config)
    model = evaluate.restore(config, workdir, examples)
    process, head = model.process, heads.network(config, model.module, examples)
    target, dimension = heads.KINDS[config.head.kind].target, math.prod(examples.shape)

    def init(key: Array) -> Any:
        told = models.no_condition(model.module)
        score = build.score(config, process, model.module, model.params, class_labels=told)
        with user_errors("section head"):
            return models.init_head(key, process, score, head, examples.shape)

    def loss(params: Any, score: Score, keys: Array, raw: Array) -> Array:
        x0 = data.to_model(
            keys_lib.fold_in(keys, 0),
            raw,
            examples.gray_levels,
            centered=config.data.centered,
            dequantize=config.data.dequantize,
        )
        fitted = models.head_on(process, score, head, params)
        errors = objectives.variance_head(
            keys_lib.fold_in(keys, 1), process, score, x0, head=fitted, target=target
        )  # fmt: skip
        return errors / dimension

    return companion.train(model, examples, companion.Companion("head", folder, init, loss))
