"""NCSNv2's rules against the schedules it published: (D, sigma_max, levels, steps, epsilon), sigma_min = 0.01."""

import numpy as np
import pytest

from scorejax.sdes import ncsnv2_levels as nl

SIGMA_MIN = 0.01
PUBLISHED = {
    "cifar10": (32 * 32 * 3, 50, 232, 5, 6.2e-6),
    "celeba": (64 * 64 * 3, 90, 500, 5, 3.3e-6),
    "church": (96 * 96 * 3, 140, 788, 4, 4.9e-6),
    "bedroom": (128 * 128 * 3, 190, 1086, 3, 1.8e-6),
    "ffhq": (256 * 256 * 3, 348, 2311, 3, 9e-7),
}


def cloud(n, dims, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dims)).astype(np.float32)


def brute_force(data):
    flat = data.reshape(len(data), -1).astype(np.float64)
    return max(np.linalg.norm(flat - point, axis=1).max() for point in flat)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_schedules_have_one_overlap_and_are_found_again_from_it(name):
    dims, sigma_max, n, _, _ = PUBLISHED[name]
    overlap = nl.level_overlap(nl.level_ratio(SIGMA_MIN, sigma_max, n), dims)
    assert 0.566 <= overlap < 0.5675
    assert nl.number_of_levels(dims, SIGMA_MIN, sigma_max, overlap - 1e-12) == n
    assert nl.number_of_levels(dims, SIGMA_MIN, sigma_max, overlap + 1e-12) == n + 1


def test_overlap_is_the_probability_of_a_neighbour_under_three_sigma():
    """Radii of noise of scale s in D dimensions: s sqrt(D) +- s / sqrt(2); three sigma of the larger, in its units."""
    dims, ratio = 400, 1.08
    radii = 1.0 * np.sqrt(dims) + np.random.default_rng(0).standard_normal(200_000) / np.sqrt(2)
    inside = np.abs(radii - ratio * np.sqrt(dims)) < 3 * ratio / np.sqrt(2)
    np.testing.assert_allclose(nl.level_overlap(ratio, dims), inside.mean(), atol=5 * 0.5 / 200_000**0.5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_step_sizes_leave_the_variance_nearly_right(name):
    _, sigma_max, n, steps, epsilon = PUBLISHED[name]
    ratio, relative = nl.level_ratio(SIGMA_MIN, sigma_max, n), epsilon / SIGMA_MIN**2
    published = nl.variance_after(ratio, steps, relative)
    expected = {"cifar10": 1.0555, "celeba": 1.0314, "church": 1.0247, "bedroom": 1.0174, "ffhq": 1.0089}
    np.testing.assert_allclose(published, expected[name], atol=6e-5)
    found = nl.step_size(ratio, steps, SIGMA_MIN)
    assert 1.0 < nl.variance_after(ratio, steps, found / SIGMA_MIN**2) <= published
    if name != "church":  # whose published step is twice the best one
        np.testing.assert_allclose(found, epsilon, rtol=0.02)  # two digits


def test_the_step_size_is_the_best_one():
    for ratio, steps in ((1.0376, 5), (1.668, 100), (1.2, 1)):
        best = nl.step_size(ratio, steps, 1.0)
        for other in (0.9 * best, 1.1 * best):
            assert nl.variance_after(ratio, steps, other) >= nl.variance_after(ratio, steps, best)


def test_ncsn_has_long_steps_that_mix_fully():
    """e / sigma_i^2 = 0.2 at every level: ten levels from 1 to 0.01, 100 steps of epsilon = 2e-5."""
    ratio = nl.level_ratio(0.01, 1.0, 10)
    np.testing.assert_allclose(nl.variance_after(ratio, 100, 0.2), 10 / 9, rtol=1e-6)


@pytest.mark.parametrize("block", [7, 64, 1000])
def test_the_largest_distance_is_the_largest(block):
    data = cloud(150, 12).reshape(150, 2, 2, 3)
    np.testing.assert_allclose(nl.largest_distance(data, block=block), brute_force(data), rtol=1e-12)
    np.testing.assert_allclose(nl.largest_distance(data + 1000, block=block), brute_force(data + 1000), rtol=1e-5)


def test_integers_are_not_wrapped():
    data = np.array([[0, 0], [255, 255], [10, 250]], np.uint8)
    np.testing.assert_allclose(nl.largest_distance(data), 255 * 2**0.5)
    assert nl.largest_distance(np.zeros((5, 3))) == 0.0


@pytest.mark.slow
def test_of_many_examples_those_far_from_the_mean_are_compared():
    data = cloud(3000, 20)
    exact = brute_force(data)
    np.testing.assert_allclose(nl.largest_distance(data, limit=600), exact, rtol=1e-12)
    assert 0.9 * exact < nl.largest_distance(data, limit=20) <= exact
    data[17], data[2345] = 4.0, -4.0
    np.testing.assert_allclose(nl.largest_distance(data, limit=2), brute_force(data), rtol=1e-12)


def test_suggested_levels_follow_from_the_data():
    data = np.random.default_rng(0).random((300, 8, 8, 3))
    levels = nl.suggest(data, steps=3)
    assert (levels.sigma_max, levels.steps) == (nl.largest_distance(data), 3)
    assert levels.n == nl.number_of_levels(192, 0.01, levels.sigma_max)
    assert levels.epsilon == nl.step_size(nl.level_ratio(0.01, levels.sigma_max, levels.n), 3, 0.01)


REFUSED = {
    "one example": (lambda: nl.largest_distance(np.ones((1, 4))), "two examples"),
    "few dimensions": (lambda: nl.number_of_levels(2, 0.01, 1.0), "choose the number yourself"),
    "sigmas in the wrong order": (lambda: nl.number_of_levels(100, 1.0, 0.01), "sigma_min < sigma_max"),
    "an overlap of one": (lambda: nl.number_of_levels(100, 0.01, 1.0, 1.0), "overlap must lie"),
    "no steps": (lambda: nl.step_size(1.1, 0, 0.01), "steps >= 1"),
    "one level": (lambda: nl.step_size(1.0, 5, 0.01), "ratio > 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refuses(what):
    call, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        call()
