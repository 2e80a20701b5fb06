"""Metropolis-adjusted moves along a score alone, and what they make of guided draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import TWO_MODES

import scorejax as sj
from scorejax import guidance, posterior
from scorejax.guidance import likelihoods, operators
from scorejax.posterior.mala import line_integral

KEY, SDE = jax.random.key(0), sj.vp()
NORMAL = sj.analytic.gaussian([0.0], [[1.0]])


def nothing(x):
    return jnp.zeros(len(x))


@pytest.mark.slow
def test_the_variance_is_that_of_the_law_for_every_step_size():
    x = NORMAL.sample(KEY, 6000)
    for step in (0.2, 0.8):  # without acceptance the variance would be 1 / (1 - step / 2)
        found = posterior.refine(KEY, SDE, NORMAL.score(SDE), x, nothing, steps=25, step=step, nodes=1, denoise=False)
        np.testing.assert_allclose(jnp.var(found.x), 1.0, atol=0.05)
        assert 0.5 < float(found.acceptance.mean()) < 0.995
    assert int(found.nfe) == 1 + 25 * 2


def test_line_integrals_of_a_score_are_differences_of_the_log_density():
    with jax.enable_x64(True):
        for law, nodes in ((sj.analytic.gaussian([0.3, -0.2], [[0.5, 0.2], [0.2, 0.3]]), 1), (TWO_MODES, 8)):

            @jax.jit
            def both(x, there, t, law=law, nodes=nodes):
                found = line_integral(law.score(SDE), x, there, t, nodes)
                return found, law.log_prob_at(SDE, there, t) - law.log_prob_at(SDE, x, t)

            x = law.sample(KEY, 5).astype(float)
            there = x + 0.1 * jax.random.normal(KEY, x.shape)
            np.testing.assert_allclose(*both(x, there, jnp.full(5, 0.1)), atol=1e-6)


@pytest.mark.slow
def test_narrow_draws_become_as_wide_as_the_posterior_with_step_sizes_that_chains_find():
    world = sj.worlds.w2()
    _, y = world.simulate(KEY)
    law = world.posterior(y)
    likelihood = likelihoods.gaussian(world.operator, y[None], world.sigma_y)
    x = law.mean() + 0.7 * (law.sample(KEY, 1000) - law.mean())
    found = posterior.refine(KEY, SDE, world.law.score(SDE), x, likelihood)
    ratio = np.std(found.x, axis=0) / world.exact(y).std
    np.testing.assert_allclose(ratio.mean(), 1.0, atol=0.03)
    assert 0.65 < float(found.acceptance.mean()) < 0.9


@pytest.mark.slow
def test_as_a_corrector_it_mends_the_width_at_every_level():
    likelihood = likelihoods.gaussian(operators.dense(np.eye(1), (1,)), np.ones((1, 1)), 0.5)
    wrong, right = (guidance.potential(SDE, NORMAL.score(SDE), likelihood, kind=kind) for kind in ("dps", "mmps"))
    variances = [
        float(jnp.var(sj.sample(
            KEY, SDE, wrong.score, (3000, 1), stepper=sj.samplers.ancestral(), times=sj.times.log_snr(SDE, 30),
            corrector=corrector,
        ).x))
        for corrector in (None, posterior.mala(right, 0.05, 3, nodes=1))
    ]  # fmt: skip
    assert variances[0] < 0.1  # the posterior's is 0.2
    np.testing.assert_allclose(variances[1], 0.2, atol=0.03)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: posterior.mala(nothing, step=0.0), "step > 0, steps >= 1 and nodes >= 1, got step=0.0"),
        (lambda: posterior.refine(KEY, SDE, None, jnp.ones((2, 1)), nothing, steps=0), "steps=0"),
        (lambda: posterior.refine(KEY, SDE, None, jnp.ones((2, 1)), nothing, noise=0.0), "noise must be positive"),
        (lambda: posterior.refine(KEY, SDE, None, np.ones((2, 1), int), nothing), "floating numbers"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
