"""Likelihood weighting and importance sampling are one integral, drawn in two ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import CONTINUOUS

import scorejax as sj
from scorejax.objectives import denoising, draw_times

N = 40_000
LAW = sj.analytic.gaussian([0.5, -0.5], [0.25, 0.25])


def losses(sde, times):
    """Likelihood-weighted losses of a score that is off by a known share of the noise."""
    score = LAW.score(sde)
    x0 = LAW.sample(jax.random.key(0), N)
    return denoising(
        jax.random.key(1), sde, lambda x, t: score(x, t) - 0.3 * x / sde.variance(t)[:, None] ** 0.5, x0,
        weighting="likelihood", time_sampling=times, reduction="half_sum",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "subvp"])
def test_importance_sampling_has_the_expectation_of_uniform_times_and_less_variance(name):
    sde = CONTINUOUS[name].replace(t_min=1e-3)
    uniform, importance = (np.asarray(losses(sde, times), np.float64) for times in ("uniform", "importance"))
    error = np.hypot(uniform.std(), importance.std()) / N**0.5
    assert abs(uniform.mean() - importance.mean()) < 4 * error
    assert importance.std() < 0.7 * uniform.std()


@pytest.mark.parametrize("name", ["vp", "subvp"])
def test_importance_times_are_those_of_the_published_inverses(name):
    """`B = log1p(exp(L))` for VP and `B = 2 asinh(exp(L / 2) / 2)` for sub-VP, at `L` uniform, then the quadratic
    `B = beta_0 t + (beta_1 - beta_0) t^2 / 2` solved for t."""
    sde = CONTINUOUS[name]

    def total(t):  # int g^2 / sigma^2 up to a constant: log(e^B - 1), 2 log(2 sinh(B / 2))
        b = 0.1 * t + 9.95 * t**2
        return np.log(np.expm1(b)) if name == "vp" else 2 * np.log(2 * np.sinh(b / 2))

    first, last = total(np.float64(sde.t_min)), total(np.float64(sde.t_max))
    level = first + (np.arange(1000) + float(jax.random.uniform(jax.random.key(0))) * 1000 % 1) / 1000 * (last - first)
    b = np.log1p(np.exp(level)) if name == "vp" else 2 * np.arcsinh(0.5 * np.exp(0.5 * level))
    expected = 2 * b / (0.1 + np.sqrt(0.1**2 + 2 * 19.9 * b))
    drawn = jnp.sort(draw_times(jax.random.key(0), sde, 1000, "importance"))
    np.testing.assert_allclose(drawn, expected, rtol=2e-3)
