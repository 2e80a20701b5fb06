"""A trained noise-conditional classifier, read from its run's folder: what guides a score towards a class."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial

from scorejax import data
from scorejax.experiment import assemble as build
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import ConfigError
from scorejax.sdes import LinearSDE, float64

_BEYOND = 1.0  # how far below the log signal-to-noise ratios of its training a classifier may be asked


class Classifier(NamedTuple):
    """A classifier bound to a forward process; both functions are pytrees that carry its weights.

    Attributes:
      logits: `(x [B, ...], t [B]) -> [B, K]` of `p(class | x_t)`, for `guidance.class_log_prob`.
      features: `(x, t) -> [B, H', W', C]`, the last feature map (`[B, C]` of vectors), for `guidance.realistic`.
      num_classes: `K`.
      label_names: a name for each class; may be empty.
      step: optimizer steps that it was trained for.
    """

    logits: Partial
    features: Partial
    num_classes: int
    label_names: tuple[str, ...]
    step: int


def restore(
    workdir: str | Path,
    process: LinearSDE,
    examples: data.Dataset,
    *,
    centered: bool = True,
    data_dir: str | None = None,
) -> Classifier:
    """Read the averaged weights of a classifier's run, to guide a score of `process` on data like `examples`.

    A classifier that is told the log signal-to-noise ratio fits every process that is no noisier than the one of its
    training (cleaner data pass for the cleanest that it knows); any other, the process of its training alone.

    Args:
      workdir: folder of the classifier's run.
      process: the score's forward process.
      examples: the data of the score. Their classes need not be the classifier's: a score of one class may be led away
        from another.
      centered: whether the score's data are centred, `data.centered` of its config.
      data_dir: where prepared sets are, if no longer where the classifier's config says.

    Raises:
      ConfigError: the folder holds no classifier, or one of another process, shape, number of grey levels or centring.
      CheckpointError: there are no weights, or none that can be read.
    """
    config = workdir_lib.saved_config(workdir)
    if not build.is_classifier(config):
        raise ConfigError(
            f"{workdir} holds a run of model.name = {config.model.name!r}, not a classifier; give the folder of a "
            "run whose objective is classification, like that of configs/classifier.py"
        )
    if config.data.centered != centered:
        raise ConfigError(
            f"the classifier in {workdir} was trained on data with centered={config.data.centered}, the score with "
            f"centered={centered}; train one of them again with the other's data.centered"
        )
    config.data.data_dir = data_dir or config.data.data_dir
    own = build.dataset(config)
    if (own.shape, own.gray_levels) != (examples.shape, examples.gray_levels):
        raise ConfigError(
            f"the classifier in {workdir} was trained on examples of shape {own.shape} with gray_levels = "
            f"{own.gray_levels}, the score on {examples.shape} with gray_levels = {examples.gray_levels}; train one of "
            "them again on the other's data"
        )
    module = build.network(config, own)
    cleanest = _check_process(workdir, config, module, process)
    shapes = jax.eval_shape(lambda: build.init_params(jax.random.key(0), module, examples.shape))
    restored = checkpoint.restore_ema(workdir, shapes)
    params = jax.tree.map(jax.numpy.asarray, restored.fields["ema"])
    logits, features = (
        build.logits(process, module, params, headless=headless, cleanest=cleanest) for headless in (False, True)
    )
    return Classifier(logits, features, own.num_classes, own.label_names, restored.step)


def _check_process(workdir: str | Path, config: Config, module: nn.Module, process: LinearSDE) -> float | None:
    """The largest log signal-to-noise ratio of the classifier's training; None for its own process."""
    own = build.sde(config)
    times = np.linspace(process.t_min, process.t_max, 33)
    here, there = (float64.evaluate(_schedule, p, times) for p in (process, own))
    if all(a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(here, there, strict=True)):
        return None
    told = f"the classifier in {workdir} was trained for {type(own).__name__}"
    if not build.by_log_snr(module) or here[0].ndim > 1 or there[0].ndim > 1:
        raise ConfigError(
            f"{told} of another schedule than the score's {type(process).__name__}; train one with the score's section "
            "sde, and with model.embedding='log_snr' if it is to serve several processes"
        )
    low = float64.evaluate(LinearSDE.log_snr, process, process.t_max)
    lowest, highest = float64.evaluate(LinearSDE.log_snr, own, np.array([own.t_max, own.t_min]))
    if low < lowest - _BEYOND:
        raise ConfigError(
            f"{told}, at log signal-to-noise ratios from {lowest:.2f} up; the score's {type(process).__name__} has "
            f"noisier data, from {low:.2f} up: train one with the score's section sde"
        )
    return float(highest)


def _schedule(sde: LinearSDE, t: Array) -> tuple[Array, Array, Array]:
    return sde.alpha(t), sde.sigma(t), sde.label(t)
