"""Laws of training times and weightings, with the numbers that float64 gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import scorejax as sj
from scorejax import objectives
from scorejax.objectives import CosMap, LogitNormal, LogNormal, Mode
from scorejax.objectives.weighting import edm, p2, soft_min_snr, weight
from scorejax.scores.predictions import edm_coefficients

LAWS = {"lognormal": LogNormal(), "logit_normal": LogitNormal(), "mode": Mode(), "cosmap": CosMap()}
EDM, FLOW = sj.edm(), sj.flow()


def quantiles(law, sde, n=20_001):
    """Times at evenly spaced values of the distribution function."""
    with jax.enable_x64():
        u = (jnp.arange(n) + 0.5) / n
        return np.asarray(law.times(sde, u)), np.asarray(sde.sigma(law.times(sde, u)) / sde.alpha(law.times(sde, u)))


def test_the_noise_of_edm():
    """Median, mean square, mean weight of the noise error and of the data error, of `lognormal(-1.2, 1.2)`."""
    with jax.enable_x64():
        z = np.linspace(-9, 9, 200_001)
        p, r = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi), np.exp(-1.2 + 1.2 * z)
        means = [integrate.trapezoid(p * f, z) for f in (r**2, (r**2 + 0.25) / (0.5 * r) ** 2, 1 + r**2 / 0.25)]
        assert means == pytest.approx([1.616074, 200.36988, 7.464298], rel=1e-6)
        _, drawn = quantiles(LogNormal(), EDM)
        assert np.median(drawn) == pytest.approx(0.301194, rel=1e-4)
        assert np.mean(drawn**2) == pytest.approx(1.616074, rel=0.04)
        assert np.mean(1 + drawn**2 / 0.25) == pytest.approx(7.464298, rel=0.04)


def test_times_of_the_flow():
    """Variance of logit-normal and mode times, and the density of the first in the middle."""
    t, ratio = quantiles(LogitNormal(), FLOW)
    assert np.var(t) == pytest.approx(0.043379, rel=2e-3)
    assert np.mean(np.abs(t - 0.5) < 0.01) / 0.02 == pytest.approx(1.595769, rel=1e-2)
    np.testing.assert_allclose(np.std(np.log(ratio)), 1.0, rtol=2e-3)  # a log-normal ratio
    t, _ = quantiles(Mode(1.29), sj.vp())
    assert np.var(t) == pytest.approx(0.046395, rel=2e-3) and np.all(np.diff(t) < 0)
    t, _ = quantiles(CosMap(), sj.vp())
    density, edges = np.histogram(t, 20, (0, 1), density=True)
    middle = 0.5 * (edges[1:] + edges[:-1])
    np.testing.assert_allclose(density, 2 / (np.pi * (1 - 2 * middle + 2 * middle**2)), rtol=0.02)


PAIRS = [(name, sde) for name in LAWS for sde in (sj.vp(), FLOW)] + [("lognormal", sj.ve()), ("lognormal", EDM)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sde"), PAIRS, ids=lambda one: one if isinstance(one, str) else type(one).__name__)
def test_times_lie_inside_and_no_end_is_an_atom(name, sde):
    u = jnp.concatenate([jnp.linspace(0.0, 1.0, 41), jnp.array([1e-6, 1 - 1e-6])])
    t = np.asarray(LAWS[name].times(sde, u))
    assert sde.t_min <= t.min() and t.max() <= sde.t_max * (1 + 1e-6)
    inner = np.unique(t[1:40])
    assert len(inner) >= 38  # a law that was clipped would have its ends many times
    drawn = objectives.draw_times(jax.random.key(0), sde, 64, LAWS[name])
    assert drawn.shape == (64,) and len(np.unique(drawn)) > 60
    np.testing.assert_array_equal(objectives.time_density(sde, drawn, LAWS[name]), 1.0)


def test_a_law_far_from_a_process_is_cut_off_with_all_of_its_digits():
    """Of times whose ratio would be 1e-4 and less, and of a process that begins at 0.002, the nearest ones."""
    _, ratio = quantiles(LogNormal(mean=-12.0, std=0.5), EDM, 2001)
    assert ratio.min() == pytest.approx(0.002, rel=0.01) and np.std(np.log(ratio)) > 1e-2


@pytest.mark.parametrize("sampler", ["uniform", "stratified", "importance"])
def test_samplers_are_divided_out_and_laws_are_not(sampler):
    """`E f = E_u[f p / p_u]`: a loss by a sampler is the mean over times; by a law it is the mean over its density."""
    sde, score = sj.vp(), sj.analytic.gaussian(jnp.zeros(2), jnp.eye(2)).score(sj.vp())
    x0, keys = jnp.ones((4000, 2)), jax.random.key(0)

    @jax.jit
    def loss(key):
        t = objectives.draw_times(jax.random.fold_in(key, 7), sde, len(x0), sampler)
        return objectives.denoising(key, sde, score, x0, t=t, time_sampling=sampler).mean()

    t = jnp.linspace(sde.t_min, sde.t_max, 2001)
    # the predicted noise is `sigma x_t`, of `x_t = alpha + sigma noise`
    error = (sde.sigma(t) * sde.alpha(t)) ** 2 + (1 - sde.sigma(t) ** 2) ** 2
    assert loss(keys) == pytest.approx(float(jnp.mean(error)), rel=0.06)


def test_a_network_of_edm_that_says_nothing_costs_one_at_every_level():
    ratio, deviation = jnp.array([0.01, 0.3, 5.0, 50.0]), 0.7
    skip, out, _, _ = edm_coefficients(ratio, deviation)
    data_error = (1 - skip) ** 2 * deviation**2 + skip**2 * ratio**2  # of the denoiser `skip y`
    weights = edm(sj.ve(), sj.ve().inverse_log_snr(-2 * jnp.log(ratio)), sigma_data=deviation) / ratio**2
    np.testing.assert_allclose(weights * data_error, 1.0, rtol=1e-3)
    np.testing.assert_allclose(out**2 * weights, 1.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "sde", "values"),
    [
        (lambda sde, t: edm(sde, t, sigma_data=1.0), sj.vp(), (55.598, 2, 1.0183)),
        ("velocity", FLOW, (70.376, 4, 1.2890)),
        ("min_snr", sj.vp(), (1, 1, 0.09158)),
        ("soft_min_snr", sj.vp(), (0.99544, 0.8, 0.06826)),
        ("p2", sj.vp(), (0.98201, 0.5, 0.01799)),
    ],
)
def test_weights_of_the_noise_error(name, sde, values):
    """At log signal-to-noise ratios of -4, 0 and 4."""
    with jax.enable_x64():
        t = sde.inverse_log_snr(jnp.array([-4.0, 0.0, 4.0]))
        np.testing.assert_allclose(weight(name, sde, t), values, rtol=1e-3)


def test_weights_that_are_one_another():
    sde, t = sj.vp(), jnp.linspace(0.01, 1.0, 9)
    np.testing.assert_allclose(soft_min_snr(sde, t, gamma=1.0), p2(sde, t), rtol=1e-5)
    np.testing.assert_allclose(p2(sde, t), sde.sigma(t) ** 2, rtol=1e-3)
    np.testing.assert_allclose(edm(sde, t, sigma_data=1.0), 1 / sde.alpha(t) ** 2, rtol=1e-3)  # that of `v`


def test_the_least_velocity_error_of_a_gaussian():
    """`s^2 / ((1 - t)^2 s^2 + t^2)`: of mean `pi s / 2` over uniform times, 1.741264 over logit-normal ones, s = 1."""
    with jax.enable_x64():
        t = np.linspace(1e-4, 1 - 1e-4, 4001)
        for s in (1.0, 0.5):
            noise_error = (1 - t) ** 2 * s**2 / ((1 - t) ** 2 * s**2 + t**2)
            error = noise_error * np.asarray(weight("velocity", FLOW, jnp.asarray(t)))
            np.testing.assert_allclose(error, s**2 / ((1 - t) ** 2 * s**2 + t**2), rtol=1e-6)
            assert integrate.trapezoid(error, t) == pytest.approx(np.pi * s / 2, rel=1e-3)
        drawn, _ = quantiles(LogitNormal(), FLOW)
        assert np.mean(1 / ((1 - drawn) ** 2 + drawn**2)) == pytest.approx(1.741264, rel=1e-4)


def test_laws_refuse_chains_and_bounds_refuse_laws():
    with pytest.raises(ValueError, match=r"between 0 and 1, got a process from .* to 80"):
        LogitNormal().check(EDM)
    with pytest.raises(ValueError, match="between the levels, got a chain"):
        objectives.draw_times(jax.random.key(0), sj.ddpm(), 3, LogNormal())
    with pytest.raises(ValueError, match="got the law LogNormal"):
        objectives.continuous_vlb(
            jax.random.key(0), sj.vp(), lambda x, t: -x, jnp.zeros((2, 3)), time_sampling=LogNormal()
        )
