"""The reverse steps of the first diffusion model (Sohl-Dickstein et al. 2015), which perturb the forward ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import scorejax as sj
from scorejax import likelihood, reverse
from scorejax.numerics.trees import PyTree
from scorejax.reverse.variance import AroundForward

LEVELS = 12
SDE = sj.ddpm("vpsde", n=LEVELS)
TIMES = np.arange(LEVELS, 0, -1) / LEVELS
ALPHA, SIGMA2 = (np.asarray(jax.jit(c)(TIMES), np.float64) for c in (SDE.alpha, SDE.variance))
BETA = np.append(1 - (ALPHA[:-1] / ALPHA[1:]) ** 2, SIGMA2[-1])  # of the step below each time, and of the first


def constant(value: PyTree, x, t):
    return jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape)


def model(shift, value, **options):
    """The chain and the score of a network that puts out two constants."""
    head = AroundForward(Partial(constant, value), **options)
    score = sj.make_score(SDE, lambda p, x, label: constant(p, x, label), shift, "mean_shift")
    return score, reverse.chain(SDE, TIMES, variance=head)


@pytest.mark.parametrize(("shift", "value", "scale"), [(0.0, 0.0, 1.0), (0.3, -0.7, 1.0), (-0.2, 2.0, 0.25)])
def test_mean_and_variance_of_a_step_are_those_of_the_paper(shift, value, scale):
    """`mean = sqrt(1 - beta) x + sqrt(beta) shift`, `variance = sigmoid(scale value + logit(beta))`."""
    score, chain = model(shift, value, scale=scale)
    x = jnp.linspace(-2.0, 2.0, 5)[:, None]
    for i in (0, 4, LEVELS - 2):
        mean, variance = chain.predict(SDE, score, x, chain.step(i))
        beta = BETA[i]
        np.testing.assert_allclose(mean, np.sqrt(1 - beta) * x + np.sqrt(beta) * shift, atol=2e-5)
        odds = beta / (1 - beta) * np.exp(scale * value)
        np.testing.assert_allclose(variance, np.full(x.shape, odds / (1 + odds)), rtol=1e-5)


def test_a_network_that_puts_out_nothing_is_a_standard_normal_law_whose_bound_is_tight(given_noise):
    """Then every reverse step is the forward one, and the bound is the likelihood itself.

    Each term is a polynomial of second degree in the noise of each coordinate: its mean is that over noise of 1 and -1.
    """
    with jax.enable_x64(True):
        score, chain = model(0.0, 0.0)
        x0 = np.array([[0.3, -1.2], [2.0, 0.1], [0.0, -0.4]])
        sign = jnp.array([1.0, -1.0]).repeat(3)[:, None]
        given_noise(lambda keys, shape: jnp.broadcast_to(sign, shape))
        total = likelihood.elbo(jax.random.key(0), SDE, score, jnp.tile(x0, (2, 1)), chain).total
        bits = -np.sum(jax.scipy.stats.norm.logpdf(x0), axis=1) / (2 * np.log(2))
        np.testing.assert_allclose(total.reshape(2, 3).mean(0), bits, rtol=1e-5)
