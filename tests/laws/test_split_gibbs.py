"""Split Gibbs sampling on Gaussian data, where its law is known, and draws given a guess of the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import posterior
from scorejax.guidance import conjugate, likelihoods, operators
from scorejax.posterior.given_data import gaussian_draw, norm_of

KEY, SDE = jax.random.key(0), sj.vp()
NORMAL = sj.analytic.gaussian(np.zeros(1), np.eye(1))
ONE = operators.dense(np.eye(1), (1,))
EYE = likelihoods.gaussian(ONE, np.zeros((1, 1)), 0.5)


def chain(**options):
    options = {"likelihood": EYE, "rho": 0.5, "sweeps": 2} | options
    return posterior.split_gibbs(KEY, SDE, NORMAL.score(SDE), (options.pop("size", 3000), 1), **options)


@pytest.mark.slow
def test_the_plain_kernel_has_the_law_of_wider_noise_and_the_exact_one_the_posterior():
    # prior N(0, 1), sigma_y = rho = 1/2: the posterior's variance is 0.2, that with doubled noise 1/3
    exact = chain(exact=True, trace=True)
    np.testing.assert_allclose(jnp.var(exact.x), 0.2, rtol=0.06)
    assert int(exact.nfe) == 3 * 21
    # rho = sigma_y: z = y, and the draws of two sweeps are independent
    assert abs(np.corrcoef(exact.trace[0, :, 0], exact.trace[1, :, 0])[0, 1]) < 0.06
    np.testing.assert_allclose(jnp.var(chain(sweeps=6).x), 1 / 3, rtol=0.06)


@pytest.mark.slow
def test_any_likelihood_has_the_law_of_the_closed_form():
    found = chain(likelihood=lambda x: -0.5 * (x[:, 0] / 0.5) ** 2, sweeps=6)
    np.testing.assert_allclose(jnp.var(found.x), 1 / 3, rtol=0.08)


@pytest.mark.parametrize("exact", [False, True])
def test_draws_given_the_data_have_the_moments_of_the_product(exact):
    matrix, rho, sigma = np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]), 0.3, 0.5
    likelihood = likelihoods.gaussian(operators.dense(matrix, (3,)), np.array([[0.6, -0.2]]), sigma)
    x0 = np.array([0.2, -0.1, 0.4])
    keys = jax.random.split(KEY, 20_000)
    z = jax.jit(lambda x0: gaussian_draw(keys, likelihood, x0, jnp.asarray(rho), exact=exact))(
        jnp.broadcast_to(jnp.asarray(x0, jnp.float32), (20_000, 3))
    )
    noise = sigma**2 * np.eye(2) - (rho**2 * matrix @ matrix.T if exact else 0.0)
    gain = rho**2 * matrix.T @ np.linalg.inv(rho**2 * matrix @ matrix.T + noise)
    np.testing.assert_allclose(z.mean(axis=0), x0 + gain @ (np.array([0.6, -0.2]) - matrix @ x0), atol=0.01)
    np.testing.assert_allclose(np.cov(z.T), rho**2 * (np.eye(3) - gain @ matrix), atol=0.003)


def test_square_roots_and_norms_are_those_of_the_matrix():
    matrix = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    square = jnp.asarray(matrix @ matrix.T)  # of rank 4
    b = jax.random.normal(KEY, (3, 6))
    found = jax.jit(lambda b: conjugate.square_root(lambda v: v @ square, b))(b)
    values, vectors = np.linalg.eigh(square)
    root = vectors @ np.diag(np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    np.testing.assert_allclose(found, b @ root, atol=1e-3)
    norm = norm_of(operators.dense(matrix.T, (6,)), (1, 6))
    np.testing.assert_allclose(norm, np.linalg.norm(matrix, 2), rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"exact": True, "rho": 0.6}, r"rho <= sigma_y / \|A\| = 0.5, got 0.6"),
        ({"exact": True, "likelihood": lambda x: x[:, 0]}, "exact=True needs likelihoods.gaussian"),
        ({"rho": 0.0}, "rho must be positive"),
        ({"rho": 1e-6}, "noise-to-signal ratio of the process, between"),
        ({"sweeps": 0}, "at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        chain(**options)
