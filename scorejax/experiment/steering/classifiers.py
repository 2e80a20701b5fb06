"""A trained noise-conditional classifier, read from its run's folder: what guides a score toward a class."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial

from scorejax.experiment import trained as trained_lib
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.assemble import gaussian
from scorejax.experiment.model import Model
from scorejax.experiment.steering.guidance import About
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


def restore(workdir: str | Path, about: About) -> Classifier:
    """Read the averaged weights of a classifier's run, to guide a score on data like its own.

    A classifier that is given the log signal-to-noise ratio fits every process that is no noisier than the one of its
    training (cleaner data pass for the cleanest that it knows); any other, the process of its training alone. The
    classes of the score's data need not be the classifier's: a score of one class may be led away from another.

    Args:
        workdir: folder of the classifier's run.
        about: the score that is to be guided.

    Raises:
        ConfigError: the folder holds no classifier, or one of another process, shape, number of gray levels or
            centering.
        CheckpointError: there are no weights, or none that can be read.
    """
    config = workdir_lib.saved_config(workdir)
    centered = about.config.data.centered
    if config.data.centered != centered:
        raise ConfigError(
            f"the classifier in {workdir} was trained on data with centered={config.data.centered}, the score with "
            f"centered={centered}; train one of them again with the other's data.centered"
        )
    if config.data.name == about.config.data.name:  # where prepared sets lie may have changed since
        config.data.update({key: value for key, value in about.config.data.own().items() if key == "data_dir"})
    trained = trained_lib.restore(config, workdir)
    own, model = trained.form, trained.model
    if model.logits is None or model.features is None or model.sde is None:
        raise ConfigError(
            f"{workdir} holds a run of recipe {config.recipe.name!r}, which does not classify noisy data; give the "
            "folder of a run like that of configs/classifier.py"
        )
    if (own.shape, own.gray_levels) != (about.form.shape, about.form.gray_levels):
        raise ConfigError(
            f"the classifier in {workdir} was trained on examples of shape {own.shape} with {own.gray_levels} gray "
            f"levels, the score on {about.form.shape} with {about.form.gray_levels}; train one of them again "
            "on the other's data"
        )
    if own.gray_levels is None and about.space != trained.space:
        raise ConfigError(
            f"the classifier in {workdir} was trained on numbers that were brought to model space otherwise than the "
            "score's: train one of them again on the other's data, or both with data.normalize=none"
        )
    own_sde, sde = (gaussian(process, "guidance by a classifier of noisy data") for process in (model.sde, about.sde))
    cleanest = _check_process(workdir, model, own_sde, sde)
    params = jax.tree.map(jax.numpy.asarray, trained.params)
    bound = trained.recipe.model(params)
    if cleanest is not None and bound.of_process is not None:
        bound = bound.of_process(sde, cleanest)
    assert bound.logits is not None and bound.features is not None  # refused above
    return Classifier(bound.logits, bound.features, own.num_classes, own.label_names, trained.step)


def _check_process(workdir: str | Path, model: Model, own: LinearSDE, process: LinearSDE) -> float | None:
    """The largest log signal-to-noise ratio of the classifier's training; None for its own process."""
    times = np.linspace(process.t_min, process.t_max, 33)
    here, there = (float64.evaluate(_schedule, p, times) for p in (process, own))
    if all(a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(here, there, strict=True)):
        return None
    said = f"the classifier in {workdir} was trained for {type(own).__name__}"
    if model.of_process is None or here[0].ndim > 1 or there[0].ndim > 1:
        raise ConfigError(
            f"{said} of another schedule than the score's {type(process).__name__}; train one with the score's section "
            "sde, and with model.embedding='log_snr' if it is to serve several processes"
        )
    low = float64.evaluate(LinearSDE.log_snr, process, process.t_max)
    lowest, highest = float64.evaluate(LinearSDE.log_snr, own, np.array([own.t_max, own.t_min]))
    if low < lowest - _BEYOND:
        raise ConfigError(
            f"{said}, at log signal-to-noise ratios from {lowest:.2f} up; the score's {type(process).__name__} has "
            f"noisier data, from {low:.2f} up: train one with the score's section sde"
        )
    return float(highest)


def _schedule(sde: LinearSDE, t: Array) -> tuple[Array, Array, Array]:
    return sde.alpha(t), sde.sigma(t), sde.label(t)
