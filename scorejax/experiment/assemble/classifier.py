"""Noise-conditional classifiers of a config: what they are told, and the loss they are trained by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorejax import models, objectives
from scorejax.experiment.assemble.arguments import options, pick, unset
from scorejax.experiment.config import Config
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.sdes import LinearSDE

VECTOR_CLASSIFIERS: dict[str, type[nn.Module]] = {"mlp_classifier": models.MLPClassifier}
IMAGE_CLASSIFIERS: dict[str, type[nn.Module]] = {"wide_resnet": models.WideResNetClassifier}
CLASSIFIERS = VECTOR_CLASSIFIERS | IMAGE_CLASSIFIERS
OBJECTIVE = "classification"


def is_classifier(config: Config) -> bool:
    """Whether the model of a config tells classes and is no score."""
    return config.model.name in CLASSIFIERS


def logits(
    process: LinearSDE,
    module: nn.Module,
    params: Any,
    *,
    dropout_key: jax.Array | None = None,
    headless: bool = False,
    cleanest: float | None = None,
) -> Partial:
    """The network as `(x [B, ...], t [B]) -> logits [B, K]`; a pytree, so that other parameters compile nothing again.

    A network with the embedding `log_snr` sees `x / sqrt(alpha^2 + sigma^2)` and `log(alpha^2 / sigma^2)`, and so knows
    nothing of the process: what it learnt of one holds for every other (the ratio is the mean over modes where each has
    its own). With any other embedding it sees `x` and the process's own label, as published ones do.

    Args:
        process: the forward process.
        module: from `network`.
        params: its parameters.
        dropout_key: turns dropout on.
        headless: features instead of logits: the last feature map `[B, H', W', C]`, or `[B, C]` of vectors.
        cleanest: the largest log signal-to-noise ratio that the network is told; cleaner data pass for this clean.
    """
    return Partial(_Logits(module, headless, cleanest), process, params, dropout_key)


@dataclasses.dataclass(frozen=True)
class _Logits:
    """Static part of a bound classifier; equal for equal networks, so that compiled programs are found again."""

    module: nn.Module
    headless: bool
    cleanest: float | None

    def __call__(
        self, process: LinearSDE, params: Any, dropout_key: jax.Array | None, x: jax.Array, t: jax.Array
    ) -> jax.Array:
        t = jnp.broadcast_to(t, x.shape[:1])
        if by_log_snr(self.module):
            label = jnp.mean(process.log_snr(t).reshape(len(t), -1), axis=1)
            label = label if self.cleanest is None else jnp.minimum(label, self.cleanest)
            x = process.scale(jax.lax.rsqrt(process.alpha(t) ** 2 + process.variance(t)), t, x)
        else:
            label = process.label(t)
        train = dropout_key is not None
        rngs = {"dropout": dropout_key} if train else None
        return jnp.asarray(self.module.apply({"params": params}, x, label, train, self.headless, rngs=rngs))


def by_log_snr(module: nn.Module) -> bool:
    """Whether a classifier is told the log signal-to-noise ratio, and so fits every process."""
    return getattr(module, "embedding") == "log_snr"  # noqa: B009


def check_objective(config: Config, process: LinearSDE) -> None:
    """Refuse settings that do not belong to a classifier and its objective.

    Raises:
      ConfigError: the objective belongs to scores, or a setting does.
    """
    c = config.objective
    if c.name != OBJECTIVE:
        raise ConfigError(f"model.name = {config.model.name!r} is a classifier; set objective.name = {OBJECTIVE!r}")
    pick("objective.weighting", c.weighting, dict.fromkeys(objectives.CLASSIFICATION_WEIGHTINGS))
    if c.reduction != "mean":
        raise ConfigError(f"objective.reduction = {c.reduction!r} belongs to scores; a classifier takes 'mean'")
    if config.train.preview_every:
        raise ConfigError("train.preview_every draws samples, which a classifier cannot; set it to 0")
    if not 0.0 <= (c.label_smoothing or 0.0) < 1.0:
        raise ConfigError(f"objective.label_smoothing = {c.label_smoothing}; it must lie in [0, 1)")
    options(config, "objective", objectives.classification, unset("objective"))
    with user_errors("section objective"):
        objectives.time_density(process, jnp.full(1, process.t_max), c.times)
    if c.weighting == "log_snr":
        with user_errors("objective.weighting = 'log_snr', where 'simple' fits every process"):
            objectives.time_density(process, jnp.full(1, process.t_max), "importance")


def classifier_loss(config: Config, process: LinearSDE, module: nn.Module) -> Callable[..., jax.Array]:
    """`(params, keys, x0, labels, t, dropout_key) -> loss [B]`: the cross entropy of a classifier."""
    c = config.objective
    given = options(config, "objective", objectives.classification, unset("objective"))
    given |= {"times": c.times, "weighting": c.weighting}

    def loss(params: Any, keys: jax.Array, x0: jax.Array, labels: jax.Array, t: jax.Array, dropout_key: Any):
        bound = logits(process, module, params, dropout_key=dropout_key)
        return objectives.classification(keys, process, bound, x0, labels, t=t, **given)

    return loss
