"""Potentials and likelihoods: they are what they say, and their scores are their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm, poisson
from worlds import CORRELATED, TWO_MODES

import scorejax as sj
from scorejax import guidance
from scorejax.guidance import likelihoods, operators

SDE = sj.vp()
A = operators.dense(np.array([[1.0, 0.5]]), (2,))
Y = np.array([[0.7]])
X = jax.random.normal(jax.random.key(0), (5, 2))
T = jnp.linspace(0.05, 0.95, 5)
SCORE = TWO_MODES.score(SDE)


def square(x):
    return x[:, :1] ** 2


KNOWN = {
    "pigdm": lambda: guidance.pigdm(SDE, SCORE, A, Y, 0.3, data_std=2.0),
    "mmps": lambda: guidance.moment_matching(SDE, SCORE, A, Y, 0.3),
    "dps": lambda: guidance.dps(SDE, SCORE, A, Y, sigma_y=0.3),
}


@pytest.mark.parametrize("kind", ["widened", "dps", "pigdm", "mmps"])
def test_the_score_of_a_potential_is_the_prior_s_and_its_gradient(kind):
    likelihood = likelihoods.gaussian(square if kind == "widened" else A, Y, 0.3)
    potential = guidance.potential(SDE, SCORE, likelihood, kind=kind, data_std=2.0)

    @jax.jit
    def both(x, t):
        gradient = jax.grad(lambda x: jnp.sum(potential(x, t)))(x) + SCORE(x, t)
        return potential.score(x, t), gradient, KNOWN[kind]()(x, t) if kind in KNOWN else gradient

    with jax.enable_x64(True):
        found, gradient, known = both(X.astype(float), T.astype(float))
    np.testing.assert_allclose(found, known, rtol=1e-4, atol=1e-4)
    if kind != "mmps":  # its covariance is taken as constant
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-4)


def test_potentials_of_a_gaussian_are_the_law_of_the_measurement_up_to_the_time():
    potential = guidance.potential(SDE, CORRELATED.score(SDE), likelihoods.gaussian(A, Y, 0.3), kind="mmps")

    @jax.jit
    def difference(x, t):
        given = CORRELATED.given(A, Y, 0.3)
        return potential(x, t) - (given.log_prob_at(SDE, x, t) - CORRELATED.log_prob_at(SDE, x, t))

    for t in (0.2, 0.7):
        found = difference(X, jnp.full(5, t))
        np.testing.assert_allclose(found, found[0] * np.ones(5), atol=1e-3)


def test_a_widened_potential_is_as_wide_as_the_data_are_uncertain():
    """Kappa times the variance `d^2 sigma^2 / (d^2 alpha^2 + sigma^2)` of normal data more than the noise."""
    likelihood = likelihoods.gaussian(square, Y, 0.3)
    potential = guidance.potential(SDE, SCORE, likelihood, kind="widened", kappa=1.7, data_std=2.0)
    found = jax.jit(lambda x, t: potential(x, t))(X, T)
    alpha, variance = np.asarray(SDE.alpha(T)), np.asarray(SDE.variance(T))
    wide = np.sqrt(0.3**2 + 1.7 * 4 * variance / (4 * alpha**2 + variance))
    data = np.asarray(jax.jit(sj.tweedie)(SDE, X, T, SCORE(X, T)))
    np.testing.assert_allclose(found, norm.logpdf(Y[0, 0], data[:, 0] ** 2, wide), rtol=1e-4, atol=1e-4)


def test_likelihoods_are_normalized_and_count_what_is_measured():
    x = np.array([[0.4, -0.3], [1.2, 0.8]], np.float32)
    mask = operators.mask(np.array([True, False]))
    found = likelihoods.gaussian(mask, np.array([[0.5, np.nan]]), 0.2)(x)
    np.testing.assert_allclose(found, norm.logpdf(0.5, x[:, 0], 0.2), rtol=1e-5)
    found = likelihoods.gaussian(square, np.array([[0.5]]), 0.2).widened(x, jnp.float32(0.3))
    np.testing.assert_allclose(found, norm.logpdf(0.5, x[:, 0] ** 2, np.sqrt(0.34)), rtol=1e-5)
    counts = likelihoods.poisson(lambda x: jnp.exp(x), np.array([[3.0, 1.0]]), gain=2.0)
    np.testing.assert_allclose(counts(x), poisson.logpmf([3, 1], 2.0 * np.exp(x)).sum(1), rtol=1e-5)
    assert (counts.widened(x, jnp.float32(1.0)) > counts(x)).all()  # flatter


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: guidance.potential(SDE, SCORE, likelihoods.gaussian(square, Y, 0.3), kind="pigdm"),
            "one of a function",
        ),
        (lambda: guidance.potential(SDE, SCORE, lambda x: x[:, 0], kind="mmps"), "a function; choose widened or dps"),
        (lambda: guidance.potential(SDE, SCORE, lambda x: x[:, 0]), "where the data are uncertain"),
        (lambda: guidance.potential(SDE, SCORE, lambda x: x[:, 0], kind="tmpd"), "one of widened, dps, pigdm, mmps"),
        (lambda: guidance.potential(SDE, SCORE, lambda x: x, kind="dps")(X, T), "one number per example"),
        (lambda: likelihoods.gaussian(A, Y, 0.0), "sigma_y must be positive, got 0.0"),
        (lambda: likelihoods.poisson(square, Y, -1.0), "gain must be positive, got -1.0"),
        (lambda: likelihoods.gaussian(A, np.zeros((3, 1)), 0.1)(X), r"got \(3, 1\)"),
        (lambda: likelihoods.poisson(square, np.zeros((1, 2)))(X), r"shape \(5, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
