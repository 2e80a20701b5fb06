"""Figures of calibration: on their nominal values for exact draws, and off them by the stated amounts for others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import scorejax as sj
from scorejax import calibration

KEY, DRAWS = jax.random.key(0), 99


def simulate(key):
    """Four numbers of N(0, 1), each measured with noise of the same size: the posterior is N(y / 2, 1 / 2)."""
    x, noise = jax.random.normal(key, (2, 4))
    return x, x + noise


def exact(y):
    return sj.worlds.Exact(0.5 * y, jnp.full(4, np.sqrt(0.5)), jax.scipy.stats.norm.cdf(y / np.sqrt(2.0)))


def measured(factor, **options):
    """Draws that are `factor` times as far from the posterior mean as exact ones."""
    return calibration.run(
        KEY, simulate, lambda key, y, n: 0.5 * y + factor * np.sqrt(0.5) * jax.random.normal(key, (n, 4)),
        replicates=1000, chunk=500, exact=exact, **options,
        log_density=lambda x, y: -jnp.sum((x - 0.5 * y) ** 2, axis=1),
    )  # fmt: skip


def is_nominal(found):
    for figure in (found.coverage, found.directions, found.hpd):
        assert abs(figure.value - 0.9) < 0.02 + figure.stderr
    assert min(found.sbc.value, found.sbc.kolmogorov, found.tarp.value) > 0.01
    assert abs(found.sbc.spread.value - 1.0) < 4.0 * found.sbc.spread.stderr
    assert abs(found.gap_db.value - 10.0 * np.log10(1.0 + 1.0 / DRAWS)) < 4.0 * found.gap_db.stderr
    assert abs(found.std_ratio.value - 1.0) < 0.01
    assert found.shares.value < 0.05
    assert found.verdict().startswith("calibrated")


def test_exact_draws_have_every_nominal_figure():
    is_nominal(measured(1.0, regions=lambda x: (x > 0).astype(x.dtype)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["w1", "w3"])
def test_draws_of_the_worlds_have_every_nominal_figure(name):
    world = getattr(sj.worlds, name)()
    is_nominal(calibration.run(
        KEY, world.simulate, world.draw, replicates=1000, chunk=250,
        exact=world.exact, regions=world.regions, log_density=world.log_joint,
    ))  # fmt: skip


def test_narrow_draws_are_seen_by_coverage_ranks_regions_and_balls():
    found = measured(0.8)
    assert found.coverage.value < 0.84
    assert found.hpd.value < 0.8
    assert found.sbc.value < 1e-6
    assert found.tarp.value < 0.05
    assert abs(found.std_ratio.value - 0.8) < 0.01
    assert found.verdict().startswith("too narrow")
    assert found.shares is None and "shares" not in found.figures() and "std_ratio" in str(found)


def test_ranks_four_times_in_five_show_a_posterior_that_is_a_fifth_too_narrow():
    rng, seen = np.random.default_rng(0), 0
    for _ in range(400):
        draws = 0.8 * rng.standard_normal((250, DRAWS))
        ranks = (draws < rng.standard_normal((250, 1))).sum(axis=1)
        seen += calibration.sbc(ranks, DRAWS).value < 0.05
    assert seen >= 300  # the power is 0.80


def test_ties_are_broken_evenly():
    truth, draws = jnp.zeros(4000), jnp.zeros((19, 4000))
    ranks = np.asarray(jax.jit(calibration.ranks)(KEY, truth, draws))
    assert calibration.sbc(ranks, 19).value > 0.01
    assert set(ranks) == set(range(20))


def test_the_score_of_a_normal_posterior_is_nearly_blind_to_its_width():
    # quantiles in the place of draws and of truths
    grid = norm.ppf((np.arange(700) + 0.5) / 700)
    values = {ratio: calibration.crps(grid, np.broadcast_to(ratio * grid, (700, 700))).value for ratio in (1, 0.8, 0.5)}
    np.testing.assert_allclose(values[1], 1.0 / np.sqrt(np.pi), atol=2e-3)
    for ratio, value in values.items():
        np.testing.assert_allclose(value / values[1], np.sqrt(2.0 * (1.0 + ratio**2)) - ratio, atol=1e-3)


def test_the_gap_of_exact_draws_is_that_of_their_number():
    rng = np.random.default_rng(0)
    truth, means = rng.standard_normal((20_000, 3)), rng.standard_normal((20_000, 3)) / np.sqrt(50)
    found = calibration.mmse_gap(truth, means, np.zeros_like(truth))
    assert abs(found.value - 10.0 * np.log10(1.0 + 1.0 / 50)) < 4.0 * found.stderr
    assert found.stderr < 0.02


def test_distances_of_one_law_are_at_their_floor_and_their_errors_are_the_scatter():
    rng = np.random.default_rng(0)
    values = [calibration.mmd(*rng.standard_normal((2, 100, 3)), seed=i) for i in range(40)]
    z = np.array([found.value / found.stderr for found in values])
    assert abs(z.mean()) < 0.6
    assert 0.6 < z.std() < 1.5
    x, y = rng.standard_normal((2, 300, 2))
    assert calibration.sliced_wasserstein(x, y + 1.0).value > 0.3
    assert calibration.mmd(x, y + 1.0).value > 5.0 * calibration.mmd(x, y + 1.0).stderr
    assert calibration.c2st(x, y + 3.0, epochs=30).value > 0.9


def test_the_number_of_replicates_follows_from_the_question():
    assert calibration.replicates_for(0.02) == 865
    assert [calibration.replicates_to_see(p) for p in (0.88, 0.87, 0.92)] == [1856, 843, 1666]


def few():
    return sj.worlds.w1()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: calibration.coverage(np.zeros(5), 50), "no 0.05 can be cut off exactly"),
        (lambda: calibration.sbc(np.zeros(500, int), 50), "20 bins must divide the 51 ranks"),
        (lambda: calibration.sbc(np.zeros(50, int), 99), "at least 100 replicates"),
        (lambda: calibration.run(KEY, few().simulate, few().draw, replicates=100, draws=50), "divided by 20"),
        (lambda: calibration.run(KEY, few().simulate, few().draw, replicates=10), "at least 100 replicates, got 10"),
        (lambda: calibration.run(KEY, few().simulate, few().draw, replicates=100, regions=few().regions), "exact="),
        (lambda: calibration.replicates_to_see(0.9), "must differ"),
        (lambda: calibration.replicates_for(1.5), "between 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_verdict_needs_four_hundred_ranks():
    found = calibration.Calibration(np.zeros((100, 2)), 99, 0.9, *[calibration.Measured(0.9, 0.01)] * 9)
    with pytest.raises(ValueError, match="200 ranks are too few"):
        found.verdict()
