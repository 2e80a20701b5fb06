"""Scores of posteriors `p_t(x | y)` for a measurement `y = A x_0 + sigma_y n`.

All approximate `p_t(y | x_t)` by `N(y; A x0, sigma_y^2 + A S A^T)` around the posterior mean `x0 = E[x_0 | x_t]` and
differ in the covariance `S` of `x_0` given `x_t` they assume. With `J = d x0 / d x_t`, the score gains

    J^T A^T (sigma_y^2 + A S A^T)^{-1} (y - A x0)

One evaluation of the network serves the prior and the residual; its derivatives are products, no matrix is formed.
A trained network has errors, which `J` divides by `alpha`: put `clipped` around the result where data are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.guidance import conjugate
from scorejax.guidance.likelihoods import cleaned, residual
from scorejax.guidance.operators import Operator
from scorejax.numerics import doors
from scorejax.numerics.trees import as_pytree, register_dataclass, static
from scorejax.scores.predictions import Score, as_score, tweedie
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE


def dps(
    sde: LinearSDE,
    score: Score,
    operator: Operator | Callable[[Array], Array],
    y: Array,
    *,
    sigma_y: float | Array | None = None,
    zeta: float | Array | None = None,
    steps: int = 1000,
) -> Score:
    """Return the score of diffusion posterior sampling (arXiv 2209.14687): the covariance of `x_0` taken as 0.

        with sigma_y:   score + J^T A^T r / sigma_y^2,                          r = y - A x0
        with zeta:      score - zeta n / (g^2 t_max) grad_x |r|,                n = steps

    The first is the likelihood as the paper derives it. It counts the measurement again at every time: for data
    `N(0, 1)` and `A = 1` the probability-flow ODE ends at variance `exp(-1 / sigma_y^2)` instead of
    `sigma_y^2 / (1 + sigma_y^2)`; `moment_matching` has the right one. The second is the algorithm as the paper runs
    it, a kick `-zeta grad |r|` after each of `steps` ancestral steps, written as a drift, so that its strength
    depends neither on the sampler's own number of steps nor on other samples.

    Args:
        sde: the forward process.
        score: the score of the prior.
        operator: an operator, or any function of a batch of `x_0`, linear or not.
        y: the measurement, in the units of the data, `[B, ...]` or `[1, ...]`.
        sigma_y: standard deviation of its noise, in the units of the data.
        zeta: the paper's step size (1 for most of its tasks, its code 0.3 to 1).
        steps: the number of sampler steps that `zeta` was chosen for.

    Raises:
        ValueError: unless exactly one of `sigma_y` (positive) and `zeta` is given; when evaluated, if `y` does not
            have the shape of a measurement.
    """
    check_kind(sde, LinearSDE, "dps")
    if (sigma_y is None) == (zeta is None):
        raise ValueError("dps: give exactly one of sigma_y (the noise of y) and zeta (the paper's step size)")
    if isinstance(sigma_y, Real) and not sigma_y > 0:
        raise ValueError(f"dps: sigma_y must be positive, got {sigma_y}; for exact measurements use pigdm or zeta")
    if isinstance(operator, Operator):
        forward, y = Partial(_forward, operator), cleaned(operator, y)
    else:
        forward, y = as_pytree(operator), doors.points(y, "y")
    return Partial(_dps, sde, as_score(score), forward, y, sigma_y, zeta, steps)


def pigdm(
    sde: LinearSDE,
    score: Score,
    operator: Operator,
    y: Array,
    sigma_y: float | Array,
    *,
    data_std: float | Array = 1.0,
    iterations: int = 50,
    tolerance: float = 1e-5,
) -> Score:
    """Return the pseudoinverse-guided score (PiGDM, Song et al., ICLR 2023), with or without noise.

        score + J^T A^T (sigma_y^2 + r^2 A A^T)^{-1} (y - A x0),   r^2 = sigma_t^2 / (alpha_t^2 + sigma_t^2)

    `r^2` is the variance of `x_0` given `x_t` for data `N(0, 1)`, for which alone the result is exact; with
    `data_std = d` it is `d^2 sigma_t^2 / (d^2 alpha_t^2 + sigma_t^2)`. The system does not hold the network, so its
    solution by conjugate gradients is cheap.

    Args:
        sde: the forward process.
        score: the score of the prior.
        operator: the measurement `A`.
        y: the measurement, in the units of the data, `[B, ...]` or `[1, ...]`.
        sigma_y: standard deviation of its noise, in the units of the data; 0 for an exact measurement.
        data_std: standard deviation of the data.
        iterations: most conjugate-gradient iterations.
        tolerance: relative residual at which an example's solution stops.

    Raises:
        ValueError: if `sigma_y < 0`; when evaluated, if `y` does not have the shape of a measurement.
    """
    check_kind(sde, LinearSDE, "pigdm")
    _check_noise("pigdm", sigma_y)
    solver = Solver(iterations, tolerance)
    return Partial(_pigdm, solver, sde, as_score(score), operator, cleaned(operator, y), sigma_y, data_std)


def moment_matching(
    sde: LinearSDE,
    score: Score,
    operator: Operator,
    y: Array,
    sigma_y: float | Array,
    *,
    iterations: int = 20,
    tolerance: float = 1e-5,
) -> Score:
    """Return the posterior score with the true covariance of `x_0` given `x_t` (MMPS, arXiv 2405.13712).

        score + J^T A^T (sigma_y^2 + A C A^T)^{-1} (y - A x0),   C = Cov[x_0 | x_t] = (sigma_t^2 / alpha_t) J^T

    (Tweedie's second-order formula.) Exact at every time where the law of `x_0` given `x_t` is Gaussian, for one
    Gaussian above all. Products with `C` are vector-Jacobian products of the network, one per iteration.

    Args:
        sde: the forward process.
        score: the score of the prior.
        operator: the measurement `A`.
        y: the measurement, in the units of the data, `[B, ...]` or `[1, ...]`.
        sigma_y: standard deviation of its noise, in the units of the data; 0 for an exact measurement.
        iterations: most conjugate-gradient iterations; a few suffice for images.
        tolerance: relative residual at which an example's solution stops.

    Raises:
        ValueError: if `sigma_y < 0`; when evaluated, if `y` does not have the shape of a measurement.
    """
    check_kind(sde, LinearSDE, "moment_matching")
    _check_noise("moment_matching", sigma_y)
    solver = Solver(iterations, tolerance)
    return Partial(_moment_matching, solver, sde, as_score(score), operator, cleaned(operator, y), sigma_y)


@register_dataclass
@dataclass(frozen=True)
class Solver:
    """How exactly the linear system of every example is solved."""

    iterations: int = static()
    tolerance: float = static()

    def __call__(self, matvec: conjugate.Linear, b: Array) -> Array:
        return conjugate.solve(matvec, b, iterations=self.iterations, tolerance=self.tolerance)


def _dps(
    sde: LinearSDE, score: Score, forward: Callable[[Array], Array], y: Array, sigma_y: Array | None,
    zeta: Array | None, steps: Array, x: Array, t: Array,
) -> Array:  # fmt: skip
    data, pull, value = denoised(sde, score, x, t)
    prediction, transpose = jax.vjp(forward, data)
    missed = residual(y, prediction)
    if zeta is None:
        return value + pull(transpose(missed / jnp.asarray(sigma_y) ** 2)[0])[0]
    squares = jnp.sum(missed**2, axis=tuple(range(1, missed.ndim)), keepdims=True)
    # a plain norm has no derivative at zero
    unit = jnp.where(squares > 0.0, missed / jnp.sqrt(jnp.where(squares > 0.0, squares, 1.0)), 0.0)
    kick = zeta * pull(transpose(unit)[0])[0]
    return value + sde.scale(steps / (sde.t_max * sde.diffusion_squared(t)), t, kick)


def _pigdm(
    solver: Solver, sde: LinearSDE, score: Score, operator: Operator, y: Array, sigma_y: Array, data_std: Array,
    x: Array, t: Array,
) -> Array:  # fmt: skip
    data, pull, value = denoised(sde, score, x, t)
    prior, variance = jnp.asarray(data_std) ** 2, sde.variance(t)
    spread = prior * variance / (prior * sde.alpha(t) ** 2 + variance)

    def matvec(v: Array) -> Array:
        return sigma_y**2 * v + operator.forward(sde.scale(spread, t, operator.adjoint(v)))

    weighted = solver(matvec, residual(y, operator.forward(data)))
    return value + pull(operator.adjoint(weighted))[0]


def _moment_matching(
    solver: Solver, sde: LinearSDE, score: Score, operator: Operator, y: Array, sigma_y: Array, x: Array, t: Array
) -> Array:
    data, pull, value = denoised(sde, score, x, t)
    ratio = sde.variance(t) / sde.alpha(t)

    def matvec(v: Array) -> Array:
        covariance = sde.scale(ratio, t, pull(operator.adjoint(v))[0])
        return sigma_y**2 * v + operator.forward(covariance)

    weighted = solver(matvec, residual(y, operator.forward(data)))
    return value + pull(operator.adjoint(weighted))[0]


def denoised(sde: LinearSDE, score: Score, x: Array, t: Array) -> tuple[Array, Callable[[Array], tuple[Array]], Array]:
    """Return the posterior mean, the products with its transposed Jacobian, and the score: one evaluation."""

    def denoise(x: Array) -> tuple[Array, Array]:
        value = score(x, t)
        return tweedie(sde, x, t, value), value

    return jax.vjp(denoise, x, has_aux=True)


def _forward(operator: Operator, x: Array) -> Array:
    return operator.forward(x)


def _check_noise(name: str, sigma_y: float | Array) -> None:
    if isinstance(sigma_y, Real) and not sigma_y >= 0:
        raise ValueError(f"{name}: sigma_y must not be negative, got {sigma_y}")
