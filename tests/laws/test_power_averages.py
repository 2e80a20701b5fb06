"""Averages by power functions of time, and averages of other lengths out of their snapshots."""

import numpy as np
import pytest

from scorejax.numerics import power_averages

EXPONENTS = {  # of Karras et al. (2023), by the relative length
    0.02: 46.98958,
    0.03: 30.31737,
    0.05: 16.97220,
    0.075: 10.28912,
    0.10: 6.937204,
    0.15: 3.557869,
    0.20: 1.826214,
    0.25: 0.719824,
}
T = 4096
TARGETS = (0.03, 0.04, 0.07, 0.15, 0.20)


def snapshots(count, lengths=(0.05, 0.10)):
    """Lengths and times of so many equally spaced snapshots."""
    times = [T * (k + 1) / count for k in range(count)]
    return [length for length in lengths for _ in times], times * len(lengths)


@pytest.mark.parametrize(("length", "exponent"), EXPONENTS.items())
def test_lengths_have_the_published_exponents(length, exponent):
    assert power_averages.exponent(length) == pytest.approx(exponent, abs=1e-5)
    assert power_averages.length(exponent) == pytest.approx(length, abs=1e-7)


def test_the_mean_is_the_longest_and_known_ramps_have_their_lengths():
    assert power_averages.exponent(power_averages.LONGEST) == pytest.approx(0.0, abs=1e-9)
    assert power_averages.length(8.0) == pytest.approx(0.09045, abs=1e-5)  # (1 + n) / (10 + n)
    assert power_averages.length(12.863) == pytest.approx(0.0629, abs=1e-4)  # the ramp of EDM
    for length in (0.0, 0.3, -0.1):
        with pytest.raises(ValueError, match="relative length"):
            power_averages.exponent(length)


@pytest.mark.parametrize("power", [1.0, 2.5])
def test_the_average_of_a_power_is_that_power_times_a_factor(power):
    g, steps = power_averages.exponent(0.1), np.arange(1, T + 1)
    average = 123.0  # what it begins with is forgotten
    for new, step in zip(np.asarray(power_averages.newest_share(g, steps)), steps, strict=True):
        average += new * (step**power - average)
    assert average / T**power == pytest.approx((g + 1) / (g + power + 1), abs=10 / T)


def test_the_share_of_the_newest_weights_is_exact_after_ten_million_steps():
    # the power of a float32 next to 1 would be off by tens of percent
    g = power_averages.exponent(0.1)
    assert float(power_averages.newest_share(g, 10_000_000)) == pytest.approx((g + 1) * 1e-7, rel=1e-5)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (16, (3.9e-2, 1.0e-2, 3.8e-3, 9.0e-3, 2.3e-2)),
        (32, (1.1e-2, 2.8e-3, 9.8e-4, 2.3e-3, 6.4e-3)),
        (64, (2.9e-3, 7.1e-4, 2.5e-4, 5.8e-4, 1.7e-3)),
    ],
)
def test_windows_of_other_lengths_are_combined_of_snapshots(count, expected):
    lengths, times = snapshots(count)
    tau = (np.arange(T) + 0.5)[:, None]

    def window(length, time):
        g = np.array([power_averages.exponent(one) for one in np.atleast_1d(length)])
        return np.where(tau <= time, (g + 1) / time * (tau / time) ** g, 0.0)

    every = window(lengths, np.asarray(times))
    for target, error in zip(TARGETS, expected, strict=True):
        factors = power_averages.combination(lengths, times, target)
        wanted = window(target, T)[:, 0]
        found = np.linalg.norm(every @ factors - wanted) / np.linalg.norm(wanted)
        assert found == pytest.approx(error, rel=0.03)
        assert power_averages.misfit(lengths, times, factors, target, T) == pytest.approx(found, rel=0.01)
        assert np.sum(factors) == pytest.approx(1.0, abs=1e-12)


def test_one_length_alone_does_not_reach_shorter_ones():
    lengths, times = snapshots(64, (0.10,))
    factors = power_averages.combination(lengths, times, 0.05)
    assert power_averages.misfit(lengths, times, factors, 0.05, T) == pytest.approx(4.6e-2, rel=0.02)


def test_a_path_like_that_of_gradient_descent_is_averaged_to_half_a_thousandth():
    hat = np.random.default_rng(0)
    n = np.arange(1, T + 1)[:, None]
    path = np.exp(-n / 800) + 0.03 * hat.standard_normal((T, 8)) + 1.0
    averages = {}
    for length in (0.05, 0.07, 0.10):
        shares = np.asarray(power_averages.newest_share(power_averages.exponent(length), n[:, 0]), np.float64)
        found, average = [], np.zeros(8)
        for share, point in zip(shares, path, strict=True):
            average = average + share * (point - average)
            found.append(average)
        averages[length] = np.array(found)
    lengths, times = snapshots(32)
    parts = np.stack([averages[length][int(time) - 1] for length, time in zip(lengths, times, strict=True)])
    made = power_averages.combination(lengths, times, 0.07) @ parts
    wanted = averages[0.07][-1]
    assert np.linalg.norm(made - wanted) / np.linalg.norm(wanted) < 5e-4
