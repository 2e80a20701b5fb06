from itertools import combinations, pairwise

import jax
import numpy as np
import pytest
from exact_chains import LINEAR, TWO_HUMPS, exact_gamma, gamma_of, levels, normal_data

import scorejax as sj
from scorejax import reverse
from scorejax.reverse import expected_kl
from scorejax.reverse import optimal_times as trajectories


@pytest.fixture(scope="module")
def gamma():
    return exact_gamma(LINEAR, TWO_HUMPS, levels(LINEAR))


def numbers(times, n=1000):
    return (np.round(times[::-1] * n)).astype(int).tolist()


def test_even_and_ddim_trajectories_visit_the_published_levels():
    assert numbers(trajectories.even(LINEAR, 10)) == [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000]
    assert numbers(trajectories.even(LINEAR, 25))[:4] == [1, 43, 84, 126]
    assert numbers(trajectories.even(LINEAR, 1000)) == list(range(1, 1001))
    assert numbers(trajectories.ddim_uniform(LINEAR, 10)) == [1 + 100 * i for i in range(10)]
    quadratic = numbers(trajectories.ddim_quadratic(LINEAR, 10))
    assert quadratic == [1 + int(x**2) for x in np.linspace(0, np.sqrt(800), 10)]
    assert np.all(np.diff(trajectories.ddim_quadratic(LINEAR, 500)) < 0)
    for name in ("even", "ddim_uniform", "ddim_quadratic"):
        np.testing.assert_array_equal(getattr(trajectories, name)(LINEAR, 10), sj.times.GRIDS[name](LINEAR, 9))
    np.testing.assert_allclose(trajectories.even(sj.vp(), 5), sj.times.uniform(sj.vp(), 4), rtol=1e-6)


def test_dynamic_programming_finds_what_brute_force_finds():
    sde = sj.ddpm(np.linspace(0.005, 0.4, 14))
    gamma = exact_gamma(sde, TWO_HUMPS, levels(sde))
    cost = trajectories.path_cost(sde, gamma)

    def total(path):
        return sum(cost[i, j] for i, j in pairwise(path))

    paths = [(0, *middle, 13) for middle in combinations(range(1, 13), 4)]
    totals = [total(path) for path in paths]
    best = trajectories.optimal(sde, gamma, 6)
    assert numbers(best, 14) == [i + 1 for i in paths[int(np.argmin(totals))]] == [1, 2, 3, 4, 5, 14]
    np.testing.assert_allclose([min(totals), max(totals)], [3.40996779, 3.88159278], atol=1e-7)
    even = np.array(numbers(trajectories.even(sde, 6), 14)) - 1
    np.testing.assert_allclose(total(even), 3.79755615, atol=1e-7)


def test_the_cost_of_a_path_is_twice_its_expected_kl(gamma):
    times = trajectories.even(LINEAR, 10)
    steps = reverse.chain(LINEAR, times, variance=gamma).steps
    cost = trajectories.path_cost(LINEAR, gamma)
    i = np.array(numbers(times)) - 1
    with jax.enable_x64(True):
        kl = np.asarray(expected_kl(steps.variance, steps.variance, steps.posterior))[::-1]
    np.testing.assert_allclose(0.5 * cost[i[:-1], i[1:]], kl, rtol=1e-9)


def test_the_two_forms_of_the_cost_differ_by_a_constant_of_the_ends(gamma):
    """log(sigma^2 / beta tilde) and log(1 - b Gamma): their difference telescopes."""
    for k in (3, 20, 200):
        steps = reverse.chain(LINEAR, trajectories.even(LINEAR, k), variance=gamma).steps
        short = np.log1p(-steps.forward * np.interp(steps.t, gamma.times, gamma.mean_square / gamma.variance))
        difference = np.sum(np.log(steps.variance / steps.posterior) - short)
        np.testing.assert_allclose(difference, 19.327913550, atol=2e-7)


@pytest.mark.slow
@pytest.mark.parametrize("eta", [1.0, 0.3])
def test_the_optimal_path_is_never_worse_than_an_even_one(gamma, eta):
    cost = trajectories.path_cost(LINEAR, gamma, eta)
    for k in (2, 10, 40):
        paths = [
            np.array(numbers(f)) - 1
            for f in (trajectories.optimal(LINEAR, gamma, k, eta=eta), trajectories.even(LINEAR, k))
        ]
        best, even = (np.sum(cost[p[:-1], p[1:]]) for p in paths)
        assert len(paths[0]) == k
        assert best <= even * (1 + 1e-12)
        assert k == 2 or best < 0.99 * even


def test_for_normal_data_every_path_costs_the_same():
    """The reverse process of normal data is itself a chain of normal steps: none of them loses anything."""
    law, *_ = normal_data(0.25)
    sde = sj.ddpm(np.linspace(0.005, 0.4, 14))
    cost = trajectories.path_cost(sde, exact_gamma(sde, law, levels(sde)))
    totals = [
        sum(cost[i, j] for i, j in pairwise(path))
        for path in ((0, *middle, 13) for middle in combinations(range(1, 13), 3))
    ]
    np.testing.assert_allclose(totals, 3.91773621, rtol=2e-9)


def test_where_a_network_finds_more_noise_than_there_is_the_path_is_even():
    values = np.linspace(0.2, 0.999, 1000)
    values[900:] = 1.001  # 100 levels, and 100 before them
    path = numbers(trajectories.optimal(LINEAR, gamma_of(LINEAR, levels(LINEAR), values), 50))
    assert len(path) == 50
    assert path[0] == 1
    assert path[-9:] == list(range(800, 1001, 25))


def test_trajectories_refuse_what_they_cannot_visit(gamma):
    refused = {
        "fewer steps": lambda: trajectories.even(LINEAR, 1001),
        "at least one step": lambda: trajectories.even(LINEAR, 1),
        "at most": lambda: trajectories.optimal(LINEAR, gamma, 2000),
        "bound is infinite": lambda: trajectories.optimal(LINEAR, gamma, 10, eta=0.0),
        "another schedule": lambda: trajectories.optimal(sj.ddpm("cosine"), gamma, 10),
    }
    for message, call in refused.items():
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.slow
def test_the_optimal_grid_is_the_optimal_trajectory_of_what_was_fitted(gamma):
    found = sj.samplers.GRIDS["optimal"](LINEAR, 9, eta=0.5, fitted={"analytic": gamma}.get)
    np.testing.assert_array_equal(found, trajectories.optimal(LINEAR, gamma, 10, eta=0.5))
    late = sj.samplers.GRIDS["optimal"](LINEAR, 9, t_min=0.2, fitted={"analytic": gamma}.get)
    np.testing.assert_array_equal(late, trajectories.optimal(LINEAR, gamma.since(0.2), 10))
    assert late[-1] == pytest.approx(0.2)
