"""Cross entropy `-log p(y | x_t, t)` of a classifier of noisy data, whose gradient guides samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Below1
from scorejax.objectives.time_sampling import time_density, time_or_drawn
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE

Weighting: TypeAlias = Literal["simple", "log_snr"]
CLASSIFICATION_WEIGHTINGS = get_args(Weighting)


def classification(
    key: Array,
    sde: LinearSDE,
    logits: Callable[[Array, Array], Array],
    x0: Array,
    labels: Array,
    *,
    t: Array | None = None,
    time_sampling: str = "uniform",
    weighting: Weighting = "simple",
    label_smoothing: Below1 = 0.0,
) -> Array:
    """Return the cross entropy of `p(y | x_t, t)` of each example, `[B]`, in nats (arXiv 2011.13456, 2105.05233).

        loss_b = -w(t) / p(t) log p(y | x_t, t),   x_t = alpha_t x_0 + sigma_t noise

    Its minimizer is the posterior of the class given the diffused data, whose gradient guides. `p` is the density of
    the time sampler relative to uniform times, so the expectation does not depend on the sampler. The mean weight is
    1: losses are in nats.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        logits: `logits(x, t) -> [B, K]`, the model's.
        x0: data, `[B, ...]`, in model units.
        labels: their classes `[B]`, integers in `0 .. K - 1`.
        t: times `[B]` drawn outside by `draw_times(..., time_sampling)`; drawn here if not given.
        time_sampling: how times are drawn: `uniform`, `stratified` or `importance`.
        weighting: `simple`: every time counts the same (as published). `log_snr`: every log signal-to-noise ratio does,
            `w = (g^2 / sigma^2) / mean`, which `importance` times cancel. Uniform times hardly see the clean end: a
            thousandth of VP's times holds a fifth of its ratios.
        label_smoothing: share of the target spread evenly over all classes. The minimizer is then the posterior
            mixed with that share of the uniform law, whose gradient is weaker.

    Raises:
        ValueError: on an unknown name, a share outside [0, 1), or data, labels, times, keys or logits of another kind
            or shape.
    """
    if weighting not in CLASSIFICATION_WEIGHTINGS:
        raise ValueError(
            f"unknown weighting {weighting!r} of a classifier; choose one of {', '.join(CLASSIFICATION_WEIGHTINGS)}"
        )
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
    check_kind(sde, LinearSDE, "classification")
    x0, labels = doors.points(x0, "x0"), jnp.asarray(labels)
    if labels.shape != x0.shape[:1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"labels must be one integer per example, shape {x0.shape[:1]}, got {labels.dtype} of shape {labels.shape}"
        )
    t, noise_key = time_or_drawn(key, sde, x0.shape[0], t, time_sampling)
    noise = keys_lib.normal(keys_lib.per_example(noise_key, x0.shape[0]), x0.shape, x0.dtype)
    log_p = jax.nn.log_softmax(doors.class_logits(x0, logits(sde.perturb(x0, t, noise), t)), axis=-1)
    own = jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
    value = (1.0 - label_smoothing) * own + label_smoothing * jnp.mean(log_p, axis=-1)
    counted = "importance" if weighting == "log_snr" else "uniform"
    return -value * time_density(sde, t, counted) / time_density(sde, t, time_sampling)
