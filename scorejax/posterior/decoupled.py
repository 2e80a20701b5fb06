"""DAPS and DiffPIR, for comparison: the prior and the measurement by turns at falling levels of noise.

Neither draws from the posterior, however many steps it takes: DAPS takes `x_0` given `x_t` for a Gaussian of a width
that is a setting, DiffPIR puts a mode in the place of a draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance import conjugate
from scorejax.guidance.likelihoods import Gaussian
from scorejax.guidance.operators import Operator
from scorejax.guidance.potentials import LogLikelihood
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import as_pytree, register_dataclass, static
from scorejax.posterior.given_data import gaussian_draw, is_linear, langevin_draw
from scorejax.samplers.dpm_solver import dpm_solver
from scorejax.samplers.driver import Sample, sample
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score, tweedie
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE

_AGAIN = 3  # stream of the noise that points are brought to the next level with


@register_dataclass
@dataclass(frozen=True)
class DAPS(Stepper):
    """The probability flow to the data, a draw around them given the measurement, and new noise."""

    likelihood: LogLikelihood
    width: float | Array
    inner: int = static(default=5)
    moves: int = static(default=100)

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Array:
        return jnp.full(len(x), jnp.log(0.3), x.dtype)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Array) -> Step:
        flow = dpm_solver(2)
        low = sde.mean_log_snr(jnp.asarray(sde.t_min))
        times = sde.inverse_log_snr(jnp.linspace(sde.mean_log_snr(t), low, self.inner + 1))
        times = jnp.clip(times, sde.t_min, sde.t_max)
        data = sample(keys, sde, score, x.shape, stepper=flow, times=times, x_init=x, denoise=False).x
        rho = self.width * jnp.exp(-0.5 * sde.mean_log_snr(t))
        if is_linear(self.likelihood):
            assert isinstance(self.likelihood, Gaussian)
            data = gaussian_draw(keys, self.likelihood, data, rho, exact=False)
        else:
            gain = jnp.full((), 0.1, x.dtype)
            data, memory = langevin_draw(keys, self.likelihood, data, data, rho, memory, self.moves, gain)
        noise = keys_lib.normal(keys_lib.fold_in(keys, _AGAIN), x.shape, x.dtype)
        return Step(sde.perturb(data, s, noise), memory, self.inner)


@register_dataclass
@dataclass(frozen=True)
class DiffPIR(Stepper):
    """The posterior mean, moved to the measurement by a proximal step, and noise that is in part the old one."""

    likelihood: Gaussian
    weight: float | Array
    renewed: float | Array

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        data = tweedie(sde, x, t, score(x, t))
        operator, ratio = self.likelihood.operator, jnp.exp(sde.mean_log_snr(t))
        assert isinstance(operator, Operator)  # `diffpir` refuses others
        rho = self.weight * jnp.asarray(self.likelihood.sigma_y) ** 2 * ratio
        missed = operator.clean(self.likelihood.residual(data))
        weighted = conjugate.solve(lambda v: rho * v + operator.forward(operator.adjoint(v)), missed, iterations=50)
        data = data + operator.adjoint(weighted)
        old = sde.scale(1.0 / sde.sigma(t), t, x - sde.scale(sde.alpha(t), t, data))
        noise = keys_lib.normal(keys, x.shape, x.dtype)
        mixed = jnp.sqrt(1.0 - self.renewed) * old + jnp.sqrt(self.renewed) * noise
        return Step(sde.perturb(data, s, mixed))


def daps(
    key: Array,
    sde: LinearSDE,
    score: Score,
    shape: tuple[int, ...],
    *,
    likelihood: LogLikelihood,
    times: Array | np.ndarray,
    inner: int = 5,
    width: float = 1.0,
    moves: int = 100,
    start: int | Array = 0,
) -> Sample:
    """Draw by decoupled annealing (DAPS, arXiv 2407.01521), for comparison: its draws are too wide.

    At each level: the probability flow to data in `inner` steps, a draw from `N(x_0; data, r_t^2) p(y | x_0)` with
    `r_t = width sigma_t / alpha_t`, and new noise of the next level.

    Args:
        key: a typed PRNG key, or one per sample `[B]`.
        sde: the forward process.
        score: the score of the prior.
        shape: `(B, ...)`.
        likelihood: of `guidance.likelihoods`, or any function `x0 [B, ...] -> [B]`.
        times: decreasing times `[n + 1]`.
        inner: steps of the flow at each level, one evaluation each.
        width: of the law that `x_0` given `x_t` is taken for, in units of the noise.
        moves: Metropolis-adjusted moves, where the draw has no closed form.
        start: index of the first sample under one key.

    Raises:
        ValueError: as `sample`.
    """
    check_kind(sde, LinearSDE, "posterior.daps")
    held = likelihood if isinstance(likelihood, Gaussian) else as_pytree(likelihood)
    return sample(key, sde, score, shape, stepper=DAPS(held, width, inner, moves), times=times, start=start)


def diffpir(
    key: Array,
    sde: LinearSDE,
    score: Score,
    shape: tuple[int, ...],
    *,
    likelihood: LogLikelihood,
    times: Array | np.ndarray,
    weight: float = 1.0,
    renewed: float = 1.0,
    start: int | Array = 0,
) -> Sample:
    """Draw by plug-and-play restoration (DiffPIR, arXiv 2305.08995), for comparison: its width is that of its settings.

        data = argmin |y - A x|^2 + weight sigma_y^2 (alpha_t / sigma_t)^2 |x - E[x_0 | x_t]|^2
        x_s = alpha_s data + sigma_s (sqrt(1 - renewed) noise_left + sqrt(renewed) n)

    Args:
        key: a typed PRNG key, or one per sample `[B]`.
        sde: the forward process.
        score: the score of the prior.
        shape: `(B, ...)`.
        likelihood: `likelihoods.gaussian` of an operator.
        times: decreasing times `[n + 1]`.
        weight: of the prior, lambda in the paper.
        renewed: share of the noise that is drawn anew, zeta in the paper.
        start: index of the first sample under one key.

    Raises:
        ValueError: on another likelihood, or as `sample`.
    """
    check_kind(sde, LinearSDE, "posterior.diffpir")
    if not is_linear(likelihood):
        raise ValueError("posterior.diffpir needs likelihoods.gaussian of an operator of guidance.operators")
    if doors.known(weight, renewed) and not (weight > 0 and 0.0 <= renewed <= 1.0):
        raise ValueError(
            f"posterior.diffpir needs weight > 0 and renewed in [0, 1], got weight={weight}, renewed={renewed}"
        )
    assert isinstance(likelihood, Gaussian)
    return sample(key, sde, score, shape, stepper=DiffPIR(likelihood, weight, renewed), times=times, start=start)
