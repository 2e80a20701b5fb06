"""PSNR and SSIM of restored images: closed forms, a slow double loop, and the numbers of scikit-image."""

import numpy as np
import pytest

from scorejax import metrics


@pytest.fixture(scope="module")
def pictures():
    """A smooth colour image with a little noise; the same with more, and blurred."""
    rng = np.random.default_rng(7)
    waves = 80 * np.sin(np.arange(20)[:, None] / 3 + np.arange(16)[None] / 5)
    truth = waves[..., None] * np.array([1, 0.6, -0.8]) + 128
    truth = np.clip(truth + rng.normal(0, 10, (20, 16, 3)), 0, 255).astype(np.uint8)
    noisy = np.clip(truth + rng.normal(0, 25, truth.shape), 0, 255).astype(np.uint8)
    blurred = ((truth.astype(int) + np.roll(truth, 1, 0) + np.roll(truth, 1, 1)) // 3).astype(np.uint8)
    return np.stack([truth, truth]), np.stack([noisy, blurred])


def slow_ssim(x, y, peak, window):
    """The definition, one window after the other."""
    weights = np.exp(-0.5 * ((np.arange(window) - window // 2) / 1.5) ** 2)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    values = []
    for i in range(x.shape[0] - window + 1):
        for j in range(x.shape[1] - window + 1):
            for c in range(x.shape[2]):
                a, b = (image[i : i + window, j : j + window, c].astype(float) for image in (x, y))
                ma, mb = (weights * a).sum(), (weights * b).sum()
                va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
                covariance = (weights * (a - ma) * (b - mb)).sum()
                c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
                values.append((2 * ma * mb + c1) * (2 * covariance + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(values)


def test_psnr_and_ssim_are_those_of_scikit_image(pictures):
    # version 0.26: gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1
    truth, x = pictures
    np.testing.assert_allclose(metrics.psnr(x, truth, 255), [20.000869733536042, 25.615055049979198], rtol=1e-6)
    np.testing.assert_allclose(metrics.ssim(x, truth, 255), [0.6466291207005375, 0.9221037438874139], atol=1e-5)


def test_ssim_is_its_definition_whatever_the_window_and_the_unit(pictures):
    truth, x = pictures
    slow = [slow_ssim(a[:9, :8], b[:9, :8], 255, 7) for a, b in zip(x, truth, strict=True)]
    np.testing.assert_allclose(metrics.ssim(x[:, :9, :8], truth[:, :9, :8], 255, window=7), slow, atol=1e-5)
    units = metrics.ssim(x[:, :9, :8] / 255, truth[:, :9, :8] / 255, 1.0, window=7)
    np.testing.assert_allclose(units, slow, atol=1e-5)


def test_each_image_is_measured_by_itself_and_like_itself_is_perfect(pictures):
    truth, x = pictures
    np.testing.assert_allclose(metrics.ssim(truth, truth, 255), 1.0, atol=1e-6)
    assert np.all(np.isinf(metrics.psnr(truth, truth, 255)))
    np.testing.assert_allclose(metrics.ssim(x[1:], truth[1:], 255)[0], metrics.ssim(x, truth, 255)[1], atol=1e-6)


def test_psnr_of_a_constant_error_is_its_closed_form():
    truth = np.zeros((1, 2, 3, 1))
    np.testing.assert_allclose(metrics.psnr(truth + 0.2, truth, 2.0), 20.0, rtol=1e-6)


def test_images_smaller_than_the_window_are_refused_and_told_a_window():
    small = np.zeros((1, 8, 9, 1))
    with pytest.raises(ValueError, match=r"8x9.*such as 7"):
        metrics.ssim(small, small, 1.0)
    assert metrics.fitting_window((8, 9)) == 7 and metrics.fitting_window((28, 28)) == 11
    with pytest.raises(ValueError, match="one shape"):
        metrics.ssim(small, small[:, :7], 1.0)


def test_exact_and_failed_images_are_counted_apart_from_the_mean():
    found = metrics.mean_and_error(np.array([10.0, 14.0, np.inf, np.nan, np.nan, -np.inf]))
    assert found == {"mean": 12.0, "standard_error": 2.0, "exact": 1, "failed": 3}
    assert "exact" not in metrics.mean_and_error(np.array([1.0, 2.0]))
