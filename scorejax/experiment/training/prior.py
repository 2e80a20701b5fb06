"""Whether samples can begin where the data end: how far the noisiest data are from the prior."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from absl import logging

from scorejax import data
from scorejax.experiment.assemble.data import fitting
from scorejax.runtime.errors import user_errors
from scorejax.sdes import SDE, Drifting, LinearSDE, float64
from scorejax.sdes.drifting import check_inside

MOST = 0.01
"""Nats for an example that a mismatch may cost unsaid: a hundredth of a nat is below the error of most evaluations."""
_NUMBERS = 2**24  # of examples that are looked at


def warn_of_prior(sde: SDE, space: data.Space, train: data.Dataset) -> None:
    """Warn if data, with all the noise of the process, are not of its prior: densities and samples are off then.

    Raises:
        ConfigError: the process has walls, and data lie outside of them.
    """
    if isinstance(sde, Drifting) and sde.bounds is not None and not isinstance(space, data.GrayLevels):
        with user_errors("section sde"):
            for block in data.blocks(train.examples):
                check_inside(np.asarray(space.middle(jnp.asarray(space.encode(block)))), sde.bounds)
    nats = mismatch(sde, space, train)
    if nats <= MOST:
        return
    plain = _is_plain(space)
    remedy = "set data.normalize=standard, or " if plain else ""
    logging.warning(
        "at the end of the process the data are %.4g nats an example away from the prior (%s): log-likelihoods are off "
        "by about as much, and samples too; %stake a process with more noise at its end",
        nats,
        "data.normalize=none" if plain else "although normalized",
        remedy,
    )


def mismatch(sde: SDE, space: data.Space, train: data.Dataset) -> float:
    """Return `KL(q(x_T) || prior)` in nats, of Gaussians with the mean and variance of each number of an example.

        q = N(alpha_T m, alpha_T^2 v + sigma_T^2),   prior = N(0, sigma_T^2)

    Gray levels lie in a fixed interval, for which processes are made: 0, as for a process of other modes than numbers,
    or one whose laws are no Gaussians.
    """
    if isinstance(space, data.GrayLevels) or not isinstance(sde, LinearSDE):
        return 0.0
    alpha, sigma = (float64.evaluate(function, sde, sde.t_max) for function in (LinearSDE.alpha, LinearSDE.sigma))
    if np.ndim(alpha) or np.ndim(sigma):
        return 0.0
    few = fitting(train, space, max(2, _NUMBERS // math.prod(train.shape))).reshape(-1, math.prod(train.shape))
    found = data.Statistics.of(few)
    more = (alpha / sigma) ** 2 * found.variance
    return float(0.5 * np.sum(more - np.log1p(more) + (alpha / sigma * found.mean) ** 2))


def _is_plain(space: data.Space) -> bool:
    """Whether numbers are taken as they are."""
    return space == data.Vectors() or (isinstance(space, data.Channels) and space.map == data.ChannelMap())
