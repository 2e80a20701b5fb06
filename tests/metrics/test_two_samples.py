"""Distances between two sets of features, held against laws whose distances are known."""

import numpy as np
import pytest

from scorejax import data, metrics


def normal(n, width=1, seed=0):
    return np.random.default_rng(seed).standard_normal((n, width))


@pytest.mark.parametrize(("shift", "scale", "exact"), [(1, 1, 0.541807), (0.5, 1, 0.139596), (0, 2, 0.183111)])
def test_energy_distance_of_normal_laws(shift, scale, exact):
    found = metrics.energy_distance(normal(1500), shift + scale * normal(1500, seed=1))
    assert found == pytest.approx(exact, abs=0.06)


def test_energy_distance_is_unbiased():
    # the standard deviation between sets of 100 of one law is about .018
    found = [metrics.energy_distance(normal(100, seed=2 * i), normal(100, seed=2 * i + 1)) for i in range(40)]
    assert abs(np.mean(found)) < 0.009 and min(found) < 0 < max(found)


def test_sliced_wasserstein_of_normal_laws():
    """`(1.5 - 1)^2` exactly for a wider normal law; sets of 1,000 of one law in 64 dimensions are .0062 apart."""
    assert metrics.sliced_wasserstein(normal(4000, 8), 1.5 * normal(4000, 8, 1)) == pytest.approx(0.25, abs=0.02)
    assert metrics.sliced_wasserstein(normal(1000, 64), normal(1000, 64, 1)) == pytest.approx(0.0062, abs=0.0012)


def test_sliced_wasserstein_counts_shares_not_examples():
    x, y = normal(70, 3), normal(200, 3, 1)
    found = metrics.sliced_wasserstein(x, y)
    assert metrics.sliced_wasserstein(np.repeat(x, 3, 0), y) == pytest.approx(found, rel=1e-12)
    assert metrics.sliced_wasserstein(x, np.repeat(x, 2, 0)) == pytest.approx(0, abs=1e-12)


def test_a_classifier_reaches_the_accuracy_of_the_best_one():
    found = metrics.two_sample(normal(800), 1 + normal(800, seed=1), epochs=30)
    assert found.accuracy == pytest.approx(0.6915, abs=0.05) and found.z > 7
    same = metrics.two_sample(normal(400), normal(400, seed=1), epochs=20)
    assert same.standard_error == pytest.approx(0.5 / 400**0.5, rel=0.02)


def test_a_classifier_of_two_sets_of_one_law_is_right_as_often_as_a_coin():
    """Its deviations are those of a coin, neither more nor fewer, also for sets as small as tables are."""
    pairs = [(normal(60, 3, 2 * i), normal(60, 3, 2 * i + 1)) for i in range(30)]
    z = [metrics.two_sample(x, y, epochs=10, seed=i).z for i, (x, y) in enumerate(pairs)]
    assert abs(np.mean(z)) < 0.6 and 0.6 < np.std(z) < 1.5


def test_marginals_are_those_of_scipy():
    from scipy.stats import ks_2samp, wasserstein_distance

    x, y = np.round(normal(90, 3), 1), np.round(0.3 + normal(140, 3, 1), 1)  # with ties
    found = metrics.marginals(x, y)
    for i in range(3):
        assert found.gap[i] == pytest.approx(ks_2samp(x[:, i], y[:, i]).statistic)
        assert found.area[i] == pytest.approx(wasserstein_distance(x[:, i], y[:, i]))


def test_one_of_a_hundred_features_of_one_law_is_beyond_the_critical_gap():
    found = metrics.marginals(normal(500, 3000), normal(400, 3000, 1))
    assert np.mean(found.gap > found.critical) == pytest.approx(0.01, abs=0.006)


@pytest.mark.parametrize("periodic", [True, False])
def test_the_spectrum_of_white_noise_is_its_variance(periodic):
    found = metrics.spectrum(2 * normal(300 * 12 * 20 * 3).reshape(300, 12, 20, 3), periodic=periodic)
    error = np.sqrt(2 / (found.n * found.degrees))[:, None]
    assert np.all(np.abs(found.power / 4 - 1) < 5 * error) and len(found.wave_number) == 11


def test_a_wave_lies_in_its_own_shell_on_any_grid():
    """Three waves over the longer side are three, whichever side they run along, and however far the points lie."""
    x, y = np.meshgrid(np.arange(24), np.arange(12), indexing="ij")
    along, across = np.cos(2 * np.pi * 3 * x / 24), np.cos(2 * np.pi * 2 * y / 12)
    both = np.cos(2 * np.pi * (3 * x / 24 + y / 12))  # sqrt(3^2 + 2^2) = 3.6 waves
    for wave, at, spacing in ((along, 3, None), (across, 4, None), (across, 2, (1.0, 2.0)), (both, 4, None)):
        found = metrics.spectrum(wave[None, ..., None], periodic=True, spacing=spacing)
        assert found.wave_number[found.power[:, 0].argmax()] == at
        assert found.power[:, 0] * found.degrees == pytest.approx(np.where(found.wave_number == at, wave.size / 2, 0))


def test_a_spectrum_that_is_off_is_found_in_its_shell():
    real, noise = (normal(400 * 64, seed=i).reshape(400, 64, 1) for i in (0, 1))
    louder = np.fft.irfft(np.fft.rfft(noise, axis=1) * np.where(np.arange(33) == 9, 1.5, 1)[None, :, None], axis=1)
    metric = metrics.metric("spectrum", periodic=True)
    reference = metrics.Reference(np.zeros((400, 1)), examples=real)
    found = metric.measure(reference, louder, None)
    assert found["spectrum_ratio"][9] == pytest.approx(2.25, abs=0.3)
    assert np.argmax(np.abs(np.array(found["spectrum_ratio"]) - 1)) == 9


def digits():
    x = np.concatenate([data.load("digits", split).examples for split in ("train", "test")]).reshape(-1, 64) / 16
    x = np.unique(x, axis=0)[np.random.default_rng(5).permutation(1700)]
    return x[:100], x[100:200], x[200:500]


def test_memorization_of_digits():
    training, held_out, fresh = digits()
    noise = np.random.default_rng(0).standard_normal
    chosen = np.random.default_rng(1).integers(0, 100, 300)
    honest = metrics.memorization(training, held_out, fresh)
    assert honest.copies == pytest.approx(0, abs=0.004) and abs(honest.z) < 4
    copies = training[chosen] + 0.02 * noise((300, 64))
    copied = metrics.memorization(training, held_out, copies)
    assert copied.copies == 1 and 9 < copied.z < 12 and copied.authentic < 0.01
    blurred = metrics.memorization(training, held_out, training[chosen] + 0.25 * noise((300, 64)))
    assert blurred.copies == 0 and 9 < blurred.z < 13 and blurred.distance > 1  # a mean distance is silent
    some = metrics.memorization(training, held_out, np.concatenate([fresh[:270], copies[:30]]))
    assert some.copies == pytest.approx(0.1, abs=0.004)


def test_the_pull_of_training_examples_is_normal_however_bad_the_samples_are():
    """Over choices of the training set, of samples that are far from the data and crowd around a few of them."""
    x, rng = normal(120, 3), np.random.default_rng(3)
    samples, z = 0.4 + 0.3 * normal(200, 3, 9), []
    for _ in range(150):
        order = rng.permutation(120)
        z.append(metrics.memorization(x[order[:80]], x[order[80:]], samples).z)
    assert np.mean(z) == pytest.approx(0, abs=0.3) and np.std(z) == pytest.approx(1, abs=0.2)
