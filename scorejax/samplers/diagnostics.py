"""How far the states of several chains are worth independent draws: effective sample size and the potential scale.

Both compare the variance within chains with that of all states together, so that chains which each stay in a mode of
their own do not pass for converged (Vehtari, Gelman, Simpson, Carpenter & Buerkner, arXiv 1903.08008).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors


def effective_sample_size(states: Array) -> Array:
    """Return the number of independent draws that give the mean of each coordinate the same error, `[...]`.

        C n / (1 + 2 sum_t rho_t),   rho_t = 1 - (W - mean_c gamma_{c,t}) / var+

    with the autocovariance `gamma` of each chain at lag `t`, their mean variance `W`, and the variance `var+` of all
    states. The sum ends with the first pair of lags whose sum is negative, and pairs never grow (Geyer 1992).

    Args:
        states: `[n, C, ...]`, n states of each of C chains, at least four.

    Raises:
        ValueError: fewer states, or states that are no finite floating numbers.
    """
    states = _checked(states)
    n, chains = states.shape[:2]
    within, total = _variances(states)
    centered = states - jnp.mean(states, axis=0)
    spectrum = jnp.fft.rfft(centered, 2 * n, axis=0)
    covariance = jnp.fft.irfft(jnp.abs(spectrum) ** 2, 2 * n, axis=0)[:n] / n
    total = jnp.maximum(total, jnp.finfo(states.dtype).tiny)
    correlation = 1.0 - (within - jnp.mean(covariance, axis=1) * n / (n - 1)) / total
    correlation = correlation.at[0].set(1.0)
    pairs = correlation[: n // 2 * 2].reshape(n // 2, 2, *correlation.shape[1:]).sum(axis=1)
    positive = jnp.cumprod(pairs > 0, axis=0)
    monotone = jax.lax.cummin(pairs, axis=0) * positive
    time = jnp.maximum(2.0 * jnp.sum(monotone, axis=0) - 1.0, 1.0 / jnp.log10(jnp.maximum(n * chains, 10.0)))
    return n * chains / time


def potential_scale(states: Array) -> Array:
    """Return the split R-hat of each coordinate, `[...]`: `sqrt(var+ / W)` over the halves of all chains.

    It is 1 where all chains have one law that does not drift, and above 1.01 where they are better run for longer.

    Args:
        states: `[n, C, ...]`, n states of each of C chains, at least four.

    Raises:
        ValueError: fewer states, or states that are no finite floating numbers.
    """
    states = _checked(states)
    half = len(states) // 2
    within, total = _variances(jnp.concatenate([states[:half], states[-half:]], axis=1))
    scale = jnp.sqrt(total / jnp.maximum(within, jnp.finfo(states.dtype).tiny))
    return jnp.where(total > 0, scale, 1.0)  # a coordinate that never changes has one law


def _variances(states: Array) -> tuple[Array, Array]:
    """The mean variance within chains `W`, and `var+ = (n - 1) / n W + (variance of the means)`."""
    n, chains = states.shape[:2]
    within = jnp.mean(jnp.var(states, axis=0, ddof=1), axis=0)
    between = jnp.var(jnp.mean(states, axis=0), axis=0, ddof=1) if chains > 1 else 0.0
    return within, (n - 1) / n * within + between


def _checked(states: Array) -> Array:
    states = doors.points(states, "states")
    if states.ndim < 2 or len(states) < 4:
        raise ValueError(f"states are [n, C, ...], at least four of each chain, got shape {tuple(states.shape)}")
    return states
