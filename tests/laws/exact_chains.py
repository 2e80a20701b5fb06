"""What the tests of reverse chains share: expectations over a law by quadrature, so that nothing is left to chance."""

import jax
import jax.numpy as jnp
import numpy as np

import scorejax as sj
from scorejax.reverse.gamma import Gamma

LINEAR = sj.ddpm()
TWO_HUMPS = sj.analytic.mixture([0.3, 0.7], [[-0.6], [0.4]], [0.1, 0.2])


def nodes(law, n=24):
    """Points `x0 [Q, 1]`, noise `[Q, 1]` and weights `[Q]` that integrate over a mixture on the line and its noise."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    w = w / w.sum()
    means, stds = np.asarray(law.means)[:, 0], np.sqrt(np.asarray(law.variances)[:, 0])
    x0, noise = np.broadcast_arrays((means[:, None] + stds[:, None] * x)[:, :, None], x)
    weights = np.exp(law.log_weights)[:, None, None] * w[:, None] * w
    return x0.reshape(-1, 1), noise.reshape(-1, 1), weights.ravel()


def exact_gamma(sde, law, times):
    """The exact statistic of a law on the line: `sigma^2 E score^2` by the trapezoid rule."""
    with jax.enable_x64(True):
        x = np.arange(-7.0, 7.0, 0.01)[:, None]

        @jax.jit
        def square(t):
            density = jnp.exp(law.log_prob_at(sde, x, t))
            return sde.variance(t) * jnp.sum(density * law.score_at(sde, x, t)[:, 0] ** 2) * 0.01

        return Gamma.of(sde, times, np.asarray(jax.lax.map(square, jnp.asarray(times)))[None])


def gamma_of(sde, times, mean_square):
    """The statistic with given values."""
    return Gamma.of(sde, times, np.broadcast_to(mean_square, np.shape(times))[None])


def levels(chain):
    return np.arange(1, chain.levels + 1) / chain.levels


def normal_data(variance):
    """Data `N(0, variance)` on the line, its exact score, and four points that integrate every square exactly."""
    law, sd = sj.analytic.gaussian([0.0], [variance]), np.sqrt(variance)
    return law, np.array([[sd], [sd], [-sd], [-sd]]), np.array([[1.0], [-1.0], [1.0], [-1.0]])
