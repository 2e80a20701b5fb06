import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import CORRELATED, TWO_MODES, PerMode, rotation

import scorejax as sj

SDES = {
    "vp": sj.vp(),
    "ve": sj.ve(),
    "per_mode": PerMode(rates=np.array([1.0, 6.0]), basis=sj.sdes.Rotation(rotation(2)), t_min=1e-3, t_max=1.0),
}
X = jnp.array([[0.3, -0.2], [1.5, 0.7], [-1.0, 0.4]])
T = jnp.array([0.05, 0.3, 0.8])


@pytest.mark.parametrize("name", SDES)
def test_the_score_is_the_gradient_of_the_log_density(name):
    sde = SDES[name]
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(TWO_MODES.log_prob_at(sde, x, T))))(X)
    score = jax.jit(lambda score: score(X, T))(TWO_MODES.score(sde))
    np.testing.assert_allclose(score, gradient, rtol=1e-3, atol=1e-4)  # float32 gradients


@pytest.mark.parametrize("t", [0.01, 0.2, 0.7])
def test_diffused_densities_integrate_to_one_and_posterior_means_equal_quadrature(t):
    """One dimension: `p_t(x) = int p(y) q(x | y) dy` by the trapezoid rule, which is spectrally accurate here."""
    law, sde = sj.analytic.mixture([1.0, 3.0], [[-1.0], [0.5]], [0.3, 0.2]), sj.vp()
    y = np.linspace(-4, 4, 4001)
    weights, means, stds = [0.25, 0.75], [-1.0, 0.5], [0.3, 0.2]
    data = sum(w / s * np.exp(-0.5 * ((y - m) / s) ** 2) for w, m, s in zip(weights, means, stds, strict=True))
    data /= np.sqrt(2 * np.pi)
    integral = 0.1 * t + 9.95 * t**2
    alpha, variance = np.exp(-integral / 2), -np.expm1(-integral)
    x = np.array([-1.2, -0.3, 0.1, 0.9])
    kernel = np.exp(-0.5 * (x[:, None] - alpha * y) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
    density = (kernel * data).sum(1) * (y[1] - y[0])
    posterior = (kernel * data * y).sum(1) * (y[1] - y[0]) / density
    point = jnp.asarray(x[:, None], jnp.float32)
    line = jnp.linspace(-8, 8, 4001)[:, None]
    found, means, whole = jax.jit(
        lambda t: (
            law.log_prob_at(sde, point, t),
            law.posterior_mean(sde, point, t),
            jnp.exp(law.log_prob_at(sde, line, t)).sum() * 16 / 4000,
        )
    )(t)
    np.testing.assert_allclose(np.exp(found), density, rtol=2e-5)
    np.testing.assert_allclose(means[:, 0], posterior, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole, 1.0, rtol=1e-5)


def test_the_data_density_is_the_textbook_gaussian():
    covariance = np.array([[0.5, 0.2], [0.2, 0.3]])
    offset = np.asarray(X, np.float64) - [0.3, -0.2]
    expected = -0.5 * np.einsum("bi,ij,bj->b", offset, np.linalg.inv(covariance), offset)
    expected -= 0.5 * np.log(np.linalg.det(2 * np.pi * covariance))
    np.testing.assert_allclose(CORRELATED.log_prob(X), expected, rtol=1e-5)


@pytest.mark.parametrize("law", [CORRELATED, TWO_MODES], ids=["gaussian", "mixture"])
def test_samples_have_the_stated_moments(law):
    n = 40_000
    x = np.asarray(law.sample(jax.random.key(0), n))
    covariance = np.asarray(law.covariance())
    spread = np.sqrt(np.diag(covariance) / n)
    assert np.all(np.abs(x.mean(0) - law.mean()) < 4.5 * spread)
    assert np.all(np.abs(np.cov(x.T) - covariance) < 6 * np.outer(spread, spread) ** 0.5 * covariance.max() ** 0.5)


def test_sample_weights_are_the_stated_weights():
    n = 40_000
    x = np.asarray(TWO_MODES.sample(jax.random.key(1), n))
    share = np.mean(x[:, 0] - x[:, 1] < -0.2)  # the plane halfway between two modes 14 standard deviations apart
    assert abs(share - 0.3) < 4.5 * np.sqrt(0.21 / n)


def test_a_sample_does_not_depend_on_how_many_are_drawn():
    few, many = (TWO_MODES.sample(jax.random.key(2), n) for n in (3, 10))
    np.testing.assert_array_equal(few, many[:3])


def test_diagonal_and_full_covariances_agree():
    diagonal = sj.analytic.gaussian([0.1, 0.2], [0.5, 2.0])
    full = sj.analytic.gaussian([0.1, 0.2], np.diag([0.5, 2.0]))
    stds = sj.analytic.mixture([1.0], [[0.1, 0.2]], [[0.5**0.5, 2.0**0.5]])
    sde = sj.edm()
    for law in (full, stds):
        np.testing.assert_allclose(law.score_at(sde, X, T), diagonal.score_at(sde, X, T), rtol=1e-5)
        np.testing.assert_allclose(law.log_prob_at(sde, X, T), diagonal.log_prob_at(sde, X, T), rtol=1e-5)


def test_point_masses_have_the_score_of_the_kernel():
    point = sj.analytic.gaussian([0.4, -0.1], [0.0, 0.0])
    sde = sj.vp()
    alpha, sigma = sde.alpha(T)[:, None], sde.sigma(T)[:, None]
    expected = -(X - alpha * jnp.array([0.4, -0.1])) / sigma**2
    np.testing.assert_allclose(point.score_at(sde, X, T), expected, rtol=1e-5)
