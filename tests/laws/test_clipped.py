"""The score with a clipped posterior mean: what it leaves alone, what it bounds, what that is for, in every sampler."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_chains import gamma_of
from jax.tree_util import Partial
from worlds import CORRELATED, PerMode, interior, rotation

import scorejax as sj
from scorejax import samplers
from scorejax.guidance import operators
from scorejax.reverse import variance
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


@pytest.mark.slow
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


# ---- In every sampler ------------------------------------------------------------------------------------------------

VP, BOUNDS, WIDE = sj.vp(t_min=1e-3), (-0.5, 1.0), (-100.0, 100.0)
TIMES = np.asarray(sj.times.log_snr(VP, 12), np.float64)
ONES = Partial(lambda x, t: jnp.ones_like(x))
FITTED = {
    "analytic": gamma_of(VP, TIMES[::-1], 0.5), "npr": variance.NoiseResidual(ONES), "sn": variance.SquaredNoise(ONES),
}  # fmt: skip
# what a step needs to be stable on so short a grid
SETTINGS = {"annealed_langevin": {"epsilon": 1e-4, "steps": 8}, "adaptive_probability_flow": {"rtol": 1e-3}}
ONE_LEVEL = ("ula", "mala")  # their moves are of one size, which suits one level of noise and no chain of levels
TABLES = {**samplers.STEPPERS, **samplers.CORRECTORS}
SAMPLERS = {name: make for name, make in TABLES.items() if name not in ONE_LEVEL}
LOOPS = ("adaptive_probability_flow", "dpm_solver_adaptive", "ald", "langevin", "annealed_langevin")


def gaussian(mean, std, x, t):
    """The score of data `N(mean, std^2)` in every coordinate."""
    alpha, noise = VP.alpha(t)[:, None], VP.variance(t)[:, None]
    return (alpha * mean - x) / (alpha**2 * std**2 + noise)


def plan(name):
    make = SAMPLERS[name]
    fitted = {"fitted": FITTED.get} if "fitted" in inspect.signature(make).parameters else {}
    made = make(**SETTINGS.get(name, {}), **fitted)
    if name in samplers.CORRECTORS:
        return {"stepper": samplers.ancestral(), "corrector": made}
    return {"stepper": made}


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LOOPS else ()) for n in SAMPLERS])
def test_a_clip_holds_every_sampler_in_the_range_and_leaves_what_lies_there_as_it_is(name):
    """At the last time, before any denoising; one program, whose score and bounds are arguments."""

    def draw(mean, std, clip):
        score = Partial(gaussian, mean, std)
        return sj.sample(KEY, VP, score, (5, 4), times=TIMES, denoise=False, clip=clip, **plan(name)).x

    assert jnp.all(draw(3.0, 0.0, WIDE) > 2.0)
    assert jnp.all(jnp.abs(draw(3.0, 0.0, BOUNDS) - BOUNDS[1]) < 5.0 * VP.sigma(TIMES[-1]))  # its noise
    np.testing.assert_array_equal(draw(0.2, 0.05, BOUNDS), draw(0.2, 0.05, WIDE))


@pytest.mark.parametrize("sde", [sj.vp(), sj.ve(), DETAILED], ids=["vp", "ve", "own rate for every mode"])
@pytest.mark.parametrize("clip", [(-1.0, 1.0), samplers.dynamic_threshold((0.0, 1.0))], ids=["range", "dynamic"])
def test_a_score_whose_predicted_data_lie_inside_keeps_its_last_digit(sde, clip):
    t, score = jnp.asarray(interior(sde)), sj.analytic.gaussian([0.5, 0.5], 1e-4 * np.eye(2)).score(sde)
    x = sde.perturb(jnp.full((7, 2), 0.5), t, jnp.linspace(-0.3, 0.4, 14).reshape(7, 2))
    np.testing.assert_array_equal(sj.guidance.clipped(sde, score, clip)(x, t), score(x, t))


@pytest.mark.parametrize("sde", [VP, sj.ve(0.01, 1348.0), sj.smld(n=20)], ids=["vp", "ve", "smld"])
def test_every_denoised_state_of_a_trajectory_lies_in_the_range_up_to_the_largest_noise(sde):
    def outside(x, t):
        return sde.scale(1.0 / sde.variance(t), t, 3.0 * sde.alpha(t)[:, None] - x)

    found = sj.trajectory(
        KEY, sde, Partial(outside), (5, 4), times=sj.times.log_snr(sde, 12), stepper=samplers.ddim(), clip=(-0.5, 1.0)
    )
    np.testing.assert_allclose(found.denoised, 1.0, atol=1e-3)
    assert jnp.all(jnp.abs(found.x[-1] - 1.0) < 5.0 * sde.sigma(sde.t_min))


def test_dynamic_thresholding_is_the_published_formula_about_the_center_of_the_range():
    data = 2.0 * jax.random.normal(KEY, (6, 5, 7, 1))
    size = np.maximum(np.quantile(np.abs(data).reshape(6, -1), 0.9, axis=1), 1.0).reshape(6, 1, 1, 1)
    published = np.clip(data, -size, size) / size
    np.testing.assert_allclose(samplers.dynamic_threshold(quantile=0.9)(data), published, rtol=1e-6)
    shifted = samplers.dynamic_threshold((2.0, 6.0), quantile=0.9)(4.0 + 2.0 * data)
    np.testing.assert_allclose(shifted, 4.0 + 2.0 * published, rtol=1e-5)


BOUNDED = {
    "clipped": lambda b: sj.guidance.clipped(sj.vp(), lambda x, t: x, b),
    "dynamic_threshold": samplers.dynamic_threshold,
    "chain": lambda b: sj.reverse.chain(sj.vp(), [1.0, 0.5], clip=b),
    "data_range": lambda b: sj.reverse.chain(sj.vp(), [1.0, 0.5], data_range=b),
    "reverse_chain": lambda b: samplers.reverse_chain(clip=b).prepare(sj.vp(), [1.0, 0.5]),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_are_two_numbers_in_their_order(name):
    make = BOUNDED[name]
    for right in ((-1.0, 1.0), [-1, 1], np.array([-1.0, 1.0]), (jnp.float32(-1.0), np.float64(1.0))):
        make(right)
    with pytest.raises(ValueError, match=r"low < high.*\(1.0, -1.0\)"):
        make((1.0, -1.0))
    for wrong in (1.0, (1.0,), (0.0, 1.0, 2.0), np.ones((2, 3)), (-np.ones(2), np.ones(2)), jnp.float32(1.0)):
        with pytest.raises(ValueError, match="two numbers for all coordinates"):
            make(wrong)


def test_the_quantile_of_a_threshold_is_one():
    with pytest.raises(ValueError, match="quantile must lie in"):
        samplers.dynamic_threshold(quantile=99.5)
