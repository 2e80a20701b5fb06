"""DDIM: marginals, its two ends (DPM-Solver of order 1, ancestral sampling), and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import LINE, quantiles, run
from worlds import PROCESSES, interior

import scorejax as sj
from scorejax import samplers
from scorejax.samplers.ddim import ddim_coefficients, ddim_variance


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def step(stepper, sde, score, x, t, s, keys=None):
    return stepper.step(keys, sde, lambda x, t: score(x, jnp.broadcast_to(t, x.shape[:1])), x, t, s, ())


@pytest.mark.parametrize("sde", PROCESSES.values(), ids=PROCESSES)
def test_every_eta_keeps_the_marginals(sde):
    """`x_s = c_t x_t + c_0 x_0 + noise` has the mean `alpha_s x_0` and the variance `sigma_s^2`."""
    s, t = (jnp.asarray(u) for u in np.asarray(interior(sde))[[1, 4]])
    for eta in (0.0, 0.4, 1.0):
        variance = ddim_variance(sde, s, t, eta)
        c_t, c_0 = ddim_coefficients(sde, s, t, variance)
        np.testing.assert_allclose(c_t * sde.alpha(t) + c_0, sde.alpha(s), rtol=1e-11)
        np.testing.assert_allclose(c_t**2 * sde.variance(t) + variance, sde.variance(s), rtol=1e-11)
    np.testing.assert_allclose((c_t, c_0, variance), sde.posterior(s, t), rtol=1e-9)  # eta = 1


def test_coefficients_of_short_steps_keep_their_digits_in_float32():
    sde, t = sj.vp(), 0.5
    exact = [ddim_coefficients(sde, t - 1e-3, t, jnp.zeros(()))[1], sde.posterior(t - 1e-3, t)[1]]
    with jax.enable_x64(False):
        zero = ddim_coefficients(sde, t - 1e-3, t, jnp.zeros(()))[1]
        one = ddim_coefficients(sde, t - 1e-3, t, ddim_variance(sde, t - 1e-3, t, 1.0))[1]
    np.testing.assert_allclose([zero, one], exact, rtol=2e-4)


@pytest.mark.parametrize(
    "sde", [sj.vp(), *(pytest.param(s, marks=pytest.mark.slow) for s in (sj.ve(), sj.ddpm()))], ids=["vp", "ve", "ddpm"]
)
def test_ddim_is_dpm_solver_of_order_one_and_eulers_method(sde):
    t, s = (jnp.asarray(u) for u in np.asarray(interior(sde))[[4, 2]])
    x, score = quantiles(sde, t), LINE.score(sde)
    expected = step(samplers.ddim(), sde, score, x, t, s).x
    for other in (samplers.dpm_solver(1), samplers.dpm_solver(1, prediction="noise"), samplers.euler()):
        found = run(other, sde, score, x, jnp.stack([t, s]), compiled=False)
        np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_ddim_with_all_the_noise_is_ancestral_sampling():
    sde, x = sj.subvp(), quantiles(sj.subvp(), 0.6)
    keys = jax.random.split(jax.random.key(0), len(x))
    t, s = jnp.asarray(0.6), jnp.asarray(0.4)
    ddim, ancestral = (step(m, sde, LINE.score(sde), x, t, s, keys) for m in (samplers.ddim(1.0), samplers.ancestral()))
    np.testing.assert_allclose(ddim.x, ancestral.x, rtol=1e-10)


@pytest.mark.parametrize(
    ("levels", "expected"), [(5, 0.05066219), pytest.param(20, 0.18528304, marks=pytest.mark.slow)]
)
def test_the_variance_of_gaussian_data_is_a_product_of_cosines(levels, expected):
    """`Var(x_0) = s^2 prod cos^2(theta_k - theta_{k-1})`, `theta = atan2(sigma, alpha s)`, from the exact law."""
    sde, s2 = sj.ddpm(), 0.25
    times = sj.times.even(sde, levels - 1)
    angle = np.append(np.arctan2(sde.sigma(times), sde.alpha(times) * s2**0.5), 0.0)
    np.testing.assert_allclose(s2 * np.prod(np.cos(np.diff(angle)) ** 2), expected, rtol=1e-6)
    score = sj.analytic.gaussian([0.0], [s2]).score(sde)
    x = jnp.sqrt(sde.alpha(1.0) ** 2 * s2 + sde.variance(jnp.asarray(1.0))) * jnp.ones((1, 1))
    found = sj.sample(
        jax.random.key(0), sde, score, (1, 1), stepper=samplers.ddim(), times=times, x_init=x, denoise=True
    )
    np.testing.assert_allclose(found.x**2, expected, rtol=1e-6)
    assert int(found.nfe) == levels


def test_clipped_data_bring_their_own_noise_or_keep_the_networks():
    sde, t, s = sj.vp(), jnp.asarray(0.6), jnp.asarray(0.3)
    x, score = jnp.array([[3.0], [0.1]]), lambda x, t: -0.5 * x
    plain, rederived, kept = (
        step(m, sde, score, x, t, s).x
        for m in (samplers.ddim(), samplers.ddim(clip=1.0), samplers.ddim(clip=1.0, rederive_noise=False))
    )
    data = np.asarray((x - 0.5 * sde.variance(t) * x) / sde.alpha(t))
    assert data[0] > 1 > data[1]
    np.testing.assert_allclose((rederived[1], kept[1]), (plain[1], plain[1]), rtol=1e-12)
    noise = {"network": 0.5 * sde.sigma(t) * x[0], "clipped": (x[0] - sde.alpha(t)) / sde.sigma(t)}
    np.testing.assert_allclose(kept[0], sde.alpha(s) + sde.sigma(s) * noise["network"], rtol=1e-10)
    np.testing.assert_allclose(rederived[0], sde.alpha(s) + sde.sigma(s) * noise["clipped"], rtol=1e-10)
