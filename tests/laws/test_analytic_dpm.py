"""Analytic-DPM (arXiv 2201.06503): published numbers, numbers of the reference code, and closed forms."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_chains import LINEAR, TWO_HUMPS, exact_gamma, gamma_of, levels, nodes, normal_data
from worlds import PROCESSES, PerMode

import scorejax as sj
from scorejax import reverse, samplers
from scorejax.reverse import expected_kl, optimal_variance, transition
from scorejax.reverse import optimal_times as trajectories

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = np.load(FOLDER / "analytic_dpm_linear.npz")
WORLD = json.loads((FOLDER / "analytic_dpm_linear.json").read_text())["gmm"]
LAW = sj.analytic.mixture(WORLD["weights"], WORLD["means"], covariances=WORLD["covs"])
GAMMA = gamma_of(LINEAR, levels(LINEAR), GOLDEN["ms_eps"][1:])
PAIR = np.array([0.223, 0.112])  # one step of K = 10


def grid(kind, k):
    return trajectories.even(LINEAR, k) if kind == "linear" else trajectories.optimal(LINEAR, GAMMA, k)


# Analytic-DPM, table 7: bounds of the last variance of even trajectories of K = 10, 25, 50, 100 (ImageNet: 25 .. 200).
TABLE_7 = {
    "linear 1000": (
        "9.993e-05 9.956e-05 9.841e-05 9.545e-05",
        "1.446e-01 2.244e-02 6.203e-03 2.098e-03",
        "1.372e-01 1.964e-02 4.816e-03 1.360e-03",
    ),
    "cosine 1000": (
        "4.124e-05 4.101e-05 4.038e-05 3.892e-05",
        "3.560e-02 6.145e-03 1.848e-03 6.803e-04",
        "3.325e-02 5.217e-03 1.372e-03 4.177e-04",
    ),
    "cosine 4000": (
        "9.849e-06 9.813e-06 9.717e-06 9.507e-06",
        "5.929e-03 1.844e-03 6.438e-04 2.611e-04",
        "5.465e-03 1.594e-03 5.030e-04 1.774e-04",
    ),
}


@pytest.mark.parametrize("name", TABLE_7)
def test_the_bounds_of_the_last_variance_are_those_of_table_7(name):
    schedule, n = name.split()
    sde = sj.ddpm(schedule, int(n))
    steps = (10, 25, 50, 100) if n == "1000" else (25, 50, 100, 200)
    everything, nothing = (gamma_of(sde, levels(sde), value) for value in (0.0, 1.0))
    for row, (gamma, eta) in enumerate([(nothing, 1.0), (everything, 1.0), (everything, 0.0)]):
        found = [
            reverse.chain(sde, trajectories.even(sde, k), variance=gamma, eta=eta, data_range=(-1, 1)) for k in steps
        ]
        assert " ".join(f"{chain.steps.variance[-1]:.3e}" for chain in found) == TABLE_7[name][row]


def test_the_noise_allowed_in_the_last_step_is_that_of_table_7(monkeypatch):
    """Where one step begins and ends with a unit of noise, what it adds is its standard deviation."""
    monkeypatch.setattr("scorejax.numerics.keys.normal", lambda keys, shape, *_: jnp.ones(shape))
    times = trajectories.even(LINEAR, 3)
    chain = reverse.chain(LINEAR, times, variance="forward")
    x, zero = jnp.zeros((1, 1)), lambda x, t: 0.0 * x
    for pixels, published in ((1, 9.66272e-5), (2, 3.86509e-4)):
        stepper, memory = samplers.reverse_chain(chain, last_noise=pixels * 2 / 255), jnp.int32(0)
        for variance in (chain.steps.variance[0], published):
            step = stepper.step(None, LINEAR, zero, x, None, None, memory)
            np.testing.assert_allclose(step.x[0, 0] ** 2, variance, rtol=2e-6)
            memory = step.memory
        assert stepper.chain(LINEAR, times) is chain  # the bound is of the chain without it


@pytest.mark.parametrize("kind", ["linear", "dp_seg"])
@pytest.mark.parametrize("k", [10, 25, 50, 100, 1000])
def test_variances_and_kl_terms_are_those_of_the_reference(kind, k):
    if (kind, k) == ("dp_seg", 1000):
        return  # the same grid
    times = grid(kind, k)
    np.testing.assert_array_equal(np.round(times[::-1] * 1000), GOLDEN[f"steps_{kind}_K{k}"])
    chains = {
        "opt": reverse.chain(LINEAR, times, variance=GAMMA),
        "beta": reverse.chain(LINEAR, times, variance="forward"),
        "tilde": reverse.chain(LINEAR, times, variance="posterior"),
        "analytic_ddim_eta0": reverse.chain(LINEAR, times, variance=GAMMA, eta=0.0),
    }
    for name, chain in chains.items():
        np.testing.assert_allclose(chain.steps.variance[::-1], GOLDEN[f"sigma2_{name}_{kind}_K{k}"], rtol=1e-9)
    with jax.enable_x64(True):
        for name in ("opt", "beta", "tilde"):
            steps = chains[name].steps
            kl = 2 * expected_kl(chains["opt"].steps.variance, steps.variance, steps.posterior)
            np.testing.assert_allclose(kl[::-1], GOLDEN[f"kl_terms_{name}_{kind}_K{k}"], rtol=1e-8)


RUNS = {
    "": {"variance": GAMMA},
    "naive_small0_": {"variance": "forward"},
    "naive_small1_": {"variance": "posterior"},
    "ddim_eta0_": {"variance": "posterior", "eta": 0.0},
    "analytic_ddim_eta0_": {"variance": GAMMA, "eta": 0.0},
}


@pytest.mark.parametrize(
    ("run", "kind", "k"), [(run, "linear", 10) for run in RUNS] + [("", "dp_seg", 10), ("", "linear", 50)]
)
def test_samples_are_those_of_the_reference_given_its_noise(run, kind, k, given_noise):
    chain = reverse.chain(LINEAR, grid(kind, k), **RUNS[run])
    # the first sample's key in step i is the driver's fold_in(fold_in(key, 0), 2 i): it names the step
    first = jax.random.fold_in(jax.random.key(0), 0)
    names = jax.random.key_data(jax.vmap(lambda i: jax.random.fold_in(first, 2 * i))(jnp.arange(k)))
    with jax.enable_x64(True):
        draws = jnp.asarray(GOLDEN[f"sampler_noise_K{k}"])
        given_noise(lambda keys, _: draws[jnp.argmax(jnp.all(names == jax.random.key_data(keys[0]), axis=1))])
        draw = sj.sample(
            jax.random.key(0), LINEAR, LAW.score(LINEAR), (8, 2),
            stepper=samplers.reverse_chain(chain), times=chain.times, x_init=jnp.asarray(GOLDEN["sampler_x_init"]),
        )  # fmt: skip
    np.testing.assert_allclose(draw.x, GOLDEN[f"ref_sampler_out_{run}{kind}_K{k}"], rtol=1e-12, atol=1e-12)
    assert draw.nfe == k


@pytest.mark.slow
def test_more_levels_bring_the_samples_closer_to_the_data():
    """By the sliced Wasserstein distance, down to what two draws from the data differ by."""
    n, angle = 2000, np.arange(12) * np.pi / 12
    lines = np.stack([np.cos(angle), np.sin(angle)])
    truth, other = (np.sort(np.asarray(LAW.sample(jax.random.key(i), n)) @ lines, axis=0) for i in (0, 1))
    distances = []
    for k in (5, 15, 60):
        chain = reverse.chain(LINEAR, trajectories.even(LINEAR, k), variance=GAMMA)
        draw = sj.sample(
            jax.random.key(2), LINEAR, LAW.score(LINEAR), (n, 2),
            stepper=samplers.reverse_chain(chain), times=chain.times,
        )  # fmt: skip
        distances.append(np.sqrt(np.mean((np.sort(np.asarray(draw.x) @ lines, axis=0) - truth) ** 2)))
    assert distances[0] > 1.5 * distances[1] > 2.0 * distances[2]
    assert distances[2] < 3.0 * np.sqrt(np.mean((other - truth) ** 2))


@pytest.mark.parametrize("s2", [0.0, 0.25, 1.0, 4.0])
def test_the_optimal_variance_of_normal_data_is_that_of_x_s_given_x_t(s2):
    """`b v_s / v_t` with `v = ab s2 + bb`: beta tilde for a point, beta for unit data, more than beta beyond."""
    sde = LINEAR
    with jax.enable_x64(True):
        alpha2, noise = sde.alpha(PAIR) ** 2, sde.variance(jnp.asarray(PAIR))
        total = alpha2 * s2 + noise
        step = transition(sde, PAIR[1], PAIR[0])
        found = optimal_variance(step, 1.0 - noise[0] / total[0])
        np.testing.assert_allclose(found, step.forward * total[1] / total[0], rtol=1e-12)
        published = {0.0: 0.099326, 0.25: 0.197769, 1.0: 0.316844, 4.0: 0.411131}[s2]
        np.testing.assert_allclose(found, published, atol=1e-6)
        upper = step.forward / (alpha2[0] / alpha2[1])
        assert step.posterior <= found * (1 + 1e-12) <= upper
        np.testing.assert_allclose(upper, 0.463794, atol=1e-6)


def test_the_bias_of_gamma_has_the_published_coefficient():
    with jax.enable_x64(True):
        noise = LINEAR.variance(jnp.asarray(PAIR[0]))
        for eta, published in ((1.0, 0.14695007), (0.0, 0.06867758)):
            step = transition(LINEAR, PAIR[1], PAIR[0], eta)
            slope = jax.grad(lambda gamma, step=step: optimal_variance(step, 1.0 - noise * gamma))(0.9)
            np.testing.assert_allclose(slope, -published, rtol=1e-7)


@pytest.mark.parametrize("law", ["mixture", "two points"])
@pytest.mark.slow
def test_the_optimal_variance_keeps_its_bounds_on_every_pair_of_levels(law):
    """posterior <= optimal <= forward / a^2, for data in [-2, 2] also <= posterior + 4 data^2: nothing is clipped."""
    data = TWO_HUMPS if law == "mixture" else sj.analytic.mixture([0.4, 0.6], [[-2.0], [2.0]], [0.0, 0.0])
    times = levels(LINEAR) if law == "mixture" else levels(LINEAR)[19:]  # the trapezoid's grid is too coarse for less
    gamma, above = exact_gamma(LINEAR, data, times), False
    residual = 1.0 - gamma.mean_square
    assert np.all((residual > -1e-7) & (residual < 1.0))
    for k in (2, 3, 7, 10, 30, 100, len(times)):
        grid = times[np.unique(np.rint(np.linspace(0, len(times) - 1, k)).astype(int))][::-1]
        steps = reverse.chain(LINEAR, grid, variance=gamma).steps
        upper = steps.forward * (steps.signal / steps.alpha) ** 2
        assert np.all((steps.posterior <= steps.variance) & (steps.variance <= upper))
        if law == "two points":
            assert np.all(steps.variance <= (steps.posterior + 4 * steps.data**2) * (1 + 1e-9))
        above |= bool(np.any(steps.variance > steps.forward))
    assert above == (law == "two points")  # beta bounds it only for data of less than unit variance


def test_analytic_ddim_adds_the_variance_that_turning_loses():
    """With `theta = atan2(sigma, alpha s)` DDIM turns by `dtheta`: `Var` falls by `cos^2`, the optimum adds `sin^2`."""
    s2, law = 0.25, normal_data(0.25)[0]
    with jax.enable_x64(True):
        gamma = exact_gamma(LINEAR, law, levels(LINEAR))
        for k, product in ((5, 0.05066219), (20, 0.18528304), (100, 0.23604074)):
            steps = reverse.chain(LINEAR, trajectories.even(LINEAR, k), variance=gamma, eta=0.0).steps
            angle, below = (
                np.arctan2(steps.sigma, steps.alpha * s2**0.5),
                np.arctan2(steps.noise, steps.signal * s2**0.5),
            )
            total = steps.signal**2 * s2 + steps.noise**2
            np.testing.assert_allclose(steps.variance, total * np.sin(angle - below) ** 2, atol=1e-8)
            turns = np.append(angle - below, below[-1])
            np.testing.assert_allclose(s2 * np.prod(np.cos(turns) ** 2), product, atol=6e-9)
            assert np.prod(np.cos(turns)) < np.cos(angle[0] / k) ** k  # equal turns lose least


def test_more_noise_than_there_is_leaves_the_posterior_variance():
    chain = reverse.chain(LINEAR, trajectories.even(LINEAR, 50), variance=gamma_of(LINEAR, levels(LINEAR), 1.3))
    np.testing.assert_array_equal(chain.steps.variance, chain.steps.posterior)


def test_no_noise_at_all_leaves_the_smaller_of_the_two_upper_bounds():
    """lambda^2 + (sigma_t / a - noise)^2 for any data, lambda^2 + data^2 for data in [-1, 1]."""
    gamma = gamma_of(LINEAR, levels(LINEAR), 0.0)
    for eta in (1.0, 0.4, 0.0):
        free, bounded = (
            reverse.chain(LINEAR, trajectories.even(LINEAR, 50), variance=gamma, eta=eta, data_range=data_range).steps
            for data_range in (None, (-1, 1))
        )
        any_data = free.posterior + (free.sigma * free.signal / free.alpha - free.noise) ** 2
        np.testing.assert_allclose(free.variance, any_data, rtol=1e-9)
        in_range = free.posterior + free.data**2
        np.testing.assert_allclose(bounded.variance, np.minimum(any_data, in_range), rtol=1e-9)
        assert 0 < np.sum(in_range < any_data) < 49


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "subvp", "ve", "cosine", "flow", "ddpm", "smld"])
@pytest.mark.parametrize("eta", [1.0, 0.5, 0.0])
def test_the_optimal_step_matches_the_first_two_moments_of_any_data(name, eta):
    """E mu = E x_s and E mu^2 + sigma^2 = E x_s^2, for every process and forward family."""
    sde = PROCESSES[name]
    with jax.enable_x64(True):
        times = np.round(np.array([0.62, 0.4]) * 1000) / 1000
        gamma = exact_gamma(sde, TWO_HUMPS, times)
        if name in ("ve", "smld"):  # noise of 10 and more: the trapezoid's range is too short
            times = np.array([0.3, 0.2])
            gamma = exact_gamma(sde, TWO_HUMPS, times)
        chain = reverse.chain(sde, times, variance=gamma, eta=eta)
        x0, noise, weights = nodes(TWO_HUMPS, 60)
        step = chain.step(0)
        x = sde.perturb(x0, jnp.asarray(times[0]), noise)
        mean, variance = chain.predict(sde, TWO_HUMPS.score(sde), x, step)
        at_s = sde.perturb(x0, jnp.asarray(times[1]), noise)
        np.testing.assert_allclose(weights @ mean, weights @ at_s, atol=1e-6)
        np.testing.assert_allclose(weights @ mean**2 + variance, weights @ at_s**2, rtol=1e-6)


@pytest.mark.slow
def test_a_chain_of_optimal_steps_returns_normal_data_with_its_own_variance():
    s2 = 0.25
    law, *_ = normal_data(s2)
    published = {  # variance of the samples after 1, 5 and 20 steps, the last one to x_0 itself
        ("optimal", 1.0): (0.25, 0.25, 0.25),
        ("optimal", 0.0): (0.25, 0.25, 0.25),
        ("posterior", 1.0): (0.000003, 0.043987, 0.150507),
        ("forward", 1.0): (0.999962, 0.558452, 0.298555),
        ("posterior", 0.0): (0.000003, 0.05066219, 0.18528304),
    }
    gain = jax.jit(lambda chain, x, step: chain.predict(LINEAR, law.score(LINEAR), x, step))
    with jax.enable_x64(True):
        gamma = exact_gamma(LINEAR, law, levels(LINEAR))
        for (kind, eta), expected in published.items():
            for k, value in zip((1, 5, 20), expected, strict=True):
                how = gamma if kind == "optimal" else kind
                spread = float(LINEAR.alpha(1.0) ** 2 * s2 + LINEAR.variance(jnp.asarray(1.0)))
                first = 1.0
                if k > 1:
                    chain = reverse.chain(LINEAR, trajectories.even(LINEAR, k), variance=how, eta=eta)
                    one = jnp.ones((k - 1, 1))  # every step at once: the mean is linear, its gain is its value at 1
                    gains, _ = gain(chain, one, chain.step(jnp.arange(k - 1)))
                    for factor, variance in zip(np.asarray(gains)[:, 0], chain.steps.variance, strict=True):
                        spread = factor**2 * spread + variance
                    first = chain.times[-1]
                final = law.posterior_mean(LINEAR, jnp.ones((1, 1)), first)[0, 0] ** 2 * spread
                left = LINEAR.variance(jnp.asarray(first)) / LINEAR.alpha(first) ** 2
                if kind == "optimal":
                    final += left * s2 / (s2 + left)
                elif kind == "forward":
                    final += LINEAR.variance(jnp.asarray(first))
                np.testing.assert_allclose(final, value, atol=6e-7)


def test_ddim_with_eta_one_is_the_posterior_of_the_process():
    for sde in (PROCESSES["vp"], PROCESSES["edm"], PROCESSES["smld"]):
        s, t = (float(sj.times.log_snr(sde, 4)[i]) for i in (2, 1))
        with jax.enable_x64(True):
            step = transition(sde, s, t)
            np.testing.assert_allclose([step.x, step.data, step.posterior], sde.posterior(s, t), rtol=1e-8)


def test_clipped_data_take_their_noise_with_them_or_leave_it():
    x = jnp.array([[3.0]])
    for rederive in (True, False):
        chain = reverse.chain(LINEAR, [0.5, 0.3], eta=0.5, clip=(-0.1, 0.1), rederive_noise=rederive)
        step = chain.step(0)
        mean, _ = chain.predict(LINEAR, lambda x, t: jnp.zeros_like(x), x, step)
        noise = (3.0 - step.alpha * 0.1) / step.sigma if rederive else 0.0
        np.testing.assert_allclose(mean, [[step.signal * 0.1 + step.noise * noise]], rtol=1e-5)


def test_every_mode_of_a_process_takes_its_own_step():
    sde = PerMode(rates=np.array([1.0, 4.0]), t_min=0.01, t_max=1.0)
    law = sj.analytic.gaussian([0.0, 0.0], [0.5, 0.5])
    chain = reverse.chain(sde, [0.8, 0.4, 0.1])
    draw = sj.sample(
        jax.random.key(0), sde, law.score(sde), (4, 2), stepper=samplers.reverse_chain(chain), times=chain.times
    )
    same = sj.sample(jax.random.key(0), sde, law.score(sde), (4, 2), stepper=samplers.ancestral(), times=chain.times)
    np.testing.assert_allclose(draw.x, same.x, rtol=1e-4)


def test_a_chain_refuses_what_it_cannot_step_through():
    refused = {
        "decrease strictly": lambda: reverse.chain(LINEAR, [0.5, 0.5, 0.1]),
        "at least two": lambda: reverse.chain(LINEAR, [0.5]),
        "lie in": lambda: reverse.chain(LINEAR, [1.5, 0.1]),
        "a time with noise": lambda: reverse.chain(LINEAR, [0.5, 0.0]),
        "unknown variance": lambda: reverse.chain(LINEAR, [0.5, 0.1], variance="beta"),
        "eta": lambda: reverse.chain(LINEAR, [0.5, 0.1], eta=1.5),
        "another schedule": lambda: reverse.chain(sj.ddpm("cosine"), [0.5, 0.1], variance=GAMMA),
        "every beta must lie": lambda: sj.ddpm("linear", 20),
        "last_noise": lambda: samplers.reverse_chain(reverse.chain(LINEAR, [0.5, 0.1]), last_noise=0.0),
        "traced": lambda: jax.jit(lambda sde: reverse.chain(sde, [0.5, 0.1]).steps.t)(LINEAR),
    }
    for message, call in refused.items():
        with pytest.raises(ValueError, match=message):
            call()


def test_times_that_float32_has_rounded_are_the_levels_they_were():
    times = trajectories.even(LINEAR, 30)
    exact, rounded = (reverse.chain(LINEAR, grid).steps for grid in (times, jnp.asarray(times, jnp.float32)))
    for name, values in vars(exact).items():
        np.testing.assert_array_equal(getattr(rounded, name), values, err_msg=name)


def test_steps_of_another_grid_are_not_taken():
    chain = reverse.chain(LINEAR, [1.0, 0.5, 0.1])
    for times in ([1.0, 0.6, 0.1], [1.0, 0.1]):
        with pytest.raises(ValueError, match="was made for 3 times"):
            sj.sample(
                jax.random.key(0), LINEAR, LAW.score(LINEAR), (2, 2),
                stepper=samplers.reverse_chain(chain), times=jnp.array(times),
            )  # fmt: skip


def test_a_chain_is_made_while_another_function_is_traced():
    times = np.array([0.5, 0.1])
    inside = jax.jit(lambda x: x * jnp.asarray(reverse.chain(LINEAR, times, variance=GAMMA).steps.variance))(1.0)
    np.testing.assert_allclose(inside, reverse.chain(LINEAR, times, variance=GAMMA).steps.variance, rtol=1e-6)
