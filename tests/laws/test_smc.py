"""Twisted sequential Monte Carlo: weights that make the posterior out of any guidance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import TWO_MODES

import scorejax as sj
from scorejax import guidance, posterior, samplers
from scorejax.guidance import likelihoods
from scorejax.posterior.particles import effective, systematic

KEY, SDE, WORLD = jax.random.key(0), sj.vp(), sj.worlds.w1()
SCORE = WORLD.law.score(SDE)
TIMES = sj.times.log_snr(SDE, 20)
Y = jnp.array([[0.2], [1.1], [0.7]])


def potential_of(y, kind="pigdm", world=WORLD):
    likelihood = likelihoods.gaussian(getattr(world, "operator", world.measure), y, world.sigma_y)
    return guidance.potential(SDE, world.law.score(SDE), likelihood, kind=kind)


def drawn(y, particles=4, times=TIMES, **options):
    options = {"potential": potential_of(y)} | options
    return posterior.smc(KEY, SDE, SCORE, (len(y), 2), particles=particles, times=times, **options)


def test_one_particle_is_a_guided_sample():
    stepper = samplers.sde_dpm_solver()
    found = drawn(Y, 1, stepper=stepper, denoise=False)
    keys = jax.vmap(jax.random.fold_in, (0, None))(sj.numerics.keys.per_example(KEY, 3), 0)
    guided = sj.sample(
        keys, SDE, potential_of(Y).score, (3, 2), stepper=stepper, times=TIMES, denoise=False
    )  # fmt: skip
    np.testing.assert_allclose(found.x[:, 0], guided.x, rtol=1e-5, atol=1e-6)
    assert int(found.nfe) == len(TIMES)


def test_without_a_potential_and_a_likelihood_all_weigh_the_same_and_the_evidence_is_one():
    found = drawn(Y, potential=None, log_likelihood=lambda x: jnp.zeros(len(x)))
    np.testing.assert_allclose(found.log_weights, -np.log(4.0), atol=1e-6)
    np.testing.assert_allclose(found.log_evidence, 0.0, atol=1e-6)
    np.testing.assert_allclose(found.ess, 1.0, atol=1e-6)
    assert found.remark() == ""


def test_a_posterior_does_not_depend_on_those_next_to_it():
    first, other = (drawn(y) for y in (Y, Y.at[0].add(1.0)))
    np.testing.assert_array_equal(first.x[1:], other.x[1:])
    np.testing.assert_array_equal(first.log_evidence[1:], other.log_evidence[1:])
    assert not np.array_equal(first.x[0], other.x[0])


@pytest.mark.slow
def test_the_evidence_is_unbiased_and_shares_of_modes_come_out():
    _, y = jax.vmap(WORLD.simulate)(jax.random.split(jax.random.key(1), 200))
    found = drawn(y, 64, sj.times.log_snr(SDE, 60))
    ratio = np.asarray(found.log_evidence - WORLD.law.measured(WORLD.operator, WORLD.sigma_y).log_prob(y))
    assert abs(np.exp(ratio).mean() - 1.0) < 0.02 + 3.0 * np.exp(ratio).std() / np.sqrt(200)
    assert 0.02 < ratio.std() < 0.1
    exact = jax.vmap(WORLD.exact)(y)
    left = np.sum(np.exp(found.log_weights) * (found.x[:, :, 0] < 0), axis=1)
    assert np.sqrt(np.mean((left - exact.shares[:, 0]) ** 2)) < 0.06  # guided samples without weights: 0.13


def test_a_potential_of_ones_own_is_the_target():
    # a prior that is tilted by exp(x_0): its components move by their variance
    tilt = posterior.smc(
        KEY, SDE, TWO_MODES.score(SDE), (10, 2), particles=500, times=TIMES, potential=lambda x, t: x[:, 0],
        stepper=samplers.sde_dpm_solver(), denoise=False,
    )  # fmt: skip
    variances = np.array([0.10, 0.09])
    weights = np.exp(TWO_MODES.log_weights + TWO_MODES.means[:, 0] + 0.5 * variances)
    mean = (weights @ (TWO_MODES.means[:, 0] + variances)) / weights.sum()
    np.testing.assert_allclose(tilt.mean()[:, 0].mean(), mean, atol=0.06)
    evidence = np.exp(tilt.log_evidence)
    assert abs(evidence.mean() - weights.sum()) < 0.1 + evidence.std()


@pytest.mark.slow
def test_following_the_prior_alone_collapses_and_says_so():
    world = sj.worlds.w2()
    _, y = world.simulate(KEY)
    likelihood = likelihoods.gaussian(world.operator, y[None], world.sigma_y)
    found = posterior.smc(
        KEY, SDE, world.law.score(SDE), (1, 16), particles=256, times=TIMES, log_likelihood=likelihood
    )
    assert float(found.ess[-1, 0]) < 0.02
    assert "1 of 1 posteriors rest on few particles" in found.remark()


def test_systematic_resampling_takes_a_particle_as_often_as_it_weighs():
    weights = np.array([0.5, 0.3, 0.15, 0.05])
    keys = jax.random.split(KEY, 2000)
    which = jax.jit(systematic)(keys, jnp.broadcast_to(jnp.log(weights)[:, None], (4, 2000)))
    counts = np.stack([(np.asarray(which) == i).sum(axis=0) for i in range(4)])
    np.testing.assert_allclose(counts.mean(axis=1), 4 * weights, atol=0.05)
    assert (np.abs(counts - 4 * weights[:, None]) < 1).all()
    np.testing.assert_allclose(effective(jnp.log(weights)[:, None])[0], 1 / (4 * (weights**2).sum()), rtol=1e-5)


def test_particles_are_drawn_from_averaged_and_cut_by_their_weights():
    x = jnp.array([[[0.0], [1.0], [2.0]]])
    found = posterior.Particles(x, jnp.log(jnp.array([[0.2, 0.7, 0.1]])), jnp.zeros(1), jnp.ones((2, 1)), jnp.int32(1))
    np.testing.assert_allclose(found.mean(), [[0.9]], rtol=1e-6)
    np.testing.assert_allclose(found.std(), [[np.sqrt(0.7 + 0.4 - 0.81)]], rtol=1e-5)
    assert [float(found.quantile(q)[0, 0]) for q in (0.1, 0.5, 0.95)] == [0.0, 1.0, 2.0]
    draws = found.draw(KEY, 4000)
    assert draws.shape == (1, 4000, 1)
    np.testing.assert_allclose([float((draws == i).mean()) for i in range(3)], [0.2, 0.7, 0.1], atol=0.03)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stepper": samplers.dpm_solver()}, "MultistepDPMSolver does not; choose one of ancestral, sde_dpm_solver"),
        ({"particles": 0}, "at least one particle"),
        ({"potential": None}, "give a potential, a log_likelihood, or both"),
        ({"log_likelihood": lambda x: x}, "one number per example"),
    ],
)
def test_what_does_not_fit_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        drawn(Y, **options)
