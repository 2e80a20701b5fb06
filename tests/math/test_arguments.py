"""Wrong arguments are refused with a message that says what was wrong and what the choices are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import objectives, samplers
from scorejax.samplers import sample
from scorejax.scores.predictions import convert

SDE, KEY = sj.vp(), jax.random.key(0)
TIMES = jnp.array([1.0, 0.5, 0.1])
X = jnp.ones((2, 3))


def score(x, t):
    return -x


def draw(**options):
    options = {"stepper": samplers.ancestral(), "times": TIMES} | options
    return sample(options.pop("key", KEY), SDE, score, options.pop("shape", (2, 3)), **options)


class Uneven(sj.LinearSDE):
    """The signal decays per mode, the noise is one number: shapes that would broadcast wrongly."""

    def log_alpha(self, t):
        return -t[..., None] * jnp.ones(3)

    def variance(self, t):
        return t

    def inverse_log_snr(self, log_snr):
        return log_snr


REFUSED = {
    "betas in the wrong order": (lambda: sj.vp(20.0, 0.1), "beta_min"),
    "negative betas": (lambda: sj.subvp(-1.0, 2.0), "beta_min"),
    "times in the wrong order": (lambda: sj.vp(t_min=0.5, t_max=0.1), "t_min"),
    "a flow to its pole": (lambda: sj.flow(t_max=1.0), "t_max < 1.0"),
    "a cosine to its pole": (lambda: sj.cosine(t_max=1.0), "t_max < 1.0"),
    "a cosine without offset": (lambda: sj.cosine(0.0), "offset"),
    "sigmas in the wrong order": (lambda: sj.ve(50.0, 0.01), "sigma_min"),
    "zero sigma": (lambda: sj.edm(0.0, 80.0), "sigma_min"),
    "one SMLD level": (lambda: sj.smld(n=1), "n >= 2"),
    "a linear chain too short": (lambda: sj.ddpm("linear", 10), "every beta must lie in"),
    "no levels": (lambda: sj.ddpm("linear", 0), "at least 1"),
    "an unknown schedule": (lambda: sj.ddpm("square"), "linear, cosine, quad, vpsde"),
    "betas outside": (lambda: sj.ddpm([0.1, 1.5]), "every beta must lie in"),
    "coefficients of different shapes": (lambda: Uneven(t_min=0.1, t_max=1.0).diffusion_squared(0.5), "broadcast both"),
    "no steps": (lambda: sj.times.uniform(SDE, 0), "at least one step"),
    "a grid outside": (lambda: sj.times.karras(SDE, 5, t_min=1e-7), "outside"),
    "an increasing grid": (lambda: draw(times=TIMES[::-1]), "decrease strictly"),
    "a repeated time": (lambda: draw(times=jnp.array([1.0, 0.5, 0.5])), r"times\[1\]=0.5"),
    "a single time": (lambda: draw(times=jnp.array([1.0])), "at least two"),
    "a wrong start": (lambda: draw(x_init=jnp.ones((2, 4))), r"\(2, 3\), got \(2, 4\)"),
    "a shape that is a number": (lambda: draw(shape=4), r"shape of samples is \(B, \.\.\.\), .* got 4"),
    "a shape without examples": (lambda: draw(shape=np.array([0, 3])), r"at least 1.* got array"),
    "a shape of fractions": (lambda: draw(shape=(2.0, 3)), r"whole numbers .* got \(2\.0, 3\)"),
    "too few keys": (lambda: draw(key=jax.random.split(KEY, 3)), "3 keys for 2 examples"),
    "a raw key": (lambda: draw(key=jax.random.PRNGKey(0)), "jax.random.key"),
    "an unknown flow method": (lambda: samplers.probability_flow("rk5"), "euler, heun, rk4"),
    "an unknown variance": (lambda: samplers.ancestral("large"), "posterior, forward"),
    "an unknown norm": (lambda: samplers.langevin(0.1, norm="max"), "sample, batch, dimension"),
    "no signal-to-noise ratio": (lambda: samplers.langevin(0.0), "snr > 0"),
    "no corrector steps": (lambda: samplers.ald(0.1, 0), "steps >= 1"),
    "a negative tolerance": (lambda: samplers.adaptive_probability_flow(-1e-3), "positive"),
    "an unknown prediction": (lambda: sj.make_score(SDE, score, {}, "speed"), "noise, data, score, v, velocity, edm"),
    "an unknown conversion": (lambda: convert(SDE, X, 0.5, X, "noise", "epsilon"), "noise, data, score, v"),
    "an unknown weighting": (lambda: objectives.denoising(KEY, SDE, score, X, weighting="p3"), "likelihood"),
    "an unknown reduction": (lambda: objectives.denoising(KEY, SDE, score, X, reduction="max"), "half_sum"),
    "an unknown time sampling": (lambda: objectives.draw_times(KEY, SDE, 3, "sobol"), "stratified"),
    "importance on a chain": (lambda: objectives.draw_times(KEY, sj.ddpm(), 3, "importance"), "continuous-time"),
    "strata without a batch": (
        lambda: objectives.draw_times(jax.random.split(KEY, 3), SDE, 3, "stratified"),
        "one key",
    ),
    "an unknown divergence": (
        lambda: sj.log_prob(KEY, SDE, score, X, divergence="trace"),
        "exact, rademacher, gaussian",
    ),
    "no probes": (lambda: sj.log_prob(KEY, SDE, score, X, probes=0), "at least one probe"),
    "no dimensions": (lambda: sj.bits_per_dim(jnp.zeros(2), 0, 1 / 256), "dims >= 1"),
    "no bin": (lambda: sj.bits_per_dim(jnp.zeros(2), 3, 0.0), "bin_width > 0"),
    "two shapes to interpolate": (lambda: sj.interpolate(X, X[:1], 3), "one shape"),
    "one point to interpolate": (lambda: sj.interpolate(X, X, 1), "n >= 2"),
    "negative weights": (lambda: sj.analytic.mixture([1, -1], [[0.0], [1.0]], [1, 1]), "positive"),
    "no spread": (lambda: sj.analytic.mixture([1], [[0.0]]), "exactly one of"),
    "stds for covariances": (lambda: sj.analytic.mixture([1], [[0.0, 0.0]], np.eye(2)[None]), "stds"),
    "wrong means": (lambda: sj.analytic.mixture([1, 1], [[0.0, 0.0]], [1, 1]), "means"),
    "an indefinite covariance": (lambda: sj.analytic.gaussian([0, 0], [[1.0, 2.0], [2.0, 1.0]]), "negative eigenvalue"),
    "a lopsided covariance": (lambda: sj.analytic.gaussian([0, 0], [[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refuses(what):
    call, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
@pytest.mark.parametrize("grid", [sj.times.uniform, sj.times.quadratic, sj.times.log_snr, sj.times.karras])
@pytest.mark.parametrize(
    "sde", [sj.vp(), sj.edm(), sj.flow(), sj.cosine(), sj.ddpm(), sj.smld()], ids=lambda s: type(s).__name__
)
def test_time_grids_fall_strictly_between_their_exact_ends(grid, sde):
    for n in (1, 2, 50):
        times = np.asarray(grid(sde, n))
        assert times.shape == (n + 1,)
        assert np.all(np.diff(times) < 0)
        np.testing.assert_array_equal(times[[0, -1]], np.float32([sde.t_max, sde.t_min]))


def test_time_grids_are_even_in_the_quantity_they_name():
    def spacing(values):
        steps = np.diff(np.asarray(values, np.float64))
        return steps / steps.mean()

    with jax.enable_x64(True):
        np.testing.assert_allclose(spacing(sj.times.uniform(SDE, 9)), 1, rtol=1e-9)
        np.testing.assert_allclose(spacing(np.sqrt(sj.times.quadratic(SDE, 9))), 1, rtol=1e-9)
        np.testing.assert_allclose(spacing(SDE.log_snr(sj.times.log_snr(SDE, 9))), 1, rtol=1e-6)
        ratio = np.exp(-0.5 * np.asarray(SDE.log_snr(sj.times.karras(SDE, 9))))
        np.testing.assert_allclose(spacing(ratio ** (1 / 7)), 1, rtol=1e-6)
        # EDM's own table: (80^(1/7) + i / 17 (0.002^(1/7) - 80^(1/7)))^7
        i = np.arange(18) / 17
        sigmas = (80 ** (1 / 7) + i * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
        np.testing.assert_allclose(sj.times.karras(sj.edm(), 17), sigmas, rtol=1e-9)
