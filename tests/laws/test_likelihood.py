import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from worlds import CORRELATED, PROCESSES

import scorejax as sj

X = jax.jit(CORRELATED.sample, static_argnums=1)(jax.random.key(0), 6)


def _density(law, sde, x):
    return law.log_prob_at(sde, x, sde.t_max)


def exact_prior(law, sde):
    """The exact terminal law in place of the process's Gaussian prior."""
    return Partial(_density, law, sde)


def value(sde, law, x, **options):
    options = {"divergence": "exact", "prior_logp": exact_prior(law, sde)} | options
    return sj.log_prob(jax.random.key(1), sde, law.score(sde), x, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ("vp", "edm") else pytest.mark.slow) for n in PROCESSES if n != "ddpm"]
)
def test_the_density_of_a_correlated_gaussian_is_exact_under_every_process(name):
    sde = PROCESSES[name]
    x = CORRELATED.sample(jax.random.key(0), 6)
    found = value(sde, CORRELATED, x, rtol=1e-6, atol=1e-6)
    assert np.all(found.ok)
    # the capped last beta of the discrete cosine chain, 0.999, is a corner that float32 steps cannot resolve
    tolerance = 1e-3 if name == "ddpm_cosine" else 1e-4
    np.testing.assert_allclose(found.value, CORRELATED.log_prob_at(sde, x, sde.t_min), rtol=0, atol=tolerance)
    np.testing.assert_array_equal(found.stderr, 0.0)


@pytest.mark.slow
def test_the_error_shrinks_with_the_tolerance():
    sde = sj.vp()
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(X), jnp.float64)
        truth = CORRELATED.log_prob_at(sde, x, sde.t_min)
        errors = [
            float(jnp.abs(value(sde, CORRELATED, x, rtol=tol, atol=tol).value - truth).max())
            for tol in (1e-3, 1e-5, 1e-7)
        ]
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
    assert errors[2] < 1e-5


@pytest.mark.slow
def test_without_an_exact_prior_the_error_is_the_mismatch_at_the_end():
    """VP at t = 1 keeps alpha = 0.0066 of the data: small, and known exactly."""
    sde = sj.vp()
    found = sj.log_prob(jax.random.key(1), sde, CORRELATED.score(sde), X, divergence="exact", rtol=1e-6, atol=1e-6)
    mismatch = sde.prior_logp(found.latent) - CORRELATED.log_prob_at(sde, found.latent, 1.0)
    np.testing.assert_allclose(found.value - mismatch, CORRELATED.log_prob_at(sde, X, sde.t_min), atol=2e-4)
    assert float(jnp.abs(mismatch).max()) < 0.05


@pytest.mark.slow
def test_a_mixture_in_sixteen_dimensions():
    """Five narrow modes; with beta up to 45 the prior is exact to 1e-4 nats and the rest is the solver's."""
    rng = np.random.default_rng(0)
    law = sj.analytic.mixture(np.ones(5), rng.standard_normal((5, 16)), np.full(5, 0.1))
    sde = sj.vp(beta_max=45.0)
    x = law.sample(jax.random.key(3), 32)
    found = sj.log_prob(jax.random.key(1), sde, law.score(sde), x, divergence="exact", rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.value, law.log_prob_at(sde, x, sde.t_min), atol=0.02)


@pytest.mark.slow
def test_hutchinson_probes_are_unbiased_and_their_standard_error_is_honest():
    """Coverage of value +- 2 stderr, with five probes: 88 % for Student's t with four degrees of freedom."""
    law = sj.analytic.gaussian(np.zeros(2), [[0.5, 0.45], [0.45, 0.6]])
    sde, n = sj.vp(t_min=1e-2), 600
    x = jnp.broadcast_to(law.sample(jax.random.key(2), 1), (n, 2))
    found = value(sde, law, x, divergence="rademacher", probes=5)
    truth = float(law.log_prob_at(sde, x[:1], sde.t_min)[0])
    error = np.asarray(found.value) - truth
    assert abs(error.mean()) < 4 * error.std() / n**0.5 + 1e-3
    np.testing.assert_allclose(np.sqrt(np.mean(np.asarray(found.stderr) ** 2)), error.std(), rtol=0.15)
    assert 0.83 < np.mean(np.abs(error) < 2 * np.asarray(found.stderr)) < 0.97


@pytest.mark.slow
def test_gaussian_probes_are_unbiased_too_and_one_probe_admits_no_error_bar():
    law, sde, n = sj.analytic.gaussian(np.zeros(2), [[0.5, 0.3], [0.3, 0.6]]), sj.vp(t_min=1e-2), 600
    x = jnp.broadcast_to(law.sample(jax.random.key(2), 1), (n, 2))
    found = value(sde, law, x, divergence="gaussian")
    error = np.asarray(found.value) - float(law.log_prob_at(sde, x[:1], sde.t_min)[0])
    assert abs(error.mean()) < 4 * error.std() / n**0.5 + 1e-3
    assert np.all(np.isnan(found.stderr))


@pytest.mark.slow
def test_an_examples_value_does_not_notice_its_batch_mates():
    sde, law = sj.vp(), sj.analytic.gaussian([0.0, 0.0], [0.5, 0.2])
    score = Partial(_elementwise)
    x = law.sample(jax.random.key(5), 5)
    keys = jax.random.split(jax.random.key(6), 5)
    whole = sj.log_prob(keys, sde, score, x)
    alone = sj.log_prob(keys[3:4], sde, score, 100.0 * x[3:4] / 100.0)
    wild = sj.log_prob(keys, sde, score, x.at[0].set(50.0))  # a far point needs many more steps
    np.testing.assert_allclose(wild.value[1:], whole.value[1:], rtol=1e-6)
    np.testing.assert_array_equal(wild.nfe[1:], whole.nfe[1:])
    np.testing.assert_allclose(alone.value[0], whole.value[3], rtol=1e-5)


def _elementwise(x, t):
    return -x / (0.3 + t[:, None]) - jnp.tanh(x) * (1 - t[:, None])


@pytest.mark.slow
def test_a_failed_solve_is_flagged_not_silently_wrong():
    sde = sj.vp()
    found = value(sde, CORRELATED, X, max_steps=3)
    assert not np.any(found.ok)
    assert np.all(np.isnan(found.value))

    def sometimes(x, t):
        return jnp.where(x[:, :1] > 5.0, jnp.nan, -x)

    mixed = sj.log_prob(jax.random.key(0), sde, sometimes, jnp.array([[9.0, 0.0], [0.5, 0.5]]), max_steps=64)
    np.testing.assert_array_equal(mixed.ok, [False, True])
    np.testing.assert_array_equal(np.isnan(mixed.value), [True, False])


def test_a_uniform_density_costs_exactly_eight_bits():
    """Density one on [0, 1): log p = 0, and a level 1 / 256 wide has probability 1 / 256."""
    zero = jnp.zeros(3)
    np.testing.assert_array_equal(sj.bits_per_dim(zero, 3072, 1 / 256), 8.0)
    # the published offsets: + 7 for data in [-1, 1], + 8 for data in [0, 1]
    logp = jnp.array([-1000.0, 2500.0])
    nats = -np.asarray(logp) / (3072 * np.log(2))
    np.testing.assert_allclose(sj.bits_per_dim(logp, 3072, 2 / 256), nats + 7, rtol=1e-6)
    np.testing.assert_allclose(sj.bits_per_dim(logp, 3072, 1 / 256), nats + 8, rtol=1e-6)
    # the same density stretched to [-1, 1) has density 1 / 2 a dimension and costs the same
    np.testing.assert_allclose(sj.bits_per_dim(zero - 3072 * np.log(2.0), 3072, 2 / 256), 8.0, rtol=1e-6)


def test_dequantized_levels_are_uniform_within_their_level_and_never_leave_it():
    levels = jnp.broadcast_to(jnp.array([0, 7, 255]), (2000, 3))
    x = np.asarray(sj.likelihood.dequantize_uniform(jax.random.key(0), levels, 256))
    np.testing.assert_array_equal(np.floor(x * 256), levels)
    u = np.sort((x * 256 - np.asarray(levels)).ravel())
    assert np.abs(u - (np.arange(6000) + 0.5) / 6000).max() < 2 / 6000**0.5  # Kolmogorov, probability 7e-4
    alone = sj.likelihood.dequantize_uniform(jax.random.key(0), levels[:3], 256)
    np.testing.assert_array_equal(alone, x[:3])


@pytest.mark.slow
def test_a_loose_tolerance_does_not_misprice_narrow_data():
    """Data as narrow as a gray level: near t = 0 points hardly move while the density changes in every dimension."""
    sde = sj.vp()
    law = sj.analytic.gaussian(np.zeros(64), np.full(64, 0.003**2))
    x = law.sample(jax.random.key(5), 4)
    found = value(sde, law, x, rtol=1e-3, atol=1e-3, divergence="rademacher")
    # the trace of this score is exact with any Rademacher probe, so the rest is the solver: 0.02 nats are 0.03 bits
    np.testing.assert_allclose(found.value / 64, law.log_prob_at(sde, x, sde.t_min) / 64, rtol=0, atol=0.02)
