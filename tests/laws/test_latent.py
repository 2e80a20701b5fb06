"""Bounds of the likelihood of latent-variable models, on the one whose likelihood is known: probabilistic PCA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from scorejax import likelihood

RNG = np.random.default_rng(0)
LOADINGS = np.linalg.qr(RNG.standard_normal((3, 2)))[0] * [1.5, 0.7]  # orthogonal: the posterior has independent parts
VARIANCE = 0.3  # x = W z + N(0, 0.3 I)
POINTS = RNG.standard_normal((2, 3))
ROWS = 200  # of each point, a repetition each
X = jnp.asarray(np.repeat(POINTS, ROWS, axis=0), jnp.float32)
COVARIANCE = LOADINGS @ LOADINGS.T + VARIANCE * np.eye(3)
TRUTH = -0.5 * np.einsum("bi,ij,bj->b", POINTS, np.linalg.inv(COVARIANCE), POINTS)
TRUTH -= 0.5 * np.linalg.slogdet(2 * np.pi * COVARIANCE)[1]
STD = (1 + np.sum(LOADINGS**2, 0) / VARIANCE) ** -0.5
POSTERIOR = (
    jnp.asarray(X @ LOADINGS / VARIANCE * STD**2, jnp.float32),
    jnp.broadcast_to(STD.astype(np.float32), (400, 2)),
)
PRIOR = jnp.zeros((400, 2)), jnp.ones((400, 2))


def likelihood_of(x, z):
    return jnp.sum(jax.scipy.stats.norm.logpdf(x, z @ jnp.asarray(LOADINGS, z.dtype).T, VARIANCE**0.5), -1)


def bound(proposal, **effort):
    found = likelihood.evidence(jax.random.key(1), Partial(likelihood_of), X, proposal, leapfrog_steps=3, **effort)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64).reshape(2, ROWS), found)


def test_at_the_true_posterior_every_weight_is_the_likelihood():
    """One weight is the ELBO, which is then exact, and so are more."""
    for samples in (1, 4):
        found = bound(POSTERIOR, samples=samples)
        np.testing.assert_allclose(found.value, np.broadcast_to(TRUTH[:, None], (2, ROWS)), atol=1e-4)
        np.testing.assert_allclose(found.effective, samples, rtol=1e-4)


@pytest.mark.parametrize("temperatures", [0, pytest.param(30, marks=pytest.mark.slow)])
def test_from_the_prior_the_mean_weight_is_the_likelihood_and_the_bound_grows_with_the_samples(temperatures):
    """By importance sampling and by annealed importance sampling, which is much closer."""
    below = []
    for samples in (4, 17):  # the second in two chunks
        found = bound(PRIOR, samples=samples, temperatures=temperatures)
        weights = np.exp(found.value - TRUTH[:, None])
        error = np.std(weights, axis=1) / ROWS**0.5
        assert np.all(np.abs(np.mean(weights, axis=1) - 1) < 4 * error)
        below.append(np.mean(TRUTH[:, None] - found.value, axis=1))
    assert np.all(below[0] > below[1]) and np.all(below[1] > -0.01)
    assert np.all(below[0] < 0.4) == (temperatures > 0)
    if temperatures:
        assert 0.4 < found.accepted.mean() < 0.95
        claimed = np.sqrt(np.mean(found.stderr**2, axis=1))
        np.testing.assert_allclose(claimed, np.std(found.value, axis=1), rtol=0.4)


@pytest.mark.parametrize(
    ("proposal", "effort", "message"),
    [
        ((PRIOR[0], PRIOR[1][:, :1]), {}, r"\[B, L\] both, got shapes \(400, 2\) and \(400, 1\)"),
        (PRIOR, {"samples": 0}, "samples=0"),
        (PRIOR, {"temperatures": -1}, "temperatures at least 0, got .*temperatures=-1"),
    ],
)
def test_what_does_not_fit_is_refused(proposal, effort, message):
    with pytest.raises(ValueError, match=message):
        likelihood.evidence(jax.random.key(0), Partial(likelihood_of), X, proposal, **effort)


def test_a_likelihood_must_be_one_number_for_each_latent_vector():
    with pytest.raises(ValueError, match=r"one number for each latent vector \(5,\), got \(5, 2\)"):
        likelihood.evidence(jax.random.key(0), lambda x, z: z, X, PRIOR, samples=5)
