import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_chains import LINEAR, TWO_HUMPS, exact_gamma, gamma_of, levels
from worlds import PerMode

import scorejax as sj
from scorejax.numerics import keys as keys_lib
from scorejax.reverse.gamma import Gamma, estimate

TIMES = np.array([0.001, 0.01, 0.1, 0.3, 0.5, 1.0])


@pytest.fixture(scope="module")
def squares():
    x0 = TWO_HUMPS.sample(jax.random.key(0), 20_000)
    return np.asarray(jax.jit(estimate)(jax.random.key(1), LINEAR, TWO_HUMPS.score(LINEAR), x0, TIMES))


def test_the_exact_statistic_is_the_known_one():
    exact = exact_gamma(LINEAR, TWO_HUMPS, np.array([1, 10, 100, 500, 1000]) / 1000)
    published = [0.00463820, 0.07762497, 0.44788940, 0.97986037, 0.99999027]
    np.testing.assert_allclose(exact.mean_square, published, atol=6e-9)
    at_300 = exact_gamma(LINEAR, TWO_HUMPS, np.array([0.3]))
    np.testing.assert_allclose(at_300.mean_square / at_300.variance, 1.43111, rtol=4e-6)


def test_the_residual_is_the_variance_of_the_data_given_x():
    """1 - E eps^2 = (alpha^2 / sigma^2) E Var(x_0 | x_t); for normal data that is a closed form."""
    law = sj.analytic.gaussian([0.2], [0.25])
    alpha2 = np.asarray(LINEAR.alpha(TIMES) ** 2, np.float64)
    expected = 0.25 * alpha2 / (0.25 * alpha2 + 1.0 - alpha2)
    found = exact_gamma(LINEAR, law, TIMES).residual(LINEAR, TIMES[1:])
    np.testing.assert_allclose(found, expected[1:], rtol=2e-5)


def test_the_residual_is_the_variance_of_the_data_given_x_for_a_mixture_too():
    """By quadrature over `x_0` and `x_t`: nothing of the score is used."""
    means, stds, weights = (np.array(v) for v in ([-0.6, 0.4], [0.1, 0.2], [0.3, 0.7]))
    x0, t = np.arange(-1.6, 1.6, 0.004), np.array([0.05, 0.2, 0.5])
    prior = np.sum(weights * np.exp(-0.5 * ((x0[:, None] - means) / stds) ** 2) / stds, axis=1)
    expected = []
    for alpha, noise in zip(np.asarray(LINEAR.alpha(t), float), np.asarray(LINEAR.variance(t), float), strict=True):
        x = np.arange(-1.6 * alpha - 6 * noise**0.5, 1.6 * alpha + 6 * noise**0.5, noise**0.5 / 20)
        joint = prior * np.exp(-0.5 * (x[:, None] - alpha * x0) ** 2 / noise)
        total = joint.sum(1)
        variance = joint @ x0**2 - (joint @ x0) ** 2 / total
        expected.append(alpha**2 / noise * variance.sum() / total.sum())
    found = exact_gamma(LINEAR, TWO_HUMPS, t).residual(LINEAR, t)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_standard_error_for_normal_data_is_that_of_a_chi_square():
    """The noise found is normal, so that the mean of D M squares has the relative error sqrt(2 / (D M))."""
    law, m, d = sj.analytic.gaussian(np.zeros(4), np.full(4, 0.25)), 20_000, 4
    x0 = law.sample(jax.random.key(0), m)
    gamma = Gamma.of(LINEAR, TIMES, jax.jit(estimate)(jax.random.key(1), LINEAR, law.score(LINEAR), x0, TIMES))
    np.testing.assert_allclose(gamma.stderr / gamma.mean_square, np.sqrt(2 / (d * m)), rtol=0.05)


def test_the_estimate_is_right_within_its_own_standard_error(squares):
    found, exact = Gamma.of(LINEAR, TIMES, squares), exact_gamma(LINEAR, TWO_HUMPS, TIMES)
    deviations = (found.mean_square - exact.mean_square) / found.stderr
    assert np.all(np.abs(deviations) < 4.5)
    assert np.all(found.stderr < 0.02)


def test_an_example_is_estimated_alike_in_any_batch():
    x0, score = TWO_HUMPS.sample(jax.random.key(0), 6), TWO_HUMPS.score(LINEAR)
    keys = keys_lib.per_example(jax.random.key(3), 6)
    whole = jax.jit(estimate)(keys, LINEAR, score, x0, TIMES)
    np.testing.assert_allclose(whole[4:], jax.jit(estimate)(keys[4:], LINEAR, score, x0[4:], TIMES), rtol=1e-5)


def test_merged_parts_are_the_whole(squares):
    whole = Gamma.of(LINEAR, TIMES, squares)
    parts = [Gamma.of(LINEAR, TIMES, part) for part in (squares[:17], squares[17:9000], squares[9000:])]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    assert merged.count == len(squares)
    for name in ("mean_square", "scatter", "stderr"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-10)


def test_a_file_holds_everything_and_knows_its_process(tmp_path, squares):
    gamma = Gamma.of(LINEAR, TIMES[::-1], squares[:, ::-1])
    gamma.save(tmp_path / "gamma.npz")
    read = Gamma.load(tmp_path / "gamma.npz", LINEAR)
    for name, value in vars(gamma).items():
        np.testing.assert_array_equal(getattr(read, name), value)
    for other in (sj.ddpm("cosine"), sj.ddpm("vpsde"), sj.vp()):
        with pytest.raises(ValueError, match="another schedule"):
            Gamma.load(tmp_path / "gamma.npz", other)
    np.savez(tmp_path / "other.npz", times=TIMES)
    with pytest.raises(ValueError, match=r"no file of Gamma.save: it lacks count, .*mean_square"):
        Gamma.load(tmp_path / "other.npz")


def test_between_its_times_the_statistic_is_linear():
    chain_times = levels(LINEAR)
    gamma = gamma_of(LINEAR, chain_times, np.linspace(0.1, 0.9, 1000))
    np.testing.assert_allclose(
        gamma.residual(LINEAR, jnp.array([0.2, 0.7])), 1 - (0.1 + 0.8 * np.array([199, 699]) / 999)
    )
    np.testing.assert_allclose(gamma.residual(LINEAR, [0.2005]), 1 - (0.1 + 0.8 * 199.5 / 999))


def test_a_statistic_refuses_what_does_not_fit(squares):
    gamma = Gamma.of(LINEAR, TIMES[1:], squares[:, 1:])
    refused = {
        "estimated for times": lambda: gamma.residual(LINEAR, [0.005]),
        "cannot merge": lambda: gamma.merge(Gamma.of(LINEAR, TIMES, squares)),
        "need times": lambda: Gamma.of(LINEAR, TIMES, squares[:, 1:]),
        "modes": lambda: Gamma.of(PerMode(rates=np.ones(2), t_min=0.01, t_max=1.0), TIMES, squares),
    }
    for message, call in refused.items():
        with pytest.raises(ValueError, match=message):
            call()
