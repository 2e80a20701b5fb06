"""DAPS and DiffPIR have the widths that their settings say, not the posterior's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import posterior
from scorejax.guidance import likelihoods, operators
from scorejax.numerics.keys import normal
from scorejax.posterior.decoupled import DiffPIR

KEY, SDE = jax.random.key(0), sj.vp()
NORMAL = sj.analytic.gaussian(np.zeros(1), np.eye(1))
LIKELIHOOD = likelihoods.gaussian(operators.dense(np.eye(1), (1,)), np.ones((1, 1)), 0.5)
TIMES = sj.times.log_snr(SDE, 30)


def drawn(draw, **options):
    options = {"likelihood": LIKELIHOOD, "times": TIMES} | options
    return draw(KEY, SDE, NORMAL.score(SDE), (2000, 1), **options)


@pytest.mark.slow
def test_decoupled_annealing_is_right_where_its_guess_of_the_width_is():
    # under a prior that is nearly flat, x_0 given x_t is N(x_t / alpha, sigma_t^2 / alpha_t^2)
    sde, flat = sj.edm(0.02, 20.0), sj.analytic.gaussian([0.0], [[100.0]])
    for likelihood in (LIKELIHOOD, lambda x: -0.5 * ((1.0 - x[:, 0]) / 0.5) ** 2):
        found = posterior.daps(
            KEY, sde, flat.score(sde), (2000, 1), likelihood=likelihood, times=sj.times.log_snr(sde, 20), moves=20
        )
        np.testing.assert_allclose(jnp.mean(found.x), 1.0, atol=0.04)
        np.testing.assert_allclose(jnp.var(found.x), 0.25, rtol=0.1)
        assert int(found.nfe) == 5 * 20 + 1


@pytest.mark.parametrize("renewed", [0.0, 0.36])
def test_a_step_of_plug_and_play_goes_to_the_least_sum_of_squares_and_takes_the_noise_along(renewed):
    t, s = jnp.asarray(0.4), jnp.asarray(0.3)
    alpha, sigma = float(SDE.alpha(t)), float(SDE.sigma(t))
    x = np.array([[0.3], [-1.0]], np.float32)
    stepper, keys = DiffPIR(LIKELIHOOD, 2.0, renewed), jax.random.split(KEY, 2)
    found = jax.jit(lambda x: stepper.step(keys, SDE, NORMAL.score(SDE), x, t, s, ()).x)(x)
    rho = 2.0 * 0.5**2 * alpha**2 / sigma**2
    data = (rho * alpha * x + 1.0) / (rho + 1.0)  # argmin (1 - d)^2 + rho (d - alpha x)^2
    noise = (1 - renewed) ** 0.5 * (x - alpha * data) / sigma + renewed**0.5 * normal(keys, x.shape)
    expected = float(SDE.alpha(s)) * data + float(SDE.sigma(s)) * noise
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="of an operator of guidance"):
        drawn(posterior.diffpir, likelihood=lambda x: x[:, 0])
    with pytest.raises(ValueError, match=r"renewed in \[0, 1\], got weight=1.0, renewed=2.0"):
        drawn(posterior.diffpir, renewed=2.0)
