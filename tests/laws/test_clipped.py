"""The score with a clipped posterior mean: what it leaves alone, what it bounds, and what that is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import CORRELATED, PerMode, interior, rotation

import scorejax as sj
from scorejax.guidance import operators
from scorejax.scores.predictions import tweedie

DETAILED = PerMode(basis=sj.sdes.basis.Rotation(rotation(2)), rates=np.array([1.0, 9.0]), t_min=1e-3, t_max=1.0)
KEY = jax.random.key(0)
X = 2.0 * jax.random.normal(KEY, (7, 2))


@pytest.mark.parametrize("sde", [sj.vp(), sj.ve(), DETAILED], ids=["vp", "ve", "own rate for every mode"])
def test_the_posterior_mean_is_clipped_and_nothing_else(sde):
    t, score = jnp.asarray(interior(sde)), CORRELATED.score(sde)
    x = sde.perturb(X, t, jax.random.normal(jax.random.fold_in(KEY, 1), X.shape))

    @jax.jit
    def means(x):
        return [tweedie(sde, x, t, s(x, t)) for s in (score, sj.guidance.clipped(sde, score, (-0.4, 0.7)))]

    free, held = means(x)
    assert jnp.any(free > 0.75) and jnp.any(free < -0.45) and jnp.any((free > -0.4) & (free < 0.7))
    np.testing.assert_allclose(held, jnp.clip(free, -0.4, 0.7), atol=1e-4)


def test_exact_scores_of_bounded_data_pass_unchanged():
    corners = sj.analytic.mixture([0.2, 0.3, 0.5], [[-1.0, 1.0], [0.5, 1.0], [0.0, -1.0]], stds=[1e-4] * 3)
    sde, exact = sj.vp(), corners.score(sj.vp())
    t = jnp.asarray(interior(sde))
    x = sde.perturb(corners.sample(KEY, 7), t, jax.random.normal(jax.random.fold_in(KEY, 1), (7, 2)))
    scale = sde.sigma(t)[:, None]  # in units of the noise
    np.testing.assert_allclose(scale * sj.guidance.clipped(sde, exact)(x, t), scale * exact(x, t), atol=2e-4)


def test_what_a_network_gets_wrong_does_not_carry_a_measured_sample_away():
    # a tenth of the noise left out: an error of the mean, and of its derivative, that is divided by alpha
    sde, prior = sj.vp(), sj.analytic.gaussian(np.full(16, 0.1), 0.1 * np.eye(16)).score(sj.vp())
    wrong = jax.tree_util.Partial(lambda x, t: prior(x, t) + 0.1 * x)
    a = operators.dense(np.random.default_rng(0).standard_normal((4, 16)) / 4.0, (16,))
    y = a.forward(jnp.full((1, 16), 0.2))
    guided = sj.guidance.pigdm(sde, wrong, a, y, 0.0)
    plan = {"stepper": sj.samplers.ancestral(), "times": sj.times.log_snr(sde, 30), "denoise": True}
    free, held = (
        sj.sample(KEY, sde, score, (16, 16), **plan).x for score in (guided, sj.guidance.clipped(sde, guided))
    )
    assert not jnp.all(jnp.abs(free) < 10.0)
    assert jnp.all(jnp.abs(held) <= 1.0 + 1e-4)
    assert jnp.mean(jnp.abs(a.forward(held) - y)) < 0.05


def test_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"low < high.*\(1.0, -1.0\)"):
        sj.guidance.clipped(sj.vp(), lambda x, t: x, (1.0, -1.0))
