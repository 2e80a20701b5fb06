"""Steering towards a class: by a network that was trained with labels and without, or by a classifier."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import data as data_lib
from scorejax import guidance
from scorejax.experiment import assemble as build
from scorejax.experiment.config import Config, chosen
from scorejax.experiment.config.settings import choices
from scorejax.experiment.steering import classifiers
from scorejax.runtime.errors import ConfigError
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE
from scorejax.sdes.linear import static

TASKS = ("inpaint", "restore", "edit", "translate")  # of given images; `scorejax.experiment.steering.tasks` has them
KEYS = ("labels", "scale", "interval", "negative")  # of a network that takes labels, whatever it is used for
_PATHS = ("classifier", "input", "mask", "target")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Classes:
    """Towards which class each sample is steered, and how; arrays are arguments of compiled programs.

    Attributes:
        labels: `[K]`, of which sample `i` is to be of class `labels[i % K]` (or embeddings `[K, ...]`); None: of none.
        away: the label that stands for no class, or the class to move away from; None: not needed.
        logits: of a classifier that knows the noise; None: none.
        scale: how strongly; 1 is the plain conditional law.
        interval: of the log SNR, where it acts; None: everywhere.
    """

    labels: Array | None = None
    away: Array | None = None
    logits: Partial | None = None
    scale: float = static(default=1.0)
    interval: tuple[float, float] | None = static(default=None)

    def wanted(self, index: Array) -> Array | None:
        """The classes of the samples with these numbers `[B]`."""
        return None if self.labels is None else self.labels[index % len(self.labels)]

    def score(self, config: Config, process: LinearSDE, module: nn.Module, params: Any, labels: Array | None) -> Score:
        """The model's score, steered towards `labels [B]`."""
        off = 1.0 if self.logits is None else 0.0  # the strength at which nothing is added to the model
        scale = self.scale
        if self.interval is not None:
            scale = guidance.interval(self.scale, process, *self.interval, outside=off)
        if self.logits is None and config.model.conditional:
            assert labels is not None
            labelled = build.labelled_score(config, process, module, params)
            away = labels if self.away is None else self.away
            return guidance.classifier_free_batched(labelled, labels, away, scale)
        if config.model.conditional:
            score = build.score(config, process, module, params, class_labels=labels)
        else:
            score = build.score(config, process, module, params)
        if self.logits is None or labels is None:
            return score
        return guidance.classifier(score, guidance.class_log_prob(self.logits, labels), scale)


def classes(config: Config, process: LinearSDE, examples: data_lib.Dataset) -> Classes:
    """The class guidance of a config, for a model of these examples.

    Raises:
        ConfigError: no such guidance, settings that it does not take, a label that does not exist, or a network or
            classifier that cannot do it.
    """
    c = config.guidance
    if c.name in TASKS:
        raise ConfigError(
            f"guidance = {c.name!r} is of given images, which --mode=sample reads and measures; other modes take "
            f"{choices(CLASS_GUIDANCE)}"
        )
    if c.name not in CLASS_GUIDANCE:
        raise ConfigError(f"unknown guidance {c.name!r}; choose one of {choices(CLASS_GUIDANCE)}, {', '.join(TASKS)}")
    factory = CLASS_GUIDANCE[c.name]
    return factory(config, process, examples, **build.options(config, "guidance", factory, build.unset("guidance")))


def of_task(config: Config, process: LinearSDE, examples: data_lib.Dataset) -> Classes:
    """The class guidance beside a task: where the network takes labels, by these.

    Raises:
        ConfigError: as `classes`.
    """
    given = {key: config.guidance[key] for key in KEYS if config.guidance[key] is not None}
    if config.model.conditional:
        return classifier_free(config, process, examples, **given)
    if given:
        raise ConfigError(
            f"guidance.{next(iter(given))} is set, but this network takes no class labels (model.conditional = False): "
            "train one with model.conditional=true"
        )
    return Classes()


def none(config: Config, process: LinearSDE, examples: data_lib.Dataset) -> Classes:
    """The model as it is: samples of each class in turn, if it knows classes."""
    return Classes(build.sample_labels(config, examples))


def classifier_free(
    config: Config,
    process: LinearSDE,
    examples: data_lib.Dataset,
    *,
    labels: tuple[int, ...] | None = None,
    scale: float = 1.0,
    interval: tuple[float, float] | None = None,
    negative: int | None = None,
) -> Classes:
    """Steering by the difference that a label makes to the network's own score."""
    build.check_takes_labels(config)
    if examples.embeddings and (labels is not None or negative is not None):
        raise ConfigError(f"guidance.labels and guidance.negative are of classes; {examples.name!r} has embeddings")
    count = examples.num_classes
    chosen = build.sample_labels(config, examples) if labels is None else _labels(labels, count)
    if negative is not None:
        away = _labels((negative,), count, "guidance.negative")[0]
    elif scale == 1.0 and interval is None:
        away = None
    else:
        away = jnp.asarray(build.null_label(config, examples))
    return Classes(chosen, away, None, scale, _interval(interval))


def classifier(
    config: Config,
    process: LinearSDE,
    examples: data_lib.Dataset,
    *,
    classifier: str | None = None,
    labels: tuple[int, ...] | None = None,
    scale: float = 1.0,
    interval: tuple[float, float] | None = None,
) -> Classes:
    """Steering by the gradient of a classifier of noisy data."""
    found = trained_classifier(config, process, examples, classifier)
    return Classes(_labels(labels, found.num_classes), None, found.logits, scale, _interval(interval))


CLASS_GUIDANCE = {"none": none, "classifier_free": classifier_free, "classifier": classifier}


def trained_classifier(
    config: Config, process: LinearSDE, examples: data_lib.Dataset, folder: str | None
) -> classifiers.Classifier:
    """The classifier `guidance.classifier`.

    Raises:
        ConfigError: it is not set, or does not fit the model.
    """
    if folder is None:
        raise ConfigError(
            f"guidance = {config.guidance.name!r} needs guidance.classifier, the workdir of a classifier that was "
            "trained on noisy data"
        )
    return classifiers.restore(folder, process, examples, centered=config.data.centered, data_dir=config.data.data_dir)


def title(config: Config) -> str:
    """The guidance and all that it was told, as part of a file's name: `restore-blur-1.5-pigdm-sigma_y-0.05`."""
    told = chosen(config, "guidance")
    told |= {key: Path(told[key]).name for key in _PATHS if key in told}
    words = [told.pop("name"), *(told.pop(key) for key in ("operator", "mask", "method") if key in told)]
    words += [f"{key}-{value}" for key, value in told.items()]
    return re.sub(r"[^\w.]+", "-", "-".join(words)).strip("-")


def suffix(config: Config) -> str:
    """What the files of guided samples are called after those of the model as it is."""
    return "" if config.guidance.name == "none" else f"-{title(config)}"


def _labels(labels: tuple[int, ...] | None, count: int, key: str = "guidance.labels") -> Array:
    labels = tuple(range(count)) if labels is None else labels
    if not labels or any(not isinstance(k, int) or not 0 <= k < count for k in labels):
        raise ConfigError(f"{key} = {labels}: classes are 0 to {count - 1}; choose among these")
    return jnp.asarray(labels, jnp.int32)


def _interval(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    if interval is not None and (len(interval) != 2 or not interval[0] <= interval[1]):
        raise ConfigError(f"guidance.interval = {interval}; wanted (low, high), log signal-to-noise ratios")
    return interval
