"""Training a dequantizer for a trained score (Ho et al., arXiv 1902.00275; 2101.09258).

The score network is frozen; the flow minimises the bound of bits per dimension, so whatever it becomes, the bits
that it gives are an upper bound.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jax import Array

from scorejax import likelihood
from scorejax.experiment import assemble as build
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.recipes import dequantization
from scorejax.experiment.training import companion
from scorejax.experiment.training.loop import Finished
from scorejax.scores.predictions import Score


def train_dequantizer(config: Config, workdir: str | Path) -> Finished:
    """Train until `config.dequantizer.steps`, going on from the newest checkpoint in `workdir/dequantizer`.

    The loss is the bound in bits per dimension, each example's from a few times of its own.

    Args:
      config: that of the score's run.
      workdir: its folder, with at least one checkpoint.

    Raises:
      ConfigError: something in the config does not exist or does not fit.
      CheckpointError: no score to be read, or checkpoints cannot be written.
      DivergedError: the loss or its gradient is not finite.
    """
    workdir_lib.check(workdir, config)
    examples = build.dataset(config)
    module, times = dequantization.network(config, examples), config.dequantizer.times
    model = evaluate.restore(config, workdir, examples)

    def init(key: Array) -> Any:
        return dequantization.init_params(key, module, examples.shape)

    def loss(params: Any, score: Score, keys: Array, raw: Array) -> Array:
        assert examples.gray_levels is not None  # `dequantization.network` refuses vectors
        return likelihood.bound_bits(
            keys, model.process, score, raw, examples.gray_levels, centered=config.data.centered, samples=times,
            chunk=times, dequantizer=dequantization.bind(module, params, examples.gray_levels),
        ).value  # fmt: skip

    folder = Path(workdir) / dequantization.FOLDER
    return companion.train(model, examples, companion.Companion("dequantizer", folder, init, loss))
