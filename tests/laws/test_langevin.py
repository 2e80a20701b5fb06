"""Correctors mix towards `p_t` without moving it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax.samplers import ald, langevin

SDE = sj.edm(0.01, 10.0)
T = 0.5


def stationary_variance(corrector, dim, steps, n=2000):
    """Mean square per dimension after many corrector steps at one time, from the exact `p_t = N(0, 1 + t^2)`."""
    law = sj.analytic.gaussian(np.zeros(dim), np.ones(dim))
    score = law.score(SDE)

    def body(x, key):
        keys = jax.random.split(key, n)
        step = corrector.step(keys, SDE, lambda x, t: score(x, jnp.full(n, t)), x, jnp.float32(T), jnp.float32(T), ())
        return step.x, jnp.mean(step.x**2)

    start = jax.random.normal(jax.random.key(0), (n, dim)) * np.sqrt(1 + T**2)
    squares = jax.jit(lambda x, k: jax.lax.scan(body, x, k)[1])(start, jax.random.split(jax.random.key(1), steps))
    return float(jnp.mean(squares[steps // 2 :])) / (1 + T**2)


@pytest.mark.slow
@pytest.mark.parametrize(("corrector", "tolerance"), [(langevin(0.1, norm="batch"), 0.02), (ald(0.3), 0.02)])
def test_a_corrector_leaves_the_law_nearly_invariant(corrector, tolerance):
    # bias of a Langevin step e: variance 1 / (1 - e / 2), e = 2 snr^2 = 0.02 relative to the variance; noise 0.5 %
    assert abs(stationary_variance(corrector, 4, 300) - 1.0) < tolerance


def test_the_bias_of_a_corrector_is_half_its_step():
    """For `N(0, V)` a step `e` has the stationary variance `V / (1 - e / (2 V))`, here with `e = 2 snr^2 t^2`."""
    snr = 1.2
    step = 2 * (snr * T) ** 2 / (1 + T**2)  # relative to the variance: 0.58
    expected = 1 / (1 - step / 2)
    np.testing.assert_allclose(stationary_variance(ald(snr), 4, 200), expected, rtol=0.02)  # 200 000 mixed draws


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "excess"), [("sample", 4.0), ("dimension", 2.0)])
def test_steps_by_a_samples_own_norm_widen_the_law_by_the_stated_amount(norm, excess):
    """A step size proportional to `1 / |score|^2` has the stationary density `p |x|^2`: variance `1 + 2 / D`, and as
    much again where the length of the same noise enters. It does not vanish with snr; it is nothing for images."""
    for dim, tolerance in ((16, 0.03), (256, 0.03)):
        found = stationary_variance(langevin(0.1, norm=norm), dim, 400, max(8000 // dim, 60))  # as many numbers
        # the step's own bias 0.01 comes on top; higher orders in 1 / D
        np.testing.assert_allclose(found, 1 + excess / dim + 0.01, atol=tolerance)


@pytest.mark.parametrize("norm", ["sample", "dimension"])
def test_a_samples_own_norm_is_refused_where_its_step_has_no_mean(norm):
    with pytest.raises(ValueError, match="infinite mean below"):
        stationary_variance(langevin(0.1, norm=norm), 2, 2, 4)


@pytest.mark.slow
def test_correctors_mix_from_a_wrong_start():
    law = sj.analytic.gaussian([0.5, -1.0], [[0.6, 0.3], [0.3, 0.4]])
    score, n = law.score(SDE), 4000

    def body(x, key):
        step = ald(0.3).step(jax.random.split(key, n), SDE, lambda x, t: score(x, jnp.full(n, t)), x, T, T, ())
        return step.x, None

    x = jax.jit(lambda x, k: jax.lax.scan(body, x, k)[0])(
        jnp.full((n, 2), 3.0), jax.random.split(jax.random.key(2), 500)
    )
    expected = np.array([[0.6, 0.3], [0.3, 0.4]]) + T**2 * np.eye(2)
    np.testing.assert_allclose(x.mean(0), [0.5, -1.0], atol=5 * np.sqrt(0.85 / n))
    np.testing.assert_allclose(np.cov(np.asarray(x).T), expected, atol=0.1)  # 5 x 0.019, and the step's bias 0.02


def test_more_steps_are_repeated_single_steps_with_noise_of_their_own():
    keys, x = jax.random.split(jax.random.key(0), 3), jnp.ones((3, 5))
    score = lambda x, t: -x  # noqa: E731
    two = ald(0.2, 2).step(keys, SDE, score, x, T, T, ()).x
    size = 2 * (0.2 * T) ** 2
    for i in range(2):
        noise = jax.vmap(lambda k, i=i: jax.random.normal(jax.random.fold_in(k, i), (5,)))(keys)
        x = x - size * x + np.sqrt(2 * size) * noise
    np.testing.assert_allclose(two, x, rtol=1e-5)
