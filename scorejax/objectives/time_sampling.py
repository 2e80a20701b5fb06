"""How training times are drawn, and the density by which a loss is divided, so that its mean depends on no sampler.

Laws that are part of a recipe (`scorejax.objectives.time_laws`) are not divided out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.objectives.time_laws import CosMap, LogitNormal, LogNormal, Mode, TimeLaw
from scorejax.sdes.corruption import SDE, check_kind
from scorejax.sdes.discrete import Chain
from scorejax.sdes.linear import LinearSDE

TimeSampling: TypeAlias = Literal["uniform", "stratified", "importance"]
TIME_SAMPLERS = get_args(TimeSampling)
TimesBy: TypeAlias = str | TimeLaw
"""A name in `TIME_SAMPLERS`, or a law."""


def uniform() -> TimesBy:
    """Each time by itself, uniform between the ends of the process."""
    return "uniform"


def stratified() -> TimesBy:
    """One time in each of as many equal slots as there are examples."""
    return "stratified"


def importance() -> TimesBy:
    """Uniform in the log signal-to-noise ratio, and divided out, for likelihoods."""
    return "importance"


TIMES: Mapping[str, Callable[..., Any]] = {
    "uniform": uniform,
    "stratified": stratified,
    "importance": importance,
    "lognormal": LogNormal,
    "logit_normal": LogitNormal,
    "mode": Mode,
    "cosmap": CosMap,
}
"""Samplers, whose density a loss is divided by, and laws, whose density weighs the times, by name."""


def draw_times(key: Array, sde: SDE, n: int, time_sampling: TimesBy = "uniform") -> Array:
    """Draw `n` training times, `[n]`.

    `uniform` draws them independently on [t_min, t_max] (on the levels of a discrete chain); `stratified` puts
    one in each of n equal slots, which lowers the variance of a batch mean; `importance` draws from the density
    proportional to `g^2 / sigma^2` (Song et al., arXiv 2101.09258), which is uniform in the log signal-to-noise
    ratio because `g^2 / sigma^2 = -d log SNR / dt`, so that its inverse is closed form for every process
    of one ratio; where the modes differ it is the mean over them. These are stratified too, and so are those of a law.

    Args:
        key: one key, or one per example `[n]` (then draws are independent and `stratified` is refused).
        sde: the forward process.
        n: how many.
        time_sampling: `uniform`, `stratified` or `importance`, or a law such as `time_laws.LogNormal()`.

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
    if isinstance(time_sampling, TimeLaw):
        return time_sampling.times(sde, u)
    if time_sampling != "importance":
        return sde.time_of(u)
    assert isinstance(sde, LinearSDE)  # `_check` refuses others
    first, last = sde.mean_log_snr(sde.t_min), sde.mean_log_snr(sde.t_max)
    return jnp.clip(sde.inverse_log_snr(first + u * (last - first)), sde.t_min, sde.t_max)


def time_density(sde: SDE, t: Array, time_sampling: TimesBy = "uniform") -> Array:
    """Return the density of `draw_times` relative to the uniform one, shaped like `t`; its uniform mean is one.

    Of a law it is one, since laws are not divided out.

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


def time_or_drawn(key: Array, sde: SDE, n: int, t: Array | None, time_sampling: TimesBy) -> tuple[Array, Array]:
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


def divided_out(time_sampling: TimesBy, what: str) -> str:
    """Return a sampler whose density a loss is divided by.

    Raises:
        ValueError: a law, under which a bound would be none.
    """
    if isinstance(time_sampling, TimeLaw):
        raise ValueError(
            f"{what} may not depend on how times are drawn, and so takes samplers whose density is divided out: "
            f"{', '.join(TIME_SAMPLERS)}; got the law {type(time_sampling).__name__}"
        )
    return time_sampling


def _check(sde: SDE, time_sampling: TimesBy) -> None:
    if isinstance(time_sampling, TimeLaw):
        time_sampling.check(sde)
        return
    if time_sampling not in TIME_SAMPLERS:
        raise ValueError(f"unknown time_sampling {time_sampling!r}; choose one of {', '.join(TIME_SAMPLERS)}")
    if time_sampling != "importance":
        return
    if isinstance(check_kind(sde, LinearSDE, "time_sampling='importance'"), Chain):
        raise ValueError(
            "importance-sampled times need a continuous-time process, got a chain; choose uniform or stratified"
        )
