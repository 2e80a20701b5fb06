"""The likelihood bound where its value is known: exact scores, scores with a known error, Gaussian posteriors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from worlds import CORRELATED, PROCESSES, TWO_MODES, PerMode, rotation

import scorejax as sj
from scorejax.likelihood import bound_bits, dequantized_bits, likelihood_bound

X = jnp.array([[0.3, -0.2], [1.4, 0.5], [-1.0, -1.5]])  # the last one is not what the law draws
PER_MODE = PerMode(basis=sj.sdes.basis.Rotation(rotation(2)), rates=np.array([3.0, 9.0]), t_min=0.02, t_max=1.0)
WORLDS = {**PROCESSES, "per_mode": PER_MODE}


def _density(law, sde, x):
    return law.log_prob_at(sde, x, sde.t_max)


def bound(sde, law, x, key=1, **options):
    options = {"prior_logp": Partial(_density, law, sde), "samples": 4000, "chunk": 100} | options
    return likelihood_bound(jax.random.key(key), sde, law.score(sde), x, **options)


def noisy_cost(law, sde, x):
    """`E[-log p_{t_min}(x_{t_min}) | x]` for a Gaussian law, in closed form."""
    dim, u = x.shape[1], np.asarray(getattr(sde.basis, "matrix", np.eye(x.shape[1])), np.float64)
    alpha, variance = (
        np.broadcast_to(np.asarray(f(jnp.asarray(sde.t_min)), np.float64), dim) for f in (sde.alpha, sde.variance)
    )
    spread = u @ np.diag(alpha) @ u.T
    noise = u @ np.diag(variance) @ u.T
    total = spread @ np.asarray(law.covariance(), np.float64) @ spread + noise
    off = (np.asarray(x, np.float64) - np.asarray(law.mean(), np.float64)) @ spread
    inverse = np.linalg.inv(total)
    squares = np.einsum("bi,ij,bj->b", off, inverse, off) + np.trace(noise @ inverse)
    return 0.5 * (np.linalg.slogdet(2 * np.pi * total)[1] + squares)


@pytest.mark.parametrize(
    ("name", "form", "times"),
    [
        ("vp", "denoising", "importance"),
        ("vp", "sliced", "uniform"),
        pytest.param("edm", "denoising", "importance", marks=pytest.mark.slow),
        pytest.param("per_mode", "denoising", "uniform", marks=pytest.mark.slow),
        pytest.param("per_mode", "sliced", "uniform", marks=pytest.mark.slow),
        pytest.param("vp", "denoising", "uniform", marks=pytest.mark.slow),
        pytest.param("subvp", "sliced", "importance", marks=pytest.mark.slow),
        pytest.param("ve", "denoising", "importance", marks=pytest.mark.slow),
        pytest.param("flow", "denoising", "importance", marks=pytest.mark.slow),
        pytest.param("cosine", "denoising", "importance", marks=pytest.mark.slow),
        pytest.param("ddpm", "denoising", "importance", marks=pytest.mark.slow),
        pytest.param("ddpm_cosine", "denoising", "importance", marks=pytest.mark.slow),
        pytest.param("smld", "sliced", "uniform", marks=pytest.mark.slow),
    ],
)
def test_with_the_exact_score_the_bound_is_the_cost_of_the_noisy_data_at_every_point(name, form, times):
    """The model's reverse path is then the forward one, given any start: the gap is zero point by point."""
    sde = WORLDS[name]
    how = {"form": form, "times": times, "divergence": "gaussian", "samples": 16_000}
    found = bound(sde, CORRELATED, X, offset=False, **how)
    error = np.asarray(found.value) - noisy_cost(CORRELATED, sde, X)
    assert np.all(np.abs(error) < 4 * np.asarray(found.stderr) + 1e-3), (error, found.stderr)
    assert np.all(found.stderr < 0.5)


@pytest.mark.slow
def test_with_the_exact_score_of_a_mixture_and_the_offset_the_bound_is_the_cost_of_the_data():
    """At t_min = 1e-5 the noise is 0.001 of the data's: what it hides is a thousandth of a nat."""
    sde = sj.vp()
    found = bound(sde, TWO_MODES, X)
    error = np.asarray(found.value) + np.asarray(TWO_MODES.log_prob(X))
    assert np.all(np.abs(error) < 4 * np.asarray(found.stderr) + 1e-2), (error, found.stderr)
    # without the offset the noise of t_min has a cost of its own, small here too
    bare = bound(sde, TWO_MODES, X, offset=False)
    np.testing.assert_allclose(bare.value, found.value, atol=0.1)


@pytest.mark.parametrize("form", ["denoising", pytest.param("sliced", marks=pytest.mark.slow)])
def test_the_gap_is_half_the_integrated_squared_error_of_the_score(form):
    """A score off by a constant c makes the reverse SDE Gaussian about a mean that is off by d(t):

        d' = f d + g^2 d / v - g^2 c, d(t_max) = 0;   gap = 1/2 int g^2 |c - d / v|^2 dt,

    since the true score of the model's own law is the exact one plus d / v.
    """  # fmt: skip
    sde, shift = sj.vp(t_min=0.02), 0.8
    law, prior = sj.analytic.gaussian([0.2], [0.3]), Partial(_density, sj.analytic.gaussian([0.2], [0.3]), sde)
    t = np.linspace(sde.t_max, sde.t_min, 20_001)
    beta = 0.1 + 19.9 * t
    signal = np.exp(-(0.1 * t + 9.95 * t**2))
    v, d = 0.3 * signal + 1 - signal, np.zeros_like(t)
    for i in range(len(t) - 1):  # Heun, backwards in time
        step = t[i + 1] - t[i]
        first = (beta[i] / v[i] - 0.5 * beta[i]) * d[i] - beta[i] * shift
        guess = d[i] + step * first
        second = (beta[i + 1] / v[i + 1] - 0.5 * beta[i + 1]) * guess - beta[i + 1] * shift
        d[i + 1] = d[i] + 0.5 * step * (first + second)
    gap = 0.5 * np.trapezoid((beta * (shift - d / v) ** 2)[::-1], t[::-1])
    # E[-log N(x_eps; mean + d, v) | x]
    alpha, variance = float(sde.alpha(sde.t_min)), float(sde.variance(sde.t_min))
    x = X[:, :1]
    off = alpha * (np.asarray(x[:, 0]) - 0.2) - d[-1]
    cost = 0.5 * (np.log(2 * np.pi * v[-1]) + (off**2 + variance) / v[-1])

    exact = law.score(sde)
    found = likelihood_bound(
        jax.random.key(3), sde, lambda x, t: exact(x, t) + shift, x,
        form=form, samples=20_000, chunk=1000, offset=False, divergence="exact", prior_logp=prior,
    )  # fmt: skip
    assert gap > 0.2 and np.all(found.value - cost > 0)
    assert np.all(np.abs(found.value - cost - gap) < 4 * np.asarray(found.stderr) + 1e-3), (found.value - cost, gap)


@pytest.mark.slow
def test_the_offset_is_the_cost_of_taking_the_last_noise_away():
    """Data N(0, v): q(x | x_eps) is linear in x_eps, so everything is Gaussian and known."""
    v, sde = 0.4, sj.vp(t_min=0.1)  # the same key twice: all but the offset cancels
    law = sj.analytic.gaussian([0.0], [v])
    with_offset = bound(sde, law, X[:, :1], samples=20_000)
    without = bound(sde, law, X[:, :1], samples=20_000, offset=False)
    alpha, variance = float(sde.alpha(sde.t_min)), float(sde.variance(sde.t_min))
    total, x = alpha**2 * v + variance, np.asarray(X[:, 0], np.float64)
    # E[-log q(x | x_eps)]: Tweedie's mean is alpha v x_eps / total, its scale sigma / alpha
    gain = alpha * v / total
    squares = ((1 - gain * alpha) * x) ** 2 + gain**2 * variance
    decode = 0.5 * (np.log(2 * np.pi * variance / alpha**2) + squares * alpha**2 / variance)
    entropy = 0.5 * np.log(2 * np.pi * np.e * variance)
    np.testing.assert_allclose(with_offset.value - without.value, decode - entropy, atol=0.03)


@pytest.mark.slow
def test_the_standard_error_is_honest():
    sde, n = sj.vp(t_min=1e-3), 400
    x = jnp.broadcast_to(X[1], (n, 2))
    found = bound(sde, CORRELATED, x, samples=200, chunk=10, offset=False, prior_logp=None)
    truth = noisy_cost(CORRELATED, sde, X[1:2])[0]
    error = np.asarray(found.value) - truth
    assert abs(error.mean()) < 4 * error.std() / n**0.5 + 0.02  # 0.02: the prior is not the law at t_max
    np.testing.assert_allclose(np.sqrt(np.mean(np.asarray(found.stderr) ** 2)), error.std(), rtol=0.15)
    assert np.all(np.isnan(bound(sde, CORRELATED, X, samples=10, chunk=10).stderr))


@pytest.mark.slow
def test_its_gradient_is_minus_the_score_of_the_data():
    """So that whatever makes `x`, a dequantizer say, can be trained through the bound."""
    sde, law = sj.vp(t_min=1e-3), CORRELATED

    def cost(x):
        return jnp.sum(bound(sde, law, x, samples=10_000, chunk=1000).value)

    expected = -law.score_at(sde, X, jnp.full(3, sde.t_min))
    np.testing.assert_allclose(jax.grad(cost)(X), expected, atol=0.3)


@pytest.mark.slow
def test_an_example_with_its_own_key_and_its_own_label_does_not_notice_its_batch_mates():
    keys, labels = jax.random.split(jax.random.key(6), 5), jnp.arange(5.0)
    x = CORRELATED.sample(jax.random.key(5), 5)

    def value(part):
        score = Partial(lambda held, x, t: -x / (0.3 + t[:, None]) + held[:, None], labels[part])
        return likelihood_bound(keys[part], sj.vp(), score, x[part], samples=20, chunk=5).value

    np.testing.assert_allclose(value(jnp.arange(2, 4)), value(jnp.arange(5))[2:4], rtol=1e-5)


@pytest.mark.slow
def test_the_bound_of_dequantized_data_lies_above_their_exact_bits():
    """Grey levels in a Gaussian world: the scores are exact, so the bound costs its offset and its noise alone."""
    sde, law = sj.vp(), sj.analytic.gaussian(np.zeros(4), np.full(4, 0.2))
    levels = jnp.clip(jnp.floor((law.sample(jax.random.key(0), 64) + 1) * 8), 0, 15).astype(jnp.uint8)
    key, score = jax.random.key(1), law.score(sde)
    exact = dequantized_bits(key, sde, score, levels, 16, divergence="exact")
    upper = bound_bits(key, sde, score, levels, 16, samples=2000, chunk=100)
    gap = float(np.mean(upper.value - exact.value))
    error = float(np.sqrt(np.sum(np.square(upper.stderr)))) / 64
    assert -4 * error < gap < 4 * error + 0.01


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"form": "slice"}, ["'slice'", "denoising, sliced"]),
        ({"times": "stratified"}, ["'stratified'", "importance, uniform"]),
        ({"samples": 15}, ["samples=15", "chunk=10"]),
        ({"form": "sliced", "divergence": "hutch"}, ["'hutch'", "rademacher"]),
    ],
)
def test_a_mistake_is_told_with_the_choices(options, words):
    options = {"sde": sj.vp(), "samples": 10, "chunk": 10} | options
    with pytest.raises(ValueError) as caught:
        likelihood_bound(jax.random.key(0), score=lambda x, t: -x, x=X, **options)
    assert all(word in str(caught.value) for word in words), caught.value
