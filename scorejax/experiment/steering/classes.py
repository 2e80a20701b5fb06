"""Toward which class each sample is steered, and how: conditioning is a transform of the score, made once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import guidance
from scorejax.experiment.model import Model
from scorejax.numerics.trees import register_dataclass, static
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE
from scorejax.sdes.corruption import Corruption, check_kind


@register_dataclass
@dataclass(frozen=True)
class Classes:
    """Class guidance; arrays are arguments of compiled programs.

    Attributes:
        labels: `[K]`; sample `i` is to be of class `labels[i % K]` (or embeddings `[K, ...]`); None: of none.
        away: the label that stands for no class, or the class to move away from; None: not needed.
        logits: of a classifier that knows the noise; None: none.
        scale: how strongly; 1 is the plain conditional law.
        interval: of the log SNR, where it acts; None: everywhere.
        last: a function of the score so steered; None: none.
        dropped: which numbers of rows of several conditions are absent in what is moved away from, bool `[D]`; None:
            `away` says it.
    """

    labels: Array | None = None
    away: Array | None = None
    logits: Partial | None = None
    scale: float = static(default=1.0)
    interval: tuple[float, float] | None = static(default=None)
    last: Callable[[Score], Score] | None = static(default=None)  # noqa: RUF009
    dropped: Array | None = None

    def followed_by(self, transform: Callable[[Score], Score]) -> Classes:
        """The same, and then another transform of the score."""
        return dataclasses.replace(self, last=transform)

    def wanted(self, index: Array) -> Array | None:
        """The classes of the samples with these numbers `[B]`."""
        return None if self.labels is None else self.labels[index % len(self.labels)]

    def score(self, model: Model, sde: Corruption, labels: Array | None) -> Score:
        """The model's score, steered toward `labels [B]`; of a model that restores its restoration.

        Raises:
            ValueError: the model takes a condition, and there are no labels.
        """
        score = self._by_class(model, sde, labels)
        return score if self.last is None else self.last(score)

    def _by_class(self, model: Model, sde: Corruption, labels: Array | None) -> Score:
        if model.conditional and labels is None:
            raise ValueError(
                "this model takes a condition, but it was not said for which classes samples are wanted: make the "
                "guidance by `steering.classes(config, trained, examples)`, or give Classes(labels=...)"
            )
        off = 1.0 if self.logits is None else 0.0  # the strength at which nothing is added to the model
        scale = self.scale
        if self.interval is not None:
            known = check_kind(sde, LinearSDE, "an interval of the log SNR")
            scale = guidance.interval(self.scale, known, *self.interval, outside=off)
        if self.logits is None and model.conditional and labels is not None and model.score is not None:
            away = labels if self.away is None else self.away
            away = away if self.dropped is None else jnp.where(self.dropped, jnp.nan, labels)
            return guidance.classifier_free_batched(model.score, labels, away, scale)
        if model.score is None and model.restore is not None:
            return model.restore
        score = model.score_given(labels if model.conditional else None)
        if self.logits is None or labels is None:
            return score
        return guidance.classifier(score, guidance.class_log_prob(self.logits, labels), scale)
