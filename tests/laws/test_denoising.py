import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from worlds import CONTINUOUS, PROCESSES

import scorejax as sj
from scorejax import objectives
from scorejax.objectives import draw_times

# one program instead of forty operations; scores are then Partials
denoising = jax.jit(objectives.denoising, static_argnames=("time_sampling", "weighting", "reduction"))
time_density = jax.jit(objectives.time_density, static_argnums=2)

N = 40_000
LAW = sj.analytic.gaussian([0.5, -0.5], [0.25, 0.25])


def exact_loss(sde, t, shift=0.0):
    """`E |sigma score + noise|^2 / D` for data `N(m, v)`, `v = 0.25`.

    The noise given x_t has the variance `alpha^2 v / (alpha^2 v + sigma^2)`. A score that is off by the constant
    `shift` adds `sigma^2 shift^2`.
    """
    signal, variance = 0.25 * sde.alpha(t) ** 2, sde.sigma(t) ** 2
    return np.asarray(signal / (signal + variance) + variance * shift**2)


@pytest.fixture(scope="module")
def drawn():
    return np.asarray(jax.jit(LAW.sample, static_argnums=1)(jax.random.key(0), N))


def shifted(score, shift, x, t):
    return score(x, t) + shift


@pytest.mark.parametrize("name", ["vp", "subvp", "ve", "flow", "ddpm"])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_the_loss_of_a_known_score_is_known(name, shift, drawn):
    sde, exact = PROCESSES[name], LAW.score(PROCESSES[name])
    for t in (0.02, 0.4):
        if name == "ve" and t > 0.1 and shift:
            continue  # sigma = 0.3
        at = np.full(N, t, np.float32)
        loss = np.asarray(denoising(jax.random.key(1), sde, Partial(shifted, exact, shift), drawn, t=at))
        # squared Gaussians: standard error sqrt(2 / 2 N) of the value = 0.5 %, five of them
        np.testing.assert_allclose(loss.mean(), exact_loss(sde, t, shift), rtol=0.03)


def test_the_exact_score_is_the_minimiser(drawn):
    sde, exact, x0 = sj.vp(), LAW.score(sj.vp()), drawn

    @jax.jit
    def loss(a, b):
        return objectives.denoising(jax.random.key(1), sde, lambda x, t: a * exact(x, t) + b, x0).mean()

    # common noise: the gradient's own Monte-Carlo error is sigma / sqrt(2 N) < 1e-2
    assert np.all(np.abs(jax.jit(jax.grad(loss, argnums=(0, 1)))(1.0, 0.0)) < 0.02)
    assert loss(1.0, 0.0) < min(loss(0.9, 0.0), loss(1.1, 0.0), loss(1.0, 0.2), loss(1.0, -0.2))


@pytest.mark.slow
def test_weightings_are_the_squared_errors_they_name():
    sde, t = sj.cosine(), np.array([0.1, 0.5, 0.8], np.float32)
    x0 = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    score = Partial(lambda x, t: -0.5 * x)
    key = jax.random.fold_in(jax.random.key(3), 1)
    noise = np.stack([jax.random.normal(jax.random.fold_in(key, i), (4,)) for i in range(3)])
    alpha, sigma = np.asarray(sde.alpha(t)), np.asarray(sde.sigma(t))
    x = alpha[:, None] * x0 + sigma[:, None] * noise
    noise_error = np.sum((0.5 * sigma[:, None] * x - noise) ** 2, 1)
    data_error = np.sum(((x - 0.5 * sigma[:, None] ** 2 * x) / alpha[:, None] - x0) ** 2, 1)
    score_error = np.sum((-0.5 * x + noise / sigma[:, None]) ** 2, 1)
    snr = (alpha / sigma) ** 2
    expected = {
        "simple": noise_error,
        "data": data_error,
        "snr": snr * data_error,
        "likelihood": np.asarray(sde.diffusion_squared(t)) * score_error,
        "truncated_snr": np.maximum(data_error, noise_error),
        "min_snr": np.minimum(snr, 5.0) * data_error,
        "soft_min_snr": 4 * snr / (snr + 4) * data_error,
        "p2": snr / (1 + snr) * data_error,
        "edm": (1 / snr + 0.25) / (0.25 / snr) * data_error,
        "velocity": (0.5 * np.asarray(sde.diffusion_squared(t))) ** 2 * score_error,
    }
    assert set(expected) | {"sharpening"} == set(sj.objectives.FIXED_WEIGHTINGS)  # the last is of chains alone
    for weighting, value in expected.items():
        loss = denoising(jax.random.key(3), sde, score, x0, t=t, weighting=weighting, reduction="sum")
        np.testing.assert_allclose(loss, value, rtol=1e-4, err_msg=weighting)
    loss = denoising(jax.random.key(3), sde, score, x0, t=t, weighting=lambda sde, t: 2 + t, reduction="sum")
    np.testing.assert_allclose(loss, (2 + t) * noise_error, rtol=1e-4)


def test_a_silent_edm_network_costs_one_per_dimension_for_any_data_of_its_variance(given_noise):
    """With the weight `(sigma^2 + sd^2) / sd^2` of the noise error; here two points, by quadrature over the noise."""
    u, w = np.polynomial.hermite_e.hermegauss(8)
    x0, noise = (np.float32(a.reshape(-1, 1)) for a in np.meshgrid([-0.5, 0.5], u, indexing="ij"))
    given_noise(lambda *_: noise)
    sde = sj.edm()
    score = sj.make_score(sde, lambda params, x, label: jnp.zeros_like(x), {}, "edm", sigma_data=0.5)

    def weight(sde, t):
        return (sde.variance(t) + 0.25) / 0.25

    for sigma in (0.05, 0.5, 5.0):
        loss = denoising(jax.random.key(0), sde, score, x0, t=np.full(len(x0), sigma, np.float32), weighting=weight)
        np.testing.assert_allclose(np.average(loss, weights=np.tile(w, 2)), 1.0, rtol=1e-4)


def test_reductions_differ_by_known_factors():
    def loss(reduction):
        score, x0 = Partial(lambda x, t: -x), np.ones((4, 5, 3), np.float32)
        return np.asarray(denoising(jax.random.key(0), sj.vp(), score, x0, reduction=reduction))

    np.testing.assert_allclose(loss("sum"), 15 * loss("mean"), rtol=1e-5)
    np.testing.assert_allclose(loss("half_sum"), 7.5 * loss("mean"), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "flow"])
def test_all_time_samplers_share_one_expectation(name, drawn):
    sde, exact = CONTINUOUS[name], LAW.score(CONTINUOUS[name])
    grid = np.linspace(sde.t_min, sde.t_max, 20_001, dtype=np.float32)
    shift = 0.7
    expected = float(np.trapezoid(exact_loss(sde, grid, shift), grid)) / (sde.t_max - sde.t_min)
    for times, tolerance in (("uniform", 0.03), ("stratified", 0.03), ("importance", 0.15)):
        loss = np.asarray(denoising(jax.random.key(1), sde, Partial(shifted, exact, shift), drawn, time_sampling=times))
        # importance sampling is made for another weighting: here few draws carry 1 / p up to 100
        np.testing.assert_allclose(loss.mean(), expected, rtol=tolerance, err_msg=times)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_importance_weights_cancel_the_likelihood_weighting(name):
    """With `p(t) ~ g^2 / sigma^2` the weight `w / p` is the constant `Z / (T - eps)`, without variance over times."""
    sde = CONTINUOUS[name]
    t = draw_times(jax.random.key(0), sde, 1000, "importance")
    weight = np.asarray(sj.objectives.WEIGHTINGS["likelihood"](sde, t)) / time_density(sde, t, "importance")
    total = float(sde.log_snr(sde.t_min) - sde.log_snr(sde.t_max)) / (sde.t_max - sde.t_min)
    np.testing.assert_allclose(weight, total, rtol=1e-5)


def test_the_normalisers_are_the_published_constants():
    """`Z = int g^2 / sigma^2 dt` from 1e-5 to 1: 23.864 (VP) and 37.679 (sub-VP)."""
    for name, constant in (("vp", 23.864), ("subvp", 37.679)):
        sde = CONTINUOUS[name]
        np.testing.assert_allclose(sde.log_snr(sde.t_min) - sde.log_snr(sde.t_max), constant, atol=6e-4)


def test_importance_times_are_uniform_for_ve():
    sde, t = sj.ve(), draw_times(jax.random.key(0), sj.ve(), 1000, "importance")
    np.testing.assert_allclose(time_density(sde, t, "importance"), 1.0, rtol=1e-4)
    np.testing.assert_allclose(jnp.sort(t), (jnp.arange(1000) + 0.5) / 1000, atol=1e-3)


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("times", ["uniform", "stratified", "importance"])
def test_drawn_times_follow_their_density(name, times):
    sde, n = CONTINUOUS[name], 4000
    t = np.sort(np.asarray(draw_times(jax.random.key(1), sde, n, times)))
    assert t[0] >= np.float32(sde.t_min)
    assert t[-1] <= np.float32(sde.t_max)
    if times == "importance":
        ratio = np.asarray(sde.log_snr(jnp.asarray(t)))
        ends = float(sde.log_snr(sde.t_min)), float(sde.log_snr(sde.t_max))
        cumulative = (ends[0] - ratio) / (ends[0] - ends[1])
    else:
        cumulative = (t - sde.t_min) / (sde.t_max - sde.t_min)
    # Kolmogorov: 2 / sqrt(n) has probability 7e-4 for independent draws; a stratum is 1 / n wide
    limit = 2 / n**0.5 if times == "uniform" else 1.5 / n
    assert np.max(np.abs(cumulative - (np.arange(n) + 0.5) / n)) < limit


@pytest.mark.parametrize("times", ["uniform", "stratified"])
def test_a_chain_draws_its_levels_and_all_of_them(times):
    sde = sj.ddpm("cosine", 50)
    t = np.asarray(draw_times(jax.random.key(0), sde, 2000, times))
    levels, counts = np.unique(np.round(t * 50, 4), return_counts=True)
    np.testing.assert_array_equal(levels, np.arange(1, 51))
    assert counts.min() >= (40 if times == "stratified" else 15)  # 40 expected; 4 sigmas of a Poisson count


def test_a_chain_trains_on_the_ddpm_objective():
    """At level n: `|noise prediction - noise|^2` at `sqrt(ab_n) x_0 + sqrt(1 - ab_n) noise`, label n - 1."""
    betas = np.linspace(1e-3, 0.2, 20)
    sde, signal = sj.ddpm(betas), np.cumprod(1 - betas)
    x0 = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    network = lambda params, x, label: 0.3 * x + 0.01 * label[:, None]  # noqa: E731
    loss = denoising(jax.random.key(5), sde, sj.make_score(sde, network, {}, label=sde.label), np.asarray(x0))
    keys = [jax.random.fold_in(jax.random.fold_in(jax.random.key(5), stream), i) for stream in (0, 1) for i in range(6)]
    level = np.array([int(jax.random.uniform(k) * 20) for k in keys[:6]])
    noise = np.stack([jax.random.normal(k, (3,)) for k in keys[6:]])
    x = np.sqrt(signal[level])[:, None] * x0 + np.sqrt(1 - signal[level])[:, None] * noise
    expected = np.mean((0.3 * x + 0.01 * level[:, None] - noise) ** 2, 1)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("times", ["uniform", "importance"])
def test_an_example_with_its_own_key_does_not_notice_its_batch_mates(times):
    keys = jax.random.split(jax.random.key(0), 8)
    x0 = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)

    score = Partial(lambda x, t: -x * t[:, None])

    def loss(keys, x0):
        return np.asarray(denoising(keys, sj.vp(), score, x0, time_sampling=times))

    whole = loss(keys, x0)
    np.testing.assert_array_equal(loss(keys[2:5], x0[2:5]), whole[2:5])
    np.testing.assert_array_equal(loss(keys[::-1], x0[::-1])[::-1], whole)
