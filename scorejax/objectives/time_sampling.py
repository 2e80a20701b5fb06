"""How training times are drawn, and the density they are drawn from, by which a loss is divided."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.sdes.corruption import SDE, check_kind
from scorejax.sdes.discrete import Chain
from scorejax.sdes.linear import LinearSDE

TimeSampling: TypeAlias = Literal["uniform", "stratified", "importance"]
TIME_SAMPLERS = get_args(TimeSampling)


def draw_times(key: Array, sde: SDE, n: int, time_sampling: str = "uniform") -> Array:
    """Draw `n` training times, `[n]`.

    `uniform` draws them independently on [t_min, t_max] (on the levels of a discrete chain); `stratified` puts
    one in each of n equal slots, which lowers the variance of a batch mean; `importance` draws from the density
    proportional to `g^2 / sigma^2` (Song et al., arXiv 2101.09258), which is uniform in the log signal-to-noise
    ratio because `g^2 / sigma^2 = -d log SNR / dt`, so that its inverse is closed form for every process
    of one ratio; where the modes differ it is the mean over them. These are stratified too.

    Args:
        key: one key, or one per example `[n]` (then draws are independent and `stratified` is refused).
        sde: the forward process.
        n: how many.
        time_sampling: `uniform`, `stratified` or `importance`.

    Raises:
        ValueError: on an unknown sampler, or one that cannot work here.
    """
    _check(sde, time_sampling)
    if keys_lib.check(key, n):
        if time_sampling == "stratified":
            raise ValueError(
                "stratified times need one key for the whole batch, got a key per example; pass t=draw_times(...)"
            )
        u = keys_lib.uniform(key, (n,))
    elif time_sampling == "uniform":
        u = keys_lib.uniform(keys_lib.per_example(key, n), (n,))
    else:
        # one random shift of an even grid: each time by itself is uniform, all together are spread
        u = jnp.mod(jax.random.uniform(key) + jnp.arange(n) / n, 1.0)
    if time_sampling != "importance":
        return sde.time_of(u)
    assert isinstance(sde, LinearSDE)  # `_check` refuses others
    first, last = sde.mean_log_snr(sde.t_min), sde.mean_log_snr(sde.t_max)
    return jnp.clip(sde.inverse_log_snr(first + u * (last - first)), sde.t_min, sde.t_max)


def time_density(sde: SDE, t: Array, time_sampling: str = "uniform") -> Array:
    """Return the density of `draw_times` relative to the uniform one, shaped like `t`; its uniform mean is one.

    Raises:
        ValueError: on an unknown sampler, or one that cannot work here.
    """
    _check(sde, time_sampling)
    if time_sampling != "importance":
        return jnp.ones_like(t)
    assert isinstance(sde, LinearSDE)  # `_check` refuses others
    total = sde.mean_log_snr(sde.t_min) - sde.mean_log_snr(sde.t_max)
    # g^2 / sigma^2 = -d log SNR / dt, so its integral over all times is the range of log SNR
    return (sde.t_max - sde.t_min) * sde.mean_rate(t) / total


def time_or_drawn(key: Array, sde: SDE, n: int, t: Array | None, time_sampling: str) -> tuple[Array, Array]:
    """Return training times `[n]`, the given ones or drawn ones, and a key (or one per example) for all other noise.

    Raises:
        ValueError: on an unknown sampler, or one that cannot work here; on a raw key; on times that are not one per
            example, or lie outside the process's.
    """
    fold = keys_lib.fold_in if keys_lib.check(key, n) else jax.random.fold_in
    if t is None:
        return draw_times(fold(key, 0), sde, n, time_sampling), fold(key, 1)
    doors.times(t, sde.t_min, sde.t_max, rows=n)
    return jnp.asarray(t, jnp.result_type(float)), fold(key, 1)


def _check(sde: SDE, time_sampling: str) -> None:
    if time_sampling not in TIME_SAMPLERS:
        raise ValueError(f"unknown time_sampling {time_sampling!r}; choose one of {', '.join(TIME_SAMPLERS)}")
    if time_sampling != "importance":
        return
    if isinstance(check_kind(sde, LinearSDE, "time_sampling='importance'"), Chain):
        raise ValueError(
            "importance-sampled times need a continuous-time process, got a chain; choose uniform or stratified"
        )
