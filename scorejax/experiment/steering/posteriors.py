"""Methods that draw images from a posterior whose law is corrected; their keyword parameters are their settings."""

from __future__ import annotations

from typing import Any

from scorejax.experiment.steering.guidance import About
from scorejax.experiment.steering.posterior_tasks import ByMoves, ByParticles, BySweeps
from scorejax.guidance.operators import Operator
from scorejax.guidance.potentials import Kind
from scorejax.numerics.ranges import Count, Positive, Share
from scorejax.posterior.given_data import norm_of
from scorejax.runtime.errors import ConfigError


def smc(
    about: About,
    operator: Operator,
    *,
    sigma_y: float,
    measured: bool,
    particles: Count = 16,
    potential: Kind = "pigdm",
    data_std: Positive = 1.0,
    resample: Share = 0.5,
    clip: bool = True,
) -> ByParticles:
    """Twisted sequential Monte Carlo: weights and resampling make draws of the posterior out of guided ones.

    Args:
        about: what is steered.
        operator: what measures.
        sigma_y: noise of the measurement.
        measured: whether images are measurements.
        particles: of each image, of which one is drawn.
        potential: what guides them.
        data_std: standard deviation of the data.
        resample: share of effective particles below which they are drawn anew.
        clip: hold predicted data in the range of images.
    """
    own = _guided(about, "smc", operator, sigma_y, measured, potential, data_std, clip)
    return ByParticles(particles=particles, resample=resample, **own)


def gibbs(
    about: About,
    operator: Operator,
    *,
    sigma_y: float,
    measured: bool,
    sweeps: Count = 10,
    steps: Count = 20,
    potential: Kind = "pigdm",
    data_std: Positive = 1.0,
    clip: bool = True,
) -> BySweeps:
    """Split Gibbs with the exact kernel, from a guided draw.

    Args:
        about: what is steered.
        operator: what measures.
        sigma_y: noise of the measurement.
        measured: whether images are measurements.
        sweeps: draws of the prior and of the likelihood by turns.
        steps: of the reverse SDE in each sweep.
        potential: what guides the first draw.
        data_std: standard deviation of the data.
        clip: hold predicted data in the range of images.
    """
    own = _guided(about, "gibbs", operator, sigma_y, measured, potential, data_std, clip)
    rho = sigma_y / norm_of(operator, (1, *about.form.shape))
    return BySweeps(rho=rho, sweeps=sweeps, steps=steps, **own)


def mala(
    about: About,
    operator: Operator,
    *,
    sigma_y: float,
    measured: bool,
    moves: Count = 50,
    noise: Positive = 0.01,
    potential: Kind = "pigdm",
    data_std: Positive = 1.0,
    clip: bool = True,
) -> ByMoves:
    """A guided draw, then Metropolis-adjusted Langevin moves towards the posterior.

    Args:
        about: what is steered.
        operator: what measures.
        sigma_y: noise of the measurement.
        measured: whether images are measurements.
        moves: at the end, of 5 evaluations each.
        noise: noise-to-signal ratio of the level that moves are made at.
        potential: what guides the first draw.
        data_std: standard deviation of the data.
        clip: hold predicted data in the range of images.
    """
    own = _guided(about, "mala", operator, sigma_y, measured, potential, data_std, clip)
    return ByMoves(moves=moves, noise=noise, **own)


def _guided(
    about: About,
    method: str,
    operator: Operator,
    sigma_y: float,
    measured: bool,
    kind: Kind,
    data_std: float,
    clip: bool,
) -> dict[str, Any]:
    """Return the fields that methods with a corrected law share."""
    if not sigma_y > 0:
        raise ConfigError(
            f"guidance.method = {method!r} draws from a posterior, which needs a measurement with noise, but "
            f"guidance.sigma_y = {sigma_y}: set guidance.sigma_y, such as 0.05, or choose ddrm or pigdm"
        )
    bounds = about.space.interval if clip else None
    return {"operator": operator, "sigma_y": sigma_y, "measured": measured, "kind": kind, "data_std": data_std,
            "bounds": bounds}  # fmt: skip
