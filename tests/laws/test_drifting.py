"""Processes whose drift is not affine: simulated forward, led back by an exact score from a grid, measured, learned.

The truth of one coordinate is `analytic.on_grid`, Kolmogorov's forward equation solved in float64.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import scorejax as sj
from scorejax import objectives, samplers
from scorejax.sdes import independent

KEY = jax.random.key(0)
DATA = sj.analytic.mixture([0.3, 0.7], [[-1.2], [0.8]], [0.3, 0.25])
WELL = sj.double_well()
BOX = sj.reflected(sigma_max=2.0, steps=50)
LEVELS = np.linspace(0.05, 0.95, 19)


def in_box(x):
    """A density of the box `[-1, 1]` with a slope at one wall."""
    return jnp.log1p(jnp.tanh(3.0 * x[:, 0]))


@functools.cache
def truth(name="well"):
    if name == "well":
        return sj.analytic.on_grid(WELL, DATA.log_prob, -5.0, 5.0, points=2000, times=200)
    return sj.analytic.on_grid(BOX, in_box, -1.0, 1.0, points=400, times=200)


def off(x, law, t):
    """The largest error of the distribution function at 19 quantiles; 0.5 / sqrt(n) is one standard error."""
    return np.abs(np.mean(np.asarray(x).reshape(-1, 1) < law.quantile(LEVELS, t), axis=0) - LEVELS).max()


# ---- The truth ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_law_on_a_grid_is_that_of_a_mixture_where_there_is_a_formula():
    sde = sj.vp()
    law = sj.analytic.on_grid(sde, DATA.log_prob, -5.0, 5.0, points=2000, times=200)
    x = jnp.linspace(-1.9, 1.5, 35)[:, None]
    for t in (0.05, 0.3, 1.0):
        np.testing.assert_allclose(law.log_prob_at(x, t), DATA.log_prob_at(sde, x, t), atol=2e-3)
        np.testing.assert_allclose(law.score_at(x, t), DATA.score_at(sde, x, t), atol=2e-2)
    assert np.abs(law.cdf[:, -1] - 1.0).max() < 1e-12  # no mass is lost


# ---- The process ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_prior_of_the_double_well_is_normalized_and_drawn_from():
    with jax.enable_x64(True):
        x = jnp.linspace(-3.0, 3.0, 61)[:, None]
        two = sj.analytic.mixture([0.5, 0.5], [[-0.8], [0.8]], [0.6, 0.6])
        np.testing.assert_allclose(WELL.prior_logp(x), two.log_prob(x), atol=1e-6)
    np.testing.assert_allclose(BOX.prior_logp(jnp.asarray([[0.0, 0.9], [0.0, 1.1]])), [-2.0 * np.log(2.0), -np.inf])
    x = np.sort(np.asarray(WELL.prior_sample(KEY, (10_000, 1)))[:, 0])
    normal = lambda u: jax.scipy.stats.norm.cdf(u / 0.6)  # noqa: E731
    expected = 0.5 * (normal(x - 0.8) + normal(x + 0.8))
    assert np.abs(expected - np.linspace(0, 1, len(x))).max() < 0.02  # Kolmogorov's 0.1 % point is 1.95 / sqrt(n)


@pytest.mark.parametrize("name", ["well", pytest.param("box", marks=pytest.mark.slow)])
def test_simulated_points_have_the_law_of_kolmogorovs_equation(name):
    sde, law, n = (WELL, truth(), 6000) if name == "well" else (BOX, truth("box"), 6000)
    times = (0.1, 0.3, 1.0)
    x0 = jnp.asarray(law.quantile((np.arange(n) + 0.5) / n, 0.0), jnp.float32)[:, None]  # the data without their noise
    t = jnp.repeat(jnp.asarray(times), n)
    x = np.asarray(sde.corrupt(KEY, jnp.tile(x0, (3, 1)), t)).reshape(3, n)
    for row, t in zip(x, times, strict=True):
        assert off(row, law, t) < 0.022  # 3.4 standard errors
    if name == "box":
        assert np.abs(x).max() <= 1.0


def test_a_point_follows_its_own_key_and_time_alone_and_starts_at_the_data():
    keys = jax.random.split(KEY, 4)
    x0, t = jnp.asarray([[0.5], [0.5], [-1.0], [2.0]]), jnp.asarray([0.5, 0.5, 0.0, 1.0])
    x = WELL.corrupt(keys, x0, t)
    np.testing.assert_array_equal(x, WELL.corrupt(keys[::-1], x0[::-1], t[::-1])[::-1])
    assert x[0] != x[1] and x[2] == x0[2]
    times, path = WELL.path(keys, x0, t)
    np.testing.assert_array_equal(path[-1], x)
    np.testing.assert_array_equal(path[0], x0)
    np.testing.assert_allclose(times[-1], t)


def cubic(strength, x, t):
    return -strength * x**3 * (1.0 + t)


def steady(strength, t):
    return jnp.full_like(t, strength)


def test_new_numbers_compile_no_program_again():
    traced = []

    def drift(strength, x, t):
        traced.append(0)
        return cubic(strength, x, t)

    law = independent(lambda u: -(u**4), -3.0, 3.0)
    for strength in (1.0, 2.0):
        sde = sj.drifting(Partial(drift, strength), Partial(steady, 0.5), prior=law, steps=3)
        sde.corrupt(KEY, jnp.ones((2, 1)), 0.5)
        sde.corrupt(KEY, 2.0 * jnp.ones((2, 1)), 0.7)
    assert len(traced) == 2  # both stages of one step, once


def test_the_noise_of_a_step_has_the_variance_of_its_increment():
    """One step with `g^2 = 3 t^2` adds `t^3`: the same noise as that of `g = 1`, which adds `t`, times `t`."""
    made = {"prior": WELL.law, "steps": 1, "method": "euler"}
    x0, t = jnp.zeros((3, 1)), jnp.asarray([0.3, 0.6, 1.0])
    rising = sj.drifting(lambda x, t: 0.0 * x, lambda t: 3.0**0.5 * t, **made).corrupt(KEY, x0, t)
    even = sj.drifting(lambda x, t: 0.0 * x, jnp.ones_like, **made).corrupt(KEY, x0, t)
    np.testing.assert_allclose(rising, even * t[:, None], rtol=1e-5)


@pytest.mark.slow
def test_heun_converges_faster_than_euler():
    """With hardly any noise these are methods for an ODE, of orders 2 and 1: `dx = -x^3 (1 + t) dt` has a formula."""
    law, start = independent(lambda u: -(u**4), -3.0, 3.0), 1.2
    exact = (start**-2 + 3.0) ** -0.5
    for method, order in (("euler", 1), ("heun", 2)):
        errors = []
        for steps in (16, 64):
            sde = sj.drifting(Partial(cubic, 1.0), Partial(steady, 1e-6), prior=law, steps=steps, method=method)
            errors.append(abs(float(sde.corrupt(KEY, jnp.full((1, 1), start), 1.0)[0, 0]) - exact))
        assert abs(np.log(errors[0] / errors[1]) / np.log(4.0) - order) < 0.2


# ---- Back to the data -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), [("well", "euler_maruyama"), ("well", "heun"), ("box", "euler_maruyama")])
def test_the_exact_score_leads_the_prior_back_to_the_data(name, method):
    sde, law = (WELL, truth()) if name == "well" else (BOX, truth("box"))
    stepper = samplers.probability_flow("heun") if method == "heun" else samplers.euler_maruyama()
    found = sj.sample(KEY, sde, law.score(), (4000, 1), stepper=stepper, times=sj.times.uniform(sde, 200))
    assert off(found.x, law, sde.t_min) < 0.025  # 3 standard errors
    assert found.nfe == (400 if method == "heun" else 200)  # no last step by Tweedie's formula, which there is not
    if name == "box":
        assert np.abs(np.asarray(found.x)).max() <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["well", "box"])
def test_log_prob_with_the_exact_score_is_the_density(name):
    sde, law = (WELL, truth()) if name == "well" else (BOX, truth("box"))
    x = jnp.asarray(law.quantile(np.linspace(0.02, 0.98, 13), 0.0), jnp.float32)[:, None]
    found = sj.log_prob(KEY, sde, law.score(), x, divergence="exact")
    assert np.asarray(found.ok).all()
    # less what the end of the process differs from its prior by
    rest = law.log_prob_at(found.latent, sde.t_max) - sde.prior_logp(found.latent)
    np.testing.assert_allclose(found.value + rest, law.log_prob_at(x, sde.t_min), atol=1e-3)
    assert np.abs(rest).max() < 0.02


@pytest.mark.slow
def test_without_wells_it_is_vp():
    """The divergence of the whole flow, estimated in two dimensions, and the steps of a sampler."""
    same, vp = sj.double_well(separation=0.0, beta_max=20.0), sj.vp(t_min=0.01)
    law = sj.analytic.gaussian([0.3, -0.2], [[0.5, 0.2], [0.2, 0.3]])
    score, x = law.score(vp), law.sample(KEY, 4)
    found = sj.log_prob(KEY, same, score, x, divergence="gaussian", probes=50)
    assert np.all(np.abs(found.value - law.log_prob_at(vp, x, vp.t_min)) < 4.0 * found.stderr + 1e-3)
    assert np.all(found.stderr < 0.25)
    t = jnp.linspace(0.01, 1.0, 7)
    np.testing.assert_allclose(same.noise_variance(t), vp.variance(t), rtol=1e-5)  # the unit of objectives
    step = jax.jit(lambda sde: samplers.euler_maruyama().step(jax.random.split(KEY, 4), sde, score, x, 0.5, 0.4, ()).x)
    np.testing.assert_allclose(step(vp), step(same), atol=1e-4)


# ---- Learned --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_minimizer_of_sliced_score_matching_is_the_score_of_the_simulated_points():
    """Among scores that are linear in 24 features the loss is a parabola: one Newton step lands on the minimizer."""
    t, n = 0.15, 20_000
    centers = jnp.linspace(-2.0, 2.0, 12)

    def features(x):
        bumps = (x - centers) / 0.4
        return jnp.concatenate([jnp.exp(-0.5 * bumps**2), bumps * jnp.exp(-0.5 * bumps**2)], axis=1)

    x0 = jnp.asarray(truth().quantile((np.arange(n) + 0.5) / n, 0.0), jnp.float32)[:, None]

    def loss(weights):
        score = lambda x, t: (features(x) @ weights)[:, None]  # noqa: E731
        return jnp.mean(objectives.sliced(KEY, WELL, score, x0, t=jnp.full(n, t))) + 1e-6 * jnp.sum(weights**2)

    weights = jax.jit(lambda w: w - jnp.linalg.solve(jax.hessian(loss)(w), jax.grad(loss)(w)))(jnp.zeros(24))
    at = jnp.asarray(truth().quantile(np.linspace(0.01, 0.99, 200), t), jnp.float32)[:, None]
    exact = truth().score_at(at, t)
    error = float(jnp.mean(((features(at) @ weights)[:, None] - exact) ** 2) / jnp.mean(exact**2))
    assert error < 0.01


def test_a_network_in_a_box_has_no_score_through_the_walls():
    x = jnp.asarray([[-1.0, 0.0], [0.5, 1.0]])
    for sde, expected in ((WELL, jnp.full((2, 2), 2.0)), (BOX, [[0.0, 2.0], [1.5, 0.0]])):
        score = sj.make_score(sde, lambda params, x, t: jnp.full_like(x, params), 2.0, "score")
        np.testing.assert_allclose(score(x, 0.5), expected)


# ---- At the door ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"t_min": 2.0}, r"0 <= t_min < t_max, got t_min=2\.0, t_max=1\.0"),
        ({"steps": 0}, "at least one step of simulation, got steps=0"),
        ({"method": "midpoint"}, "unknown method 'midpoint'; choose one of heun, euler"),
        ({"prior": "normal"}, r"sample\(keys, shape\) and log_prob\(x\), got a str; .*independent"),
        ({"bounds": (1.0, -1.0)}, "low < high"),
        ({"diffusion": lambda t: 0.5 - t}, r"finite and not negative from 0 to t_max, got g=-0\.0039\d+ at t=0\.5"),
        ({"diffusion": lambda t: jnp.ones((3,))}, r"one floating number for each time, shape \(257,\), got \(3,\)"),
        ({"drift": lambda x, t: x[:, :1]}, r"the drift must return floating numbers, .*\(4, 2\), got \(4, 1\)"),
        ({"x0": np.ones((4, 2), int)}, "x is int64; points of model space are floating"),
        ({"t": 1.5}, r"t=1\.5 lies outside the times of this process"),
        ({"t": jnp.ones(3)}, r"one number, or one per example: .*\(4,\), got \(3,\)"),
        ({"bounds": (-0.5, 0.5)}, r"walls .* -0\.5 and 0\.5, but the data reach from 1 to 1 \(8 of 8 numbers"),
    ],
)
def test_what_cannot_be_is_refused_in_plain_words(change, words):
    made = {"drift": Partial(cubic, 1.0), "diffusion": Partial(steady, 1.0), "prior": WELL.law, "x0": np.ones((4, 2)),
            "t": 0.5, "steps": 2}  # fmt: skip
    made |= change
    x0, t = made.pop("x0"), made.pop("t")
    with pytest.raises(ValueError, match=words):
        sj.drifting(**made).corrupt(KEY, x0, t)


@pytest.mark.parametrize(
    ("density", "ends", "words"),
    [
        (lambda u: u, (1.0, 0.0), "low < high"),
        (lambda u: u, (-np.inf, 0.0), "a finite interval"),
        (lambda u: jnp.log(u), (-1.0, 1.0), r"below infinity, .* it gave shape .* values from nan"),
    ],
)
def test_a_law_that_cannot_be_is_refused(density, ends, words):
    with pytest.raises(ValueError, match=words):
        independent(density, *ends)
