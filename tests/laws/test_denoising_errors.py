"""Denoising errors: those of exact denoisers integrate to the entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax.likelihood import DenoisingErrors, denoising_errors, denoising_levels, density_of_errors

FIELD = np.fft.fftfreq(64, 1 / 64)
EIGENVALUES = 64 * (1 + FIELD**2 / 4) ** -1.0 / np.sum((1 + FIELD**2 / 4) ** -1.0)
"""Covariance of a random series around a circle, of mean 1: its entropy is .730823 nats per dimension."""


def levels(n=16):
    return jnp.linspace(jnp.log(0.002), jnp.log(80.0), n)


def test_errors_of_an_exact_denoiser_integrate_to_the_entropy():
    with jax.enable_x64():
        r2 = jnp.exp(2 * levels())
        exact = jnp.mean(EIGENVALUES[:, None] * r2 / (EIGENVALUES[:, None] + r2), axis=0)
        white = jnp.mean(((r2 / (1 + r2)) ** 2 * EIGENVALUES[:, None]) + r2 / (1 + r2) ** 2, axis=0)
        found = density_of_errors(DenoisingErrors(levels(), jnp.stack([exact, white])))
        assert found[0] == pytest.approx(-0.730823, abs=1e-4)
        # the denoiser of white noise knows nothing of the correlations, and pays for it
        assert found[1] == pytest.approx(-1.418939, abs=1e-4)


@pytest.mark.parametrize("sde", [sj.vp(), sj.ve(), sj.flow()], ids=lambda sde: type(sde).__name__)
def test_errors_of_a_score_are_those_of_its_law(sde):
    """Of a Gaussian: `var r^2 / (var + r^2)` at every level; levels reach no further than the process."""
    x = 0.5 * jax.random.normal(jax.random.key(0), (4000, 3))
    score = sj.analytic.gaussian(jnp.zeros(3), 0.25 * jnp.eye(3)).score(sde)
    at = denoising_levels(sde, 6, deviation=0.5)
    found = denoising_errors(jax.random.key(1), sde, score, x, at)
    r2 = np.exp(2 * np.asarray(at))
    np.testing.assert_allclose(found.error.mean(0), 0.25 * r2 / (0.25 + r2), rtol=0.06)
    np.testing.assert_allclose(found.noise_error, found.error / r2, rtol=1e-5)
    assert np.all(np.diff(at) > 0) and at[0] >= np.log(0.001) - 1e-5 and at[-1] <= np.log(40) + 1e-5


def test_an_error_depends_neither_on_the_other_examples_nor_on_the_other_levels():
    sde = sj.vp()
    score = sj.analytic.gaussian(jnp.zeros(3), jnp.eye(3)).score(sde)
    x, keys = jax.random.normal(jax.random.key(0), (5, 3)), jax.random.split(jax.random.key(1), 5)
    at = denoising_levels(sde, 4)
    whole = denoising_errors(keys, sde, score, x, at)
    few = denoising_errors(keys[3:], sde, score, x[3:], at[:2])
    np.testing.assert_allclose(few.error, whole.error[3:, :2], rtol=1e-5)


def test_every_level_has_noise_of_its_own():
    """Where nothing is denoised the error is that of the noise alone, and differs from level to level."""
    found = denoising_errors(
        jax.random.key(0), sj.vp(), lambda x, t: 0 * x, jnp.ones((2, 3)), jnp.array([-1.0, 0.0, 1.0])
    )
    assert np.abs(np.diff(found.noise_error, axis=1)).min() > 0.01


def test_a_process_of_many_ratios_has_no_levels():
    with pytest.raises(ValueError, match="for every mode"):
        denoising_levels(sj.blur(shape=(4, 4, 1)))
