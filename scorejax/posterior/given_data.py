"""Draws of `z` given a guess of the data and a measurement: `p(z) ~ N(z; x_0, rho^2) p(y | z)`.

It is what split Gibbs and DAPS do between two looks at the prior. No network takes part.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.guidance import conjugate
from scorejax.guidance.likelihoods import Gaussian
from scorejax.guidance.operators import Operator
from scorejax.guidance.potentials import LogLikelihood
from scorejax.numerics import keys as keys_lib
from scorejax.samplers.chains import metropolis_start, metropolis_step

_NOISE = 1  # stream of the measurement's noise; 0 is that of the data
_TARGET = 0.6


def is_linear(likelihood: LogLikelihood) -> bool:
    """Return whether a likelihood is Gaussian around a linear operator, so that draws are exact."""
    return isinstance(likelihood, Gaussian) and isinstance(likelihood.operator, Operator)


def gaussian_draw(keys: Array, likelihood: Gaussian, x0: Array, rho: Array, *, exact: bool) -> Array:
    """Draw `z ~ N(z; x_0, rho^2) N(y; A z, S)`, by a draw of both and its correction (Hoffman and Ribak 1991).

        z = z' + rho^2 A^T (rho^2 A A^T + S)^{-1} (y - y'),   z' = x_0 + rho n,   y' = A z' + S^{1/2} n'

    Args:
        keys: `[B]`.
        likelihood: of a linear operator.
        x0: `[B, ...]`.
        rho: a scalar.
        exact: `S = sigma_y^2 - rho^2 A A^T` in the place of `sigma_y^2`, so that `y` given `x_0` has its own law; then
            the system to be solved is `sigma_y^2`.
    """
    operator, sigma2 = likelihood.operator, jnp.asarray(likelihood.sigma_y) ** 2
    assert isinstance(operator, Operator)
    around = x0 + rho * keys_lib.normal(keys, x0.shape, x0.dtype)
    seen = operator.forward(around)
    noise = keys_lib.normal(keys_lib.fold_in(keys, _NOISE), seen.shape, seen.dtype)

    def product(v: Array) -> Array:
        return rho**2 * operator.forward(operator.adjoint(v))

    if exact:
        noise = conjugate.square_root(lambda v: sigma2 * v - product(v), operator.clean(noise))
        weighted = (likelihood.y - seen - noise) / sigma2
    else:
        missed = operator.clean(likelihood.y - seen - jnp.sqrt(sigma2) * noise)
        weighted = conjugate.solve(lambda v: sigma2 * v + product(v), missed, iterations=50)
    return around + rho**2 * operator.adjoint(operator.clean(jnp.broadcast_to(weighted, seen.shape)))


def langevin_draw(
    keys: Array,
    log_likelihood: LogLikelihood,
    x0: Array,
    z: Array,
    rho: Array,
    log_step: Array,
    moves: int,
    gain: Array,
) -> tuple[Array, Array]:
    """Move `z` by Metropolis-adjusted Langevin steps that keep `N(z; x_0, rho^2) p(y | z)`.

    Args:
        keys: `[B]`.
        log_likelihood: any.
        x0: `[B, ...]`.
        z: where to begin, `[B, ...]`.
        rho: a scalar.
        log_step: logarithm of the step sizes in units of `rho^2`, `[B]`.
        moves: how many.
        gain: how much the step sizes learn from the share of accepted moves.

    Returns:
        points and step sizes.
    """

    def energy(z: Array) -> Array:
        return 0.5 * jnp.sum(((z - x0) / rho).reshape(len(z), -1) ** 2, axis=1) - log_likelihood(z)

    def body(i: Array, state: tuple) -> tuple:
        at, log_step = state
        at = metropolis_step(keys_lib.fold_in(keys, i), energy, at, rho**2 * jnp.exp(log_step))
        return at, jnp.minimum(log_step + gain * (at.accepted - _TARGET), 0.0)

    at, log_step = jax.lax.fori_loop(0, moves, body, (metropolis_start(energy, z), log_step))
    return at.x, log_step


def norm_of(operator: Operator, shape: tuple[int, ...]) -> Array:
    """Return `|A|`, the largest singular value of an operator on examples of this shape."""

    def product(v: Array) -> Array:
        return operator.adjoint(operator.forward(v))

    @jax.jit
    def run(start: Array) -> Array:
        return jnp.sqrt(conjugate.largest(product, start))[0]

    return run(jax.random.normal(jax.random.key(0), (1, *shape[1:])))
