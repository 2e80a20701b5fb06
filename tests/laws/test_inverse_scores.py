"""Posterior scores of linear inverse problems against closed forms, at every time and after sampling."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conditionals import given, parts
from worlds import CORRELATED, PROCESSES, TWO_MODES, PerMode, interior, rotation

import scorejax as sj
from scorejax.guidance import operators

# Bits and tight tolerances: rounding differs between optimized programs and others.
pytestmark = pytest.mark.optimized

MATRIX = np.array([[1.0, 0.5]])
Y = np.array([0.7])
A = operators.dense(MATRIX, (2,))
KEY = jax.random.key(0)
X = jax.random.normal(KEY, (7, 2))
DETAILED = PerMode(basis=sj.sdes.basis.Rotation(rotation(2)), rates=np.array([1.0, 9.0]), t_min=1e-3, t_max=1.0)


def at_times(sde, *scores):
    """The values of several scores at points typical of a few times, in one compiled program."""
    t = jnp.asarray(interior(sde))

    @jax.jit
    def values(x, t):
        return [score(x, t) for score in scores]

    return values(sde.perturb(X, t, jax.random.normal(jax.random.fold_in(KEY, 1), X.shape)), t)


def call(score, x, t):
    return score(x, t)


def relative(found, exact):
    return float(jnp.sqrt(jnp.sum((found - exact) ** 2) / jnp.sum(exact**2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["vp", *(pytest.param(n, marks=pytest.mark.slow) for n in ("ve", "own rate for every mode"))]
)
def test_moment_matching_is_exact_for_gaussian_data(name):
    sde = PROCESSES.get(name, DETAILED)
    score = sj.guidance.moment_matching(sde, CORRELATED.score(sde), A, Y[None], 0.3)
    found, exact = at_times(sde, score, given(CORRELATED, MATRIX, Y, 0.3).score(sde))
    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=2e-4 * float(jnp.abs(exact).max()))


@pytest.mark.slow
def test_the_pseudoinverse_score_is_exact_for_standard_normal_data_alone():
    sde, normal = sj.vp(), sj.analytic.gaussian(np.zeros(2), np.eye(2))
    scores = []
    for law in (normal, CORRELATED):
        scores += [sj.guidance.pigdm(sde, law.score(sde), A, Y[None], 0.3), given(law, MATRIX, Y, 0.3).score(sde)]
    wide = sj.analytic.gaussian(np.zeros(2), 9.0 * np.eye(2))
    scores.append(sj.guidance.pigdm(sde, wide.score(sde), A, Y[None], 0.3, data_std=3.0))
    scores.append(given(wide, MATRIX, Y, 0.3).score(sde))
    found, exact, other, other_exact, scaled, scaled_exact, prior = at_times(sde, *scores, CORRELATED.score(sde))
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(scaled, scaled_exact, rtol=1e-3, atol=1e-3)
    # the likelihood's share of the score, at the worst of the times
    assert max(map(relative, other - prior, other_exact - prior)) > 0.1


def test_a_measurement_without_noise_is_allowed_and_exact_in_the_limit():
    sde, normal = sj.vp(), sj.analytic.gaussian(np.zeros(2), np.eye(2))
    scores = [f(sde, normal.score(sde), A, Y[None], 0.0) for f in (sj.guidance.pigdm, sj.guidance.moment_matching)]
    first, second, exact = at_times(sde, *scores, given(normal, MATRIX, Y, 1e-4).score(sde))
    np.testing.assert_allclose(first, exact, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(second, exact, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("sigma_y", [pytest.param(0.5, marks=pytest.mark.slow), 1.0])
def test_posterior_sampling_that_ignores_the_covariance_ends_at_its_own_closed_form(sigma_y):
    # data N(0, 1), A = 1: variance exp(-1 / sigma_y^2), mean y sqrt(2) / sigma_y Dawson(1 / (sqrt(2) sigma_y))
    sde = sj.edm(1e-3, 1000.0)
    law = sj.analytic.gaussian([0.0], [[1.0]])
    score = sj.guidance.dps(sde, law.score(sde), lambda x: x, jnp.array([[2.0]]), sigma_y=sigma_y)
    right = sj.guidance.moment_matching(
        sde, law.score(sde), operators.dense([[1.0]], (1,)), jnp.array([[2.0]]), sigma_y
    )
    for name, transform in {"dps": score, "right": right}.items():
        latent = jnp.array([[-1000.0], [1000.0]])
        low, high = np.asarray(
            sj.sample(
                KEY, sde, transform, (2, 1), stepper=sj.samplers.probability_flow("rk4"), x_init=latent,
                times=sj.times.karras(sde, 300), denoise=False,
            ).x[:, 0]
        )  # fmt: skip
        mean, variance = (low + high) / 2, ((high - low) / 2) ** 2  # the flow of a Gaussian is affine
        z = 1.0 / (math.sqrt(2.0) * sigma_y)
        dawson = math.exp(-(z**2)) * np.trapezoid(np.exp(np.linspace(0, z, 10001) ** 2), np.linspace(0, z, 10001))
        expected = {
            "dps": (2.0 * math.sqrt(2.0) / sigma_y * dawson, math.exp(-1.0 / sigma_y**2)),
            "right": (2.0 / (1.0 + sigma_y**2), sigma_y**2 / (1.0 + sigma_y**2)),
        }[name]
        np.testing.assert_allclose([mean, variance], expected, rtol=3e-3)


def test_the_papers_step_is_a_drift_of_the_published_strength_for_each_sample_alone():
    sde = sj.ddpm()
    score = CORRELATED.score(sde)

    @jax.jit
    def guided(x):
        t = jnp.full(x.shape[0], 0.4)
        return sj.guidance.dps(sde, score, A, Y[None], zeta=0.7)(x, t) - score(x, t)

    @jax.jit
    def kick(x):
        t = jnp.full(1, 0.4)
        a, v = sde.transition(0.399, 0.4)
        residual = lambda x: jnp.linalg.norm(Y - MATRIX @ sj.tweedie(sde, x, t, score(x, t))[0])  # noqa: E731
        return a / v * 0.7 * jax.grad(residual)(x)

    np.testing.assert_allclose(guided(X[:4])[:1], guided(X[:1]), rtol=1e-4)
    # the kick over one of the thousand steps is zeta grad |r|, up to the O(beta) that tells a drift from a step
    np.testing.assert_allclose(guided(X[:1]), -kick(X[:1]), rtol=0.03)


def test_the_papers_step_is_finite_where_the_measurement_is_met():
    sde, law = sj.vp(), sj.analytic.gaussian([0.0, 0.0], np.eye(2))
    score = sj.guidance.dps(sde, law.score(sde), A, jnp.zeros((1, 1)), zeta=1.0)
    np.testing.assert_array_equal(jax.jit(call)(score, jnp.zeros((1, 2)), jnp.full(1, 0.5)), 0.0)


@pytest.mark.slow
def test_the_better_the_covariance_the_better_the_score_of_a_mixture():
    law = sj.analytic.mixture([0.4, 0.6], [[-1.0, 0.5], [1.0, -0.5]], covariances=[[[0.9, 0.3], [0.3, 0.6]]] * 2)
    sde, y, sigma_y = sj.edm(0.02, 20.0), np.array([0.4]), 0.2
    exact = given(law, MATRIX, y, sigma_y).score(sde)
    prior = law.score(sde)
    scores = (
        sj.guidance.dps(sde, prior, A, y[None], sigma_y=sigma_y),
        sj.guidance.pigdm(sde, prior, A, y[None], sigma_y),
        sj.guidance.moment_matching(sde, prior, A, y[None], sigma_y),
        exact,
        prior,
    )

    @jax.jit
    def evaluate(x, t):
        return [score(x, t) for score in scores]

    x0 = given(law, MATRIX, y, sigma_y).sample(KEY, 400)
    for sigma in (0.05, 0.3, 1.0):
        t = jnp.full(400, sigma)
        x = sde.perturb(x0, t, jax.random.normal(jax.random.key(1), x0.shape))
        *values, wanted, base = evaluate(x, t)
        # the likelihood's share of the score
        dps, pigdm, moments = (relative(value - base, wanted - base) for value in values)
        assert moments < pigdm < dps, (sigma, dps, pigdm, moments)


def test_the_jacobian_of_the_posterior_mean_is_the_covariance_and_positive():
    sde = sj.vp()
    t = jnp.asarray(interior(sde))
    score = TWO_MODES.score(sde)
    x = sde.perturb(X, t, jax.random.normal(KEY, X.shape))

    def mean(x, t):
        return sj.tweedie(sde, x[None], t[None], score(x[None], t[None]))[0]

    jacobian = jax.jit(jax.vmap(jax.jacfwd(mean)))(x, t)
    covariance = np.asarray(jacobian * (sde.variance(t) / sde.alpha(t))[:, None, None])
    scale = np.abs(covariance).max((1, 2), keepdims=True)
    np.testing.assert_allclose(covariance / scale, covariance.swapaxes(1, 2) / scale, atol=1e-3)
    assert (np.linalg.eigvalsh(covariance / scale) > -1e-3).all()
    # given x_t the mixture is a mixture: a measurement of everything with noise sigma / alpha
    i = 3
    alpha, sigma = float(sde.alpha(t[i])), float(sde.sigma(t[i]))
    exact = given(TWO_MODES, np.eye(2), np.asarray(x[i]) / alpha, sigma / alpha)
    np.testing.assert_allclose(covariance[i], exact.covariance(), rtol=2e-3, atol=1e-4)
    assert len(parts(exact)[0]) == 2


@pytest.mark.slow
def test_nan_where_the_mask_measures_nothing_changes_nothing():
    sde = sj.vp()
    mask = operators.mask(np.array([True, False]))
    t = jnp.asarray(interior(sde))
    for make in (sj.guidance.pigdm, sj.guidance.moment_matching):
        scores = [make(sde, CORRELATED.score(sde), mask, jnp.array([[0.4, u]]), 0.2) for u in (0.0, jnp.nan)]
        values = [jax.jit(call)(score, X, t) for score in scores]
        np.testing.assert_array_equal(*values)
    exact = given(CORRELATED, [[1.0, 0.0]], [0.4], 0.2).score_at(sde, X, t)
    np.testing.assert_allclose(values[1], exact, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda s: sj.guidance.dps(sj.vp(), s, A, Y[None]), "exactly one of sigma_y"),
        (lambda s: sj.guidance.dps(sj.vp(), s, A, Y[None], sigma_y=0.0), "positive"),
        (lambda s: sj.guidance.pigdm(sj.vp(), s, A, Y[None], -1.0), "pigdm.*negative"),
        (lambda s: sj.guidance.moment_matching(sj.vp(), s, A, Y[None], -1.0), "moment_matching.*negative"),
        (lambda s: sj.guidance.pigdm(sj.vp(), s, A, np.zeros((1, 2)), 1.0)(X, jnp.full(7, 0.5)), r"shape \(7, 1\)"),
        (lambda s: sj.guidance.pigdm(sj.vp(), s, A, np.zeros((3, 1)), 1.0)(X, jnp.full(7, 0.5)), r"got \(3, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make(CORRELATED.score(sj.vp()))
