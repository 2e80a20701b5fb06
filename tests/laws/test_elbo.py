import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_chains import LINEAR, TWO_HUMPS, exact_gamma, gamma_of, levels, nodes, normal_data
from scipy.stats import norm
from worlds import PerMode

import scorejax as sj
from scorejax import reverse
from scorejax.likelihood import decoder, elbo
from scorejax.likelihood.elbo import decoder_log_prob, kl_term, prior_term
from scorejax.numerics import keys as keys_lib
from scorejax.reverse import expected_kl
from scorejax.reverse import optimal_times as trajectories
from scorejax.reverse.variance import LearnedRange

# one program instead of twenty operations
HOW = ("centered", "endpoints", "cdf")
level_log_prob = jax.jit(decoder.level_log_prob, static_argnums=3, static_argnames=HOW)
level_points = jax.jit(decoder.level_points, static_argnums=1, static_argnames=HOW[:2])

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = np.load(FOLDER / "analytic_dpm_linear.npz")
WORLD = json.loads((FOLDER / "analytic_dpm_linear.json").read_text())
LAW = sj.analytic.mixture(WORLD["gmm"]["weights"], WORLD["gmm"]["means"], covariances=WORLD["gmm"]["covs"])
NATS = np.log(2.0)
CONTINUOUS = {"levels": None, "centered": True, "endpoints": False, "cdf": "exact"}


@pytest.fixture(scope="module")
def gamma():
    return exact_gamma(LINEAR, TWO_HUMPS, levels(LINEAR))


def kl_terms(chain, law, x0, noise, weights):
    """The expected KL terms in nats of an exact score, every step at once."""

    @jax.jit
    def term(i):
        step = chain.step(i)
        return weights @ kl_term(chain, step, LINEAR, law.score(LINEAR), x0, LINEAR.perturb(x0, step.t, noise))

    return np.asarray(jax.lax.map(term, jnp.arange(len(chain.times) - 1)))


@pytest.mark.slow
def test_the_bound_of_a_mixture_is_that_of_the_golden_numbers():
    x0 = LAW.sample(jax.random.key(0), 4000)
    golden_gamma = gamma_of(LINEAR, levels(LINEAR), GOLDEN["ms_eps"][1:])
    for name, variance in (("opt", golden_gamma), ("beta", "forward")):
        chain = reverse.chain(LINEAR, trajectories.even(LINEAR, 10), variance=variance)
        found = elbo(jax.random.key(1), LINEAR, LAW.score(LINEAR), x0, chain, prior_variance=1.0)
        expected = WORLD["elbo"][f"linear|K10|{name}"]
        np.testing.assert_allclose(found.total, found.prior + found.kl.sum(1) + found.decoder, atol=1e-5)
        for value, key in (
            (found.total, "nelbo_nats_per_dim"),
            (found.kl.sum(1), "kl_sum_nats_per_dim"),
            (found.decoder, "decoder_nats_per_dim"),
            (found.prior, "prior_nats_per_dim"),
        ):
            error = np.std(value) / 4000**0.5
            assert abs(np.mean(value) - expected[key] / NATS) < 4.5 * error, (name, key)
        terms = GOLDEN[f"kl_terms_{name}_linear_K10"][::-1] / 2 / NATS
        assert np.all(np.abs(found.kl.mean(0) - terms) < 4.5 * found.kl.std(0) / 4000**0.5)


@pytest.mark.slow
def test_a_kl_term_averages_to_its_closed_form(gamma):
    """E KL = (optimal / variance - 1 + log(variance / posterior)) / 2 for the exact score."""
    with jax.enable_x64(True):
        times = trajectories.even(LINEAR, 25)[-12:-2]
        for eta, variance in ((1.0, "posterior"), (1.0, gamma), (0.6, "forward")):
            best = reverse.chain(LINEAR, times, variance=gamma, eta=eta).steps
            chain = reverse.chain(LINEAR, times, variance=variance, eta=eta)
            found = kl_terms(chain, TWO_HUMPS, *nodes(TWO_HUMPS, 48))
            expected = expected_kl(best.variance, chain.steps.variance, best.posterior)
            np.testing.assert_allclose(found, expected, rtol=1e-5)


# KL part in bits/dim of an exact score on even trajectories: posterior (beta tilde), forward (beta), optimal
KNOWN = {
    10: (557.56, 5.6945, 5.4987),
    50: (38.6154, 5.1450, 5.0373),
    100: (17.2875, 5.0330, 4.9705),
    1000: (5.5227, 4.9181, 4.9110),
}


@pytest.mark.parametrize("k", KNOWN)
def test_the_optimal_variance_has_the_least_bound_at_every_length(gamma, k):
    times = trajectories.even(LINEAR, k)
    best = reverse.chain(LINEAR, times, variance=gamma).steps
    found = []
    with jax.enable_x64(True):
        for variance in ("posterior", "forward", gamma):
            steps = reverse.chain(LINEAR, times, variance=variance).steps
            terms = np.asarray(expected_kl(best.variance, steps.variance, steps.posterior)) / NATS
            assert np.all(terms > 0)
            found.append(terms.sum())
    assert found[2] == min(found)
    np.testing.assert_allclose(found, KNOWN[k], rtol=2e-5)


@pytest.mark.slow
def test_at_every_length_the_optimal_variance_and_the_optimal_path_cost_least(gamma):
    """bits(optimal) <= bits(beta), bits(beta tilde); and for each of them the optimal path is no worse than the even.

    All share the prior and, ending at the same level, the decoder: their bounds differ by their KL terms alone.
    """

    def cost(times, variance):
        best = reverse.chain(LINEAR, times, variance=gamma).steps
        own = best.variance if variance is gamma else getattr(best, variance)
        with jax.enable_x64(True):
            return float(np.sum(expected_kl(best.variance, own, best.posterior)))

    for k in (2, 3, 5, 10, 25, 50, 200, 400, 1000):
        grids = [trajectories.even(LINEAR, k)]
        if k <= 50:  # the search takes a time in proportion to k
            grids.append(trajectories.optimal(LINEAR, gamma, k))
        for times in grids:
            assert cost(times, gamma) <= min(cost(times, "forward"), cost(times, "posterior"))
        assert cost(grids[-1], gamma) <= cost(grids[0], gamma) * (1 + 1e-12)
        assert k == 2 or k > 50 or cost(grids[-1], gamma) < 0.999 * cost(grids[0], gamma)


def test_the_expected_kl_is_least_at_the_optimal_variance():
    with jax.enable_x64(True):
        best, posterior = jnp.array([0.3, 0.05]), jnp.array([0.1, 0.049])
        slope = jax.grad(lambda variance: jnp.sum(expected_kl(best, variance, posterior)))
        np.testing.assert_allclose(slope(best), 0.0, atol=1e-12)
        assert np.all(np.asarray(slope(1.1 * best)) > 0) and np.all(np.asarray(slope(0.9 * best)) < 0)
        np.testing.assert_allclose(expected_kl(best, best, posterior), 0.5 * np.log(best / posterior), rtol=1e-12)


# what the forward variance costs on the same trajectories
FORWARD = {2: 0.193104, 10: 0.108562, 200: 0.094436}


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 3, 10, 200])
def test_for_normal_data_the_optimal_bound_is_tight_but_for_the_prior(k):
    """-ELBO - H(q_0) = KL(q_T || N(0, 1)), the same number for every trajectory, here cut at t = 0.2."""
    s2, first = 0.25, 0.2
    law, x0, noise = normal_data(s2)
    with jax.enable_x64(True):
        gamma = exact_gamma(LINEAR, law, levels(LINEAR)[:200])
        last = 0.001 if k > 1 else first
        chains = [
            reverse.chain(LINEAR, np.round(np.linspace(200, 1, max(k, 2))) / 1000, variance=variance)
            for variance in (gamma, "forward")
        ]
        weights, score = np.full(4, 0.25), law.score(LINEAR)
        ends = weights @ prior_term(LINEAR, x0, first, jnp.asarray(1.0))
        left = LINEAR.variance(jnp.asarray(last)) / LINEAR.alpha(last) ** 2
        spread = np.full(2, left * s2 / (left + s2))
        ends -= weights @ decoder_log_prob(
            chains[0], LINEAR, score, x0, LINEAR.perturb(x0, last, noise), last, spread, **CONTINUOUS
        )
        ends = float(ends) - 0.5 * np.log(2 * np.pi * np.e * s2)
        best, forward = (kl_terms(c, law, x0, noise, weights).sum() if k > 1 else 0.0 for c in chains)
    np.testing.assert_allclose(ends + best, 0.0937455145, atol=2e-9)
    if k in FORWARD:
        np.testing.assert_allclose(ends + forward, FORWARD[k], atol=6e-7)


def test_the_prior_costs_of_unit_data_are_the_known_ones():
    with jax.enable_x64(True):
        for schedule, bits in (("linear", 2.91e-5), ("cosine", 1.75e-9)):
            cost = prior_term(sj.ddpm(schedule), jnp.ones((1, 1)), 1.0, jnp.asarray(1.0)) / NATS
            np.testing.assert_allclose(cost, bits, rtol=2e-3)


@pytest.mark.parametrize("cdf", ["exact", "tanh"])
@pytest.mark.parametrize("endpoints", [False, True])
@pytest.mark.parametrize("centered", [False, True])
def test_the_probabilities_of_all_levels_sum_to_one(cdf, endpoints, centered):
    with jax.enable_x64(True):
        where = {"centered": centered, "endpoints": endpoints}
        points = level_points(np.arange(256), 256, **where)
        mean = np.linspace(-1.2, 1.2, 9)[:, None]
        for variance in (1e-2, 1.0):
            logp = level_log_prob(points, mean, variance, 256, cdf=cdf, **where)
            # the tanh form holds every probability at 1e-12 or more
            np.testing.assert_allclose(np.exp(logp).sum(1), 1.0, atol=256e-12 if cdf == "tanh" else 1e-12)


def test_the_two_decoders_differ_by_what_is_known():
    with jax.enable_x64(True):
        points = level_points(np.arange(256), 256, endpoints=True)
        mean = np.linspace(-1, 1, 41)[:, None]
        for sd in (0.005, 0.01, 0.03):
            exact, tanh = (
                np.exp(level_log_prob(points, mean, sd**2, 256, endpoints=True, cdf=cdf)) for cdf in ("exact", "tanh")
            )
            # the tanh form of the CDF is off by 1.789e-4 at most, a difference of two by twice that
            assert 1e-5 < np.abs(exact - tanh).max() < 3.58e-4
        # the lowest of two levels, at -1, has everything below 0: of a Gaussian of mean -z its probability is CDF(z)
        z = np.linspace(-5.0, 5.0, 100_001)
        where = {"endpoints": True, "cdf": "tanh"}
        found = np.exp(level_log_prob(np.float64(-1.0), -z, np.float64(1.0), 2, **where))
        np.testing.assert_allclose(np.abs(found - norm.cdf(z)).max(), 1.789e-4, atol=5e-8)


def test_far_from_its_mean_a_level_has_a_finite_probability_and_gradient():
    points = level_points(np.array([0, 1, 100, 254, 255]), 256)
    with_slope = jax.jit(
        jax.vmap(jax.value_and_grad(lambda m, x: level_log_prob(x, m, jnp.float32(1e-6), 256)), (None, 0))
    )
    for mean in (-1.0, 0.0, 0.99):
        value, slope = map(np.asarray, with_slope(np.float32(mean), points))
        assert np.all(np.isfinite(value) & np.isfinite(slope))
        assert np.all(np.asarray(value) <= 0)


def test_the_decoder_treats_both_tails_alike():
    k = np.arange(0, 256, 5)
    for mean, variance in ((-0.9, 1e-5), (0.3, 1e-4), (0.0, 1.0)):
        here = level_log_prob(level_points(k, 256), np.float32(mean), np.float32(variance), 256)
        mirror = level_log_prob(level_points(255 - k, 256), np.float32(-mean), np.float32(variance), 256)
        np.testing.assert_allclose(here, mirror, rtol=2e-4)


def test_levels_and_their_points_are_the_same_data():
    k = np.arange(256)
    for options in ({}, {"endpoints": True}, {"centered": False}):
        points = level_points(k, 256, **options)
        np.testing.assert_allclose(level_points(points, 256, **options), points, atol=1e-6)
    dequantized = sj.likelihood.dequantize_uniform(jax.random.key(0), k, 256) * 2 - 1
    np.testing.assert_allclose(level_points(dequantized, 256), level_points(k, 256), atol=1e-6)


@pytest.mark.slow
def test_the_bound_in_bits_lies_above_the_entropy_of_the_levels():
    """Uniform levels have 8 bits; a score that knows only their variance pays more, but not much."""
    x0 = jax.random.randint(jax.random.key(0), (2000, 1), 0, 256)
    law = sj.analytic.gaussian([0.0], [1 / 3])
    sde = sj.ddpm(n=100)
    times = trajectories.even(sde, 100)
    chain = reverse.chain(sde, times, variance=exact_gamma(sde, law, times))
    found = elbo(jax.random.key(1), sde, law.score(sde), x0, chain, levels=256)
    assert 8.0 < found.total.mean() < 9.5
    tanh = elbo(jax.random.key(1), sde, law.score(sde), x0, chain, levels=256, cdf="tanh")
    np.testing.assert_allclose(tanh.kl, found.kl)
    np.testing.assert_allclose(tanh.decoder.mean(), found.decoder.mean(), atol=0.01)


@pytest.mark.slow
def test_an_example_has_the_same_bound_in_any_batch():
    x0 = TWO_HUMPS.sample(jax.random.key(0), 8)
    keys = keys_lib.per_example(jax.random.key(1), 8)
    chain = reverse.chain(LINEAR, trajectories.even(LINEAR, 5))
    whole = elbo(keys, LINEAR, TWO_HUMPS.score(LINEAR), x0, chain)
    part = elbo(keys[4:], LINEAR, TWO_HUMPS.score(LINEAR), x0[4:], chain)
    np.testing.assert_allclose(whole.total[4:], part.total, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("proposal", ["uniform", "by size"])
def test_a_subset_of_the_terms_is_an_unbiased_estimate_of_all(proposal):
    x0 = jnp.tile(TWO_HUMPS.sample(jax.random.key(0), 1), (20_000, 1))
    chain = reverse.chain(LINEAR, trajectories.even(LINEAR, 10), variance="forward")
    score = TWO_HUMPS.score(LINEAR)
    every = elbo(jax.random.key(1), LINEAR, score, x0, chain).kl
    sizes = np.asarray(every.mean(0), np.float64)
    some = elbo(
        jax.random.key(2), LINEAR, score, x0, chain, terms=2,
        proposal=None if proposal == "uniform" else sizes / sizes.sum(),
    ).kl.sum(1)  # fmt: skip
    assert some.shape == (20_000,)
    error = np.hypot(np.std(some), np.std(every.sum(1))) / 20_000**0.5
    assert abs(np.mean(some) - np.mean(every.sum(1))) < 4.5 * error
    if proposal == "by size":
        assert error < 0.05


@pytest.mark.slow
def test_a_learned_range_runs_from_the_posterior_to_the_forward_variance():
    x0 = TWO_HUMPS.sample(jax.random.key(0), 8)

    def bound(variance):
        chain = reverse.chain(LINEAR, trajectories.even(LINEAR, 5), variance=variance)
        return elbo(jax.random.key(1), LINEAR, TWO_HUMPS.score(LINEAR), x0, chain)

    least, most = (bound(LearnedRange(jax.tree_util.Partial(fill, share))) for share in (0.0, 1.0))
    np.testing.assert_allclose(least.kl, bound("posterior").kl, rtol=1e-4)
    np.testing.assert_allclose(most.kl, bound("forward").kl, rtol=1e-4)
    np.testing.assert_allclose(least.decoder, bound("posterior").decoder, rtol=1e-5)
    assert not np.allclose(most.decoder, least.decoder)  # the last variance is beta_1, not beta tilde_2


def fill(value, x, t):
    return jnp.full_like(x, value)


def test_clipping_the_predicted_data_changes_the_bound_it_belongs_to():
    x0 = TWO_HUMPS.sample(jax.random.key(0), 8)
    times = trajectories.even(LINEAR, 5)

    def bound(clip):
        chain = reverse.chain(LINEAR, times, variance="forward", clip=clip)
        return elbo(jax.random.key(1), LINEAR, TWO_HUMPS.score(LINEAR), x0, chain).total

    assert bound((-0.2, 0.2)).mean() > bound(None).mean() + 1.0


@pytest.mark.slow
def test_a_process_with_a_rate_for_every_mode_has_a_bound_but_no_decoder_of_gray_levels():
    sde = PerMode(rates=np.array([1.0, 4.0]), t_min=0.01, t_max=1.0)
    law = sj.analytic.gaussian([0.0, 0.0], [0.5, 0.5])
    chain = reverse.chain(sde, [0.8, 0.4, 0.1])
    x0, x = np.random.default_rng(0).standard_normal((2, 3, 2)).astype(np.float32)

    def first_term(sde, law, x0, x):
        steps = reverse.chain(sde, [0.8, 0.4, 0.1])
        return np.asarray(jax.jit(lambda x0, x: kl_term(steps, steps.step(0), sde, law.score(sde), x0, x))(x0, x))

    both = first_term(sde, law, x0, x)
    each = 0.0
    for i, rate in enumerate((1.0, 4.0)):  # the two modes are independent processes of their own
        one, marginal = PerMode(rates=np.array([rate]), t_min=0.01, t_max=1.0), sj.analytic.gaussian([0.0], [0.5])
        each += first_term(one, marginal, x0[:, i : i + 1], x[:, i : i + 1])
    np.testing.assert_allclose(both, each, rtol=1e-4)
    assert np.all(np.isfinite(elbo(jax.random.key(0), sde, law.score(sde), x0, chain).total))
    with pytest.raises(ValueError, match="gray levels"):
        elbo(jax.random.key(0), sde, law.score(sde), np.zeros((3, 2), np.uint8), chain, levels=256)


def test_a_bound_refuses_what_has_none():
    x0, score = jnp.zeros((2, 1)), TWO_HUMPS.score(LINEAR)
    chain = reverse.chain(LINEAR, [0.5, 0.1])

    def call(chain=chain, x0=x0, **options):
        return elbo(jax.random.key(0), LINEAR, score, x0, chain, **options)

    refused = {
        "bound is infinite": lambda: call(reverse.chain(LINEAR, [0.5, 0.1], eta=0.0)),
        "unknown cdf": lambda: call(cdf="erf"),
        "integer data need levels": lambda: call(x0=jnp.zeros((2, 1), jnp.int32)),
        "2 to 256 levels": lambda: call(levels=1000),
        "terms must be": lambda: call(terms=0),
        "proposal must be": lambda: call(terms=1, proposal=[0.5, 0.5]),
        "give terms": lambda: call(proposal=[1.0]),
    }
    for message, attempt in refused.items():
        with pytest.raises(ValueError, match=message):
            attempt()


@pytest.mark.parametrize("sde", [sj.smld(), sj.smld(0.01, 1.0, 5), sj.ddpm(), sj.ddpm("cosine"), sj.ddpm("quad")])
@pytest.mark.slow
def test_the_default_decoder_has_the_spread_that_the_last_noise_hides(sde):
    law, count = sj.analytic.gaussian([0.0, 0.0], [0.3, 0.3]), sde.levels
    chain = reverse.chain(sde, np.array([3.0, 2.0, 1.0]) / count)
    x0 = law.sample(jax.random.key(0), 2000)
    found = elbo(jax.random.key(1), sde, law.score(sde), x0, chain, terms=1).decoder
    least = 0.5 * np.log2(2.0 * np.pi * np.e * float(sde.sigma(sde.t_min)) ** 2)  # of a variance sigma^2
    assert -0.05 < float(np.mean(found)) - least < 0.24
