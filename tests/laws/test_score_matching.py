"""Score matching of one density: closed forms of Gaussians, and the identities that tie the objectives together."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import score_matching as sm

KEY = jax.random.key(0)
MEAN, COVARIANCE = np.array([0.5, -1.0]), np.array([[1.5, 0.4], [0.4, 0.7]])
PRECISION, SHIFT = np.array([[0.9, -0.2], [-0.2, 1.6]]), np.array([0.1, 0.3])


def gauss_hermite(mean, covariance, nodes=8):
    """Points `[n, D]` and weights that integrate polynomials against a Gaussian exactly."""
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    points = np.array(list(itertools.product(z, repeat=len(mean)))) @ np.linalg.cholesky(covariance).T + mean
    weights = np.prod(np.array(list(itertools.product(w / w.sum(), repeat=len(mean)))), axis=1)
    return jnp.asarray(points, jnp.float32), weights


def linear(precision, shift):
    """The score of `N(shift, precision^-1)`."""
    return lambda x: -(x - jnp.asarray(shift, jnp.float32)) @ jnp.asarray(precision, jnp.float32)


def quadratic(precision, shift):
    """Its energy."""

    def energy(x):
        y = x - jnp.asarray(shift, jnp.float32)
        return 0.5 * jnp.sum(y @ jnp.asarray(precision, jnp.float32) * y, axis=1)

    return energy


def wild(x):
    """A score of nothing in particular, whose Jacobian is neither symmetric nor constant."""
    mixing = jnp.asarray(np.random.default_rng(3).normal(size=(x.shape[1], x.shape[1])), jnp.float32)
    return jnp.tanh(x @ mixing) - 0.3 * x


def bent(x):
    """An energy that is no quadratic, with mixed second derivatives."""
    return jnp.sum(jnp.cosh(0.5 * x), axis=1) + 0.1 * jnp.prod(jnp.sin(x), axis=1)


def every_sign(given_noise_free, dimension):
    """All sign vectors `[2^D, 1, D]`, as the draws of one probe for 2^D equal examples."""
    return jnp.asarray(list(itertools.product([-1.0, 1.0], repeat=dimension)), jnp.float32)[:, None]


def test_the_loss_of_a_gaussian_is_the_closed_form_and_lowest_at_the_truth():
    """`J = tr P^2 (S + (m - b)(m - b)^T) / 2 - tr P`; at the truth `-tr S^-1 / 2`; variance 2 on N(0, 1): -0.375."""
    x, weights = gauss_hermite(MEAN, COVARIANCE)
    difference = MEAN - SHIFT
    closed = 0.5 * np.trace(PRECISION @ PRECISION @ (COVARIANCE + np.outer(difference, difference)))
    found = weights @ np.asarray(sm.exact(None, linear(PRECISION, SHIFT), x))
    np.testing.assert_allclose(found, closed - np.trace(PRECISION), rtol=1e-5)
    truth = np.linalg.inv(COVARIANCE)
    at_truth = weights @ np.asarray(sm.exact(None, linear(truth, MEAN), x))
    np.testing.assert_allclose(at_truth, -0.5 * np.trace(truth), rtol=1e-5)
    line, of_line = gauss_hermite(np.zeros(1), np.eye(1))
    np.testing.assert_allclose(of_line @ np.asarray(sm.exact(None, lambda x: -x / 2, line)), -0.375, rtol=1e-6)
    # Half the Fisher divergence exceeds it by what no model changes.
    fisher = weights @ np.asarray(sm.explicit(None, linear(PRECISION, SHIFT), x, truth=linear(truth, MEAN)))
    np.testing.assert_allclose(fisher, found + 0.5 * np.trace(truth), rtol=1e-5)


@pytest.mark.parametrize("of_energy", [False, True])
@pytest.mark.parametrize("variance_reduced", [False, True])
def test_the_mean_over_every_sign_is_the_exact_loss(monkeypatch, variance_reduced, of_energy):
    """And with two probes the mean of two such losses; for a score and by the cheap form of an energy."""
    signs = every_sign(None, 3)
    x = jnp.tile(jnp.array([[0.7, -0.4, 1.1]], jnp.float32), (len(signs), 1))
    score = sm.of_energy(bent) if of_energy else wild
    exact = jax.jit(partial(sm.exact, None, score))(x)
    two = jnp.concatenate([signs, signs[::-1]], axis=1)
    losses = []
    for probes in (signs, two):
        monkeypatch.setattr("scorejax.scores.jacobian.draw", lambda *given, probes=probes: probes)
        losses.append(jax.jit(lambda x: sm.sliced(KEY, score, x, variance_reduced=variance_reduced))(x))
    np.testing.assert_allclose(losses[0].mean(), exact[0], rtol=2e-5)
    np.testing.assert_allclose(losses[1], 0.5 * (losses[0] + losses[0][::-1]), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda x: sm.exact(None, lambda y: score(y), x))(x), exact, rtol=1e-5)


def test_a_denoising_loss_exceeds_the_exact_one_of_noisy_data_by_the_precision_of_the_noise():
    """For any score: `D / (2 sigma^2)`; s = -tanh, sigma = 0.7, one dimension: 1.0204."""
    sigma, (z, weights) = 0.7, gauss_hermite(np.zeros(2), np.eye(2), nodes=40)
    x0, noise = z[:, :1], z[:, 1:]
    score = lambda x: -jnp.tanh(x)  # noqa: E731
    denoising = sm.explicit(None, score, x0 + sigma * noise, truth=lambda x: -noise / sigma)
    exact = sm.exact(None, score, x0 + sigma * noise)
    np.testing.assert_allclose(weights @ np.asarray(denoising - exact), 1.0204, atol=2e-4)


def test_denoising_adds_its_noise_and_compares_with_the_score_of_the_kernel(given_noise):
    noise = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    given_noise(lambda keys, shape: noise)
    x = jnp.ones((5, 3))
    one = sm.denoising(KEY, wild, x, sigma=0.5)
    np.testing.assert_allclose(one, 0.5 * jnp.sum((wild(x + 0.5 * noise) + noise / 0.5) ** 2, axis=1), rtol=1e-6)
    # Of several levels each example takes one, in the scale of the noise.
    several = sm.denoising(KEY, wild, x, sigma=(0.5, 2.0))
    choices = [0.5 * jnp.sum((s * wild(x + s * noise) + noise) ** 2, axis=1) for s in (0.5, 2.0)]
    assert bool(jnp.all(jnp.isclose(several, choices[0], rtol=1e-5) | jnp.isclose(several, choices[1], rtol=1e-5)))


def test_the_minimum_of_denoising_is_the_score_of_the_noisy_gaussian():
    """Variance 2, sigma 0.7: slope -1 / (s^2 + sigma^2), minimum `s^2 / (2 sigma^2 (s^2 + sigma^2))` = 0.81960."""
    sigma, (z, weights) = 0.7, gauss_hermite(np.zeros(2), np.eye(2))
    x, noise = 2**0.5 * z[:, :1] + sigma * z[:, 1:], z[:, 1:]

    def loss(slope):
        return jnp.asarray(weights) @ sm.explicit(None, lambda x: slope * x, x, truth=lambda x: -noise / sigma)

    best = -1 / (2 + sigma**2)
    np.testing.assert_allclose(loss(best), 0.81960, atol=1e-5)
    np.testing.assert_allclose(jax.grad(loss)(best), 0.0, atol=1e-5)


def test_the_best_denoiser_of_examples_is_the_score_of_their_kernel_density():
    """`(sum w_i x_i - x) / sigma^2` minimizes the loss of the two examples, point by point."""
    examples, sigma, x = np.array([-1.0, 2.0]), 0.8, np.linspace(-2, 3, 7)
    weights = np.exp(-((x[:, None] - examples) ** 2) / (2 * sigma**2))
    weights /= weights.sum(axis=1, keepdims=True)
    found = sj.analytic.mixture([0.5, 0.5], examples[:, None], [0.0, 0.0]).score(sj.still(sigma))(
        jnp.asarray(x, jnp.float32)[:, None], jnp.ones(len(x))
    )
    np.testing.assert_allclose(found[:, 0], (weights @ examples - x) / sigma**2, rtol=1e-4, atol=1e-5)
    tweedie = sj.tweedie(sj.still(sigma), jnp.asarray(x, jnp.float32)[:, None], jnp.ones(len(x)), found)
    np.testing.assert_allclose(tweedie[:, 0], weights @ examples, rtol=1e-4, atol=1e-5)


def test_noise_contrast_of_near_points_is_half_the_sliced_loss():
    """`E[softplus(l(x - v) - l(x)) + softplus(l(x + v) - l(x))] - 2 log 2`: for the variance 1.5: -0.2222."""
    x, weights = gauss_hermite(np.zeros(1), np.eye(1), nodes=30)
    with jax.enable_x64():
        x, v = np.asarray(x, np.float64), 0.01
        log_p = lambda x: -(x**2) / 3.0  # noqa: E731
        contrast = jax.nn.softplus(log_p(x - v) - log_p(x)) + jax.nn.softplus(log_p(x + v) - log_p(x))
        found = (weights @ np.asarray(contrast)[:, 0] - 2 * np.log(2)) / v**2
    sliced = weights @ np.asarray(sm.exact(None, lambda x: -x / 1.5, x.astype(np.float32)))
    np.testing.assert_allclose(found, -0.2222, atol=1e-4)
    np.testing.assert_allclose(found, 0.5 * sliced, atol=1e-4)


@pytest.mark.parametrize("of_energy", [False, True])
def test_finite_differences_have_the_exact_mean_where_the_score_is_linear(of_energy):
    """Even for a wide radius; the mean over the sphere in the plane is that over eight directions."""
    angles = 2 * np.pi * np.arange(8) / 8
    directions = 2**0.5 * jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], 1), jnp.float32)[:, None]
    x = jnp.tile(jnp.array([[0.3, -0.8]], jnp.float32), (8, 1))
    score = sm.of_energy(quadratic(PRECISION, SHIFT)) if of_energy else linear(PRECISION, SHIFT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scorejax.scores.jacobian.draw", lambda *given: directions)
        found = jax.jit(lambda x: sm.finite_difference(KEY, score, x, radius=3.0))(x)
    np.testing.assert_allclose(found.mean(), jax.jit(partial(sm.exact, None, score))(x)[0], rtol=1e-5)


@pytest.mark.parametrize("name", sorted(sm.MATCHINGS))
@pytest.mark.parametrize("of_energy", [False, True])
def test_every_objective_pushes_a_flat_energy_toward_the_data(name, of_energy):
    """`E = a |x|^2 / 2` at `a = 0`, data N(0, I): the loss falls as `a` grows."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(256, 3)), jnp.float32)
    objective = partial(sm.MATCHINGS[name], **({"sigma": 0.3} if name == "denoising" else {}))

    def loss(a):
        score = sm.of_energy(lambda x: 0.5 * a * jnp.sum(x**2, axis=1)) if of_energy else lambda x: -a * x
        return objective(KEY, score, x).mean()

    slope = jax.jit(jax.grad(loss))(0.0)
    assert -4.0 < slope < -2.0  # -tr J' = -3


def test_objectives_of_a_density_become_objectives_of_a_process_by_one_wrapper():
    """In Hyvarinen's scale at a single time, with each example's own noise level."""
    sde, t = sj.vp(), jnp.array([0.1, 0.5, 0.9])
    x0 = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2)), jnp.float32)
    score = lambda x, t: wild(x) * (1 + t)[:, None]  # noqa: E731
    given = {"t": t, "reduction": "half_sum", "diffuse": lambda keys, x0, t: x0}
    for weighting, factor in (("simple", sde.variance(t)), (lambda sde, t: 1 / sde.variance(t), 1.0)):
        objective = partial(sj.objectives.over_time(sm.exact), KEY, sde, score, weighting=weighting, **given)
        found = jax.jit(objective)(x0)
        np.testing.assert_allclose(found, factor * sm.exact(None, lambda x: score(x, t), x0), rtol=1e-5)
    whole = {"t": t, "weighting": "likelihood"}
    wrapped = sj.objectives.over_time(sm.denoising)(KEY, sde, score, x0, **whole)
    np.testing.assert_array_equal(wrapped, sj.objectives.denoising(KEY, sde, score, x0, **whole))


@pytest.mark.slow
def test_a_timed_energy_keeps_its_cheap_form():
    """Finite differences of `score_from_energy` ask the energy alone: no gradient of it is in the program."""
    sde, x0 = sj.vp(), jnp.ones((2, 3))
    score = sj.score_from_energy(lambda x, t: jnp.sum(jnp.sin(x), axis=1) * (1 + t))
    program = str(jax.make_jaxpr(lambda x: sj.objectives.finite_difference(KEY, sde, score, x))(x0))
    assert program.count(" cos ") == 0
    loss = lambda name, score: jax.jit(lambda x0: getattr(sj.objectives, name)(KEY, sde, score, x0))(x0)  # noqa: E731
    for name in ("sliced", "implicit"):
        np.testing.assert_allclose(loss(name, score), loss(name, lambda x, t: score(x, t)), rtol=1e-5, err_msg=name)


def test_what_does_not_fit_is_refused_in_words():
    x = jnp.ones((2, 3))
    with pytest.raises(ValueError, match="an energy must return"):
        sm.exact(None, sm.of_energy(lambda x: x), x)
    with pytest.raises(ValueError, match="radius"):
        sm.finite_difference(KEY, wild, x, radius=0.0)
    with pytest.raises(ValueError, match="positive"):
        sm.denoising(KEY, wild, x, sigma=(0.1, 0.0))
    with pytest.raises(ValueError, match="points of model space"):
        sm.sliced(KEY, wild, np.ones((2, 3), np.uint8))
    with pytest.raises(ValueError, match="one for each of x"):
        sm.explicit(None, lambda x: x[:, :1], x, truth=wild)
