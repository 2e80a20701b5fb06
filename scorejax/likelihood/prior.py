"""The law of the latents at `sde.t_max`: the end of the forward process, or the standard normal of published code."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from scorejax.numerics import doors
from scorejax.sdes.corruption import SDE, Time, check_kind
from scorejax.sdes.linear import LinearSDE

PRIORS = ("marginal", "standard")


def named_prior(sde: SDE, prior: str) -> Callable[[Array], Array] | None:
    """Return the log density `[B]` of a prior by its name; None for the process's own, `sde.prior_logp`.

    Args:
        sde: the forward process.
        prior: `marginal`, that of the process, `N(0, sigma_T^2)` with its `sigma` at `T = sde.t_max`; or `standard`,
            `N(0, 1)`, which the code of Score-SDE takes for VP and sub-VP. Per dimension of a latent `z` the second
            gives `(log sigma_T^2 + z^2 (1 / sigma_T^2 - 1)) / (2 log 2)` bits more.

    Raises:
        ValueError: on an unknown name, or `standard` for a process that ends far from unit variance.
    """
    if prior not in PRIORS:
        raise ValueError(f"unknown prior {prior!r}; choose one of {', '.join(PRIORS)}, or give prior_logp")
    if prior == "marginal":
        return None
    end = check_kind(sde, LinearSDE, "prior='standard'").sigma(sde.t_max)
    if doors.known(end) and not np.all(np.abs(np.asarray(end) - 1.0) < 0.1):
        raise ValueError(
            f"prior='standard' is N(0, 1), and {type(sde).__name__} ends with the noise scale "
            f"{float(np.max(np.asarray(end))):.4g}; take prior='marginal'"
        )
    return Partial(_standard)


def _standard(x: Array) -> Array:
    return jnp.sum((-0.5 * (x**2 + np.log(2.0 * np.pi))).reshape(x.shape[0], -1), axis=1)


def noise_variance(sde: LinearSDE) -> Array | None:
    """Return the variance of the process's prior; None where it is another law than that of its noise."""
    return sde.variance(jnp.asarray(sde.t_max)) if sde.prior_is_noise else None


def drawn_prior_term(sde: LinearSDE, x0: Array, t: Time, noise: Array) -> Array:
    """Return `log q(x_t | x_0) - log p(x_t)` in nats, `[B]`, at a point drawn from `q`: its mean is the KL term.

    Args:
        sde: the forward process, with a prior of its own.
        x0: points of model space, `[B, ...]`.
        t: where the chain begins.
        noise: normal numbers, shaped like `x0`.
    """
    modes, variance = sde.own_modes(noise), jnp.log(sde.variance(jnp.asarray(t)))
    entropy = -0.5 * jnp.broadcast_to(modes**2 + variance + math.log(2.0 * math.pi), x0.shape)
    return jnp.sum(entropy.reshape(x0.shape[0], -1), axis=1) - sde.prior_logp(sde.perturb(x0, t, noise))
