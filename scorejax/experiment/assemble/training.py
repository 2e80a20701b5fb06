"""Optimizer of a config, and the checks made before a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from scorejax.experiment.config import Config
from scorejax.numerics.trees import PyTree
from scorejax.runtime.errors import ConfigError

STEPS_PER_CALL = 10


def learning_rate(config: Config) -> Callable[[ArrayLike], jax.Array]:
    """`lr min((n + 1) / warmup, 1)` at step n, times half a cosine over the run if asked."""
    c, steps = config.optim, config.train.steps

    def rate(step: ArrayLike) -> jax.Array:
        warm = jnp.minimum((step + 1) / max(c.warmup, 1), 1.0)
        fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / steps, 1.0))) if c.decay == "cosine" else 1.0
        return c.lr * warm * fall

    return rate


def optimizer(config: Config) -> optax.GradientTransformation:
    """Clipping by the global norm, then Adam or AdamW; for gradients that are already averaged over devices."""
    c = config.optim
    if c.weight_decay and c.name == "adam":
        raise ConfigError(f"optim.weight_decay = {c.weight_decay} needs optim.name = 'adamw', got 'adam'")
    steps = [optax.clip_by_global_norm(c.clip)] if c.clip > 0 else []
    steps.append(optax.scale_by_adam(c.beta1, c.beta2, c.eps))
    if c.weight_decay:
        # Matrices and kernels alone: biases, norms and fixed Fourier frequencies are vectors.
        mask = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)  # noqa: E731
        steps.append(optax.add_decayed_weights(c.weight_decay, mask))
    return optax.chain(*steps, optax.scale_by_learning_rate(learning_rate(config)))


def kept_by(project: Callable[[PyTree], PyTree]) -> optax.GradientTransformation:
    """Steps that end where `project` puts the parameters; last in a chain."""

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        there = project(optax.apply_updates(params, updates))
        return jax.tree.map(lambda new, old: new - old, there, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def check_numbers(config: Config, devices: int = 1) -> None:
    """Refuse numbers of a config that do not go together; those out of range were refused when they were set.

    Raises:
        ConfigError: one is.
    """
    optimizer(config)
    steps_per_call(config)
    if config.train.batch % devices:
        raise ConfigError(
            f"train.batch = {config.train.batch} cannot be shared equally by {devices} devices; choose a multiple "
            f"of {devices}"
        )
    pieces = config.train.accumulate
    if config.train.batch % (devices * pieces):
        raise ConfigError(
            f"train.batch = {config.train.batch} cannot be cut into train.accumulate = {pieces} equal pieces on "
            f"{devices} device{'s' * (devices > 1)}; choose a multiple of {devices * pieces}"
        )
    if bool(config.ema.lengths) != bool(config.ema.snapshot_every):
        raise ConfigError(
            f"ema.lengths = {config.ema.lengths} and ema.snapshot_every = {config.ema.snapshot_every} go together: "
            "averages of these lengths are kept as snapshots every so many steps; set both, such as "
            "ema.lengths=0.05,0.10 and a tenth to a thirtieth of train.steps, or neither"
        )
    if len(set(config.ema.lengths)) != len(config.ema.lengths):
        raise ConfigError(f"ema.lengths = {config.ema.lengths} names a length twice")


def steps_per_call(config: Config, start: int = 0, *, convolutions: bool = False) -> int:
    """Optimizer steps in one compiled call; the run's start and all its intervals are multiples of it.

    XLA runs the weight gradients of convolutions some 30 times slower inside a loop on a CPU (and dispatch
    costs nothing there), so a network with convolutions takes one step per call on a CPU.

    Raises:
        ConfigError: a number of steps that does not divide the intervals.
    """
    c = config.train
    names = ("steps", "log_every", "checkpoint_every", "keep_every", "preview_every")
    intervals = {**{f"train.{name}": c[name] for name in names}, "the step to go on from": start}
    intervals["ema.snapshot_every"] = config.ema.snapshot_every
    if c.steps_per_call:
        for name, value in intervals.items():
            if value % c.steps_per_call:
                raise ConfigError(
                    f"{name} = {value} is not a multiple of train.steps_per_call = {c.steps_per_call}; change "
                    "either, or let train.steps_per_call=0 choose"
                )
        return c.steps_per_call
    wanted = 1 if convolutions and jax.default_backend() == "cpu" else STEPS_PER_CALL
    common = math.gcd(*intervals.values())
    return max(n for n in range(1, wanted + 1) if common % n == 0)
