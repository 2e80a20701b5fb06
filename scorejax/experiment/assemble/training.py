"""Optimizer of a config, and the checks made before a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from scorejax.experiment.assemble.arguments import pick
from scorejax.experiment.assemble.chains import NOTHING, stand_in
from scorejax.experiment.assemble.model import IMAGE_NETWORKS, NETWORKS, sde
from scorejax.experiment.assemble.objectives import objective
from scorejax.experiment.assemble.sampling import needed, sampler
from scorejax.experiment.config import Config
from scorejax.runtime.errors import ConfigError

OPTIMIZERS = ("adam", "adamw")
DECAYS = ("none", "cosine")
STEPS_PER_CALL = 10


def learning_rate(config: Config) -> Callable[[Any], Any]:
    """`lr min((n + 1) / warmup, 1)` at step n, times half a cosine over the run if asked."""
    c, steps = config.optim, config.train.steps
    if c.decay not in DECAYS:
        raise ConfigError(f"unknown optim.decay {c.decay!r}; choose one of {', '.join(DECAYS)}")

    def rate(step: Any) -> Any:
        warm = jnp.minimum((step + 1) / max(c.warmup, 1), 1.0)
        fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / steps, 1.0))) if c.decay == "cosine" else 1.0
        return c.lr * warm * fall

    return rate


def optimizer(config: Config) -> optax.GradientTransformation:
    """Clipping by the global norm, then Adam or AdamW; for gradients that are already averaged over devices."""
    c = config.optim
    if c.name not in OPTIMIZERS:
        raise ConfigError(f"unknown optim.name {c.name!r}; choose one of {', '.join(OPTIMIZERS)}")
    if c.weight_decay and c.name == "adam":
        raise ConfigError(f"optim.weight_decay = {c.weight_decay} needs optim.name = 'adamw', got 'adam'")
    steps = [optax.clip_by_global_norm(c.clip)] if c.clip > 0 else []
    steps.append(optax.scale_by_adam(c.beta1, c.beta2, c.eps))
    if c.weight_decay:
        # Matrices and kernels alone: biases, norms and fixed Fourier frequencies are vectors.
        mask = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)  # noqa: E731
        steps.append(optax.add_decayed_weights(c.weight_decay, mask))
    return optax.chain(*steps, optax.scale_by_learning_rate(learning_rate(config)))


def check(config: Config, devices: int = 1) -> None:
    """Refuse, in the first second, a config that would fail later.

    Raises:
      ConfigError: unknown names, settings that do not belong together, numbers that do not divide.
    """
    process = sde(config)
    pick("model.name", config.model.name, NETWORKS)
    objective(config, process)
    sampler(config, process, stand_in(process) if needed(config) else NOTHING)
    optimizer(config)
    steps_per_call(config)
    if not 0 <= config.model.label_dropout < 1:
        raise ConfigError(f"model.label_dropout = {config.model.label_dropout}; it must lie in [0, 1), e.g. 0.1")
    if config.model.label_dropout and not config.model.conditional:
        raise ConfigError("model.label_dropout hides class labels; it needs model.conditional=true")
    if config.train.batch < 1 or config.train.batch % devices:
        raise ConfigError(
            f"train.batch = {config.train.batch} cannot be shared equally by {devices} devices; choose a multiple "
            f"of {devices}"
        )
    for key in ("train.steps", "train.log_every", "train.checkpoint_every", "train.keep", "eval.batch"):
        section, name = key.split(".")
        if config[section][name] < 1:
            raise ConfigError(f"{key} = {config[section][name]}; it must be at least 1")


def steps_per_call(config: Config, start: int = 0) -> int:
    """Optimizer steps in one compiled call; the run's start and all its intervals are multiples of it.

    XLA runs the weight gradients of convolutions some 30 times slower inside a loop on a CPU (and dispatch
    costs nothing there), so a convolutional network takes one step per call on a CPU.

    Raises:
      ConfigError: a number of steps that does not divide the intervals.
    """
    c = config.train
    names = ("steps", "log_every", "checkpoint_every", "keep_every", "preview_every")
    intervals = {**{f"train.{name}": c[name] for name in names}, "the step to go on from": start}
    if c.steps_per_call:
        for name, value in intervals.items():
            if value % c.steps_per_call:
                raise ConfigError(
                    f"{name} = {value} is not a multiple of train.steps_per_call = {c.steps_per_call}; change "
                    "either, or let train.steps_per_call=0 choose"
                )
        return c.steps_per_call
    wanted = 1 if config.model.name in IMAGE_NETWORKS and jax.default_backend() == "cpu" else STEPS_PER_CALL
    common = math.gcd(*intervals.values())
    return max(n for n in range(1, wanted + 1) if common % n == 0)
