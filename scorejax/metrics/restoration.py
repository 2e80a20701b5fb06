"""How near each restored image is to the true one: PSNR and SSIM, per image."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

WINDOW = 11  # pixels across the window of SSIM
_SIGMA, _K1, _K2 = 1.5, 0.01, 0.03


def psnr(x: Array, truth: Array, peak: float) -> Array:
    """Return the peak signal-to-noise ratio `10 log10(peak^2 / mean (x - truth)^2)` of each image, in decibels.

    Args:
        x: images `[B, ...]`, in any unit.
        truth: the true ones, of the same shape.
        peak: the range of the data in that unit: 255 for bytes, 2 for [-1, 1].

    Returns:
        `[B]`; infinite where the images agree.
    """
    difference = jnp.asarray(x, jnp.float32) - jnp.asarray(truth, jnp.float32)
    error = jnp.mean(difference.reshape(len(difference), -1) ** 2, axis=1)
    return 10.0 * jnp.log10(peak**2 / error)


def ssim(x: Array, truth: Array, peak: float, *, window: int = WINDOW) -> Array:
    """Return the structural similarity of each image (Wang, Bovik, Sheikh & Simoncelli, IEEE TIP 2004, eq. 13).

        (2 m_x m_y + C1) (2 s_xy + C2) / ((m_x^2 + m_y^2 + C1) (s_x^2 + s_y^2 + C2))

    averaged over all places where the window lies inside the image, and over the channels. Means and (co)variances
    are weighted by a Gaussian of 1.5 pixels in an 11 x 11 window; `C1 = (0.01 peak)^2`, `C2 = (0.03 peak)^2`.

    Args:
        x: images `[B, H, W, C]`, in any unit.
        truth: the true ones, of the same shape.
        peak: the range of the data in that unit.
        window: pixels across the window, odd; a number other than 11 is not the published measure.

    Returns:
        `[B]`, at most 1.

    Raises:
        ValueError: images of other shapes, or smaller than the window.
    """
    if x.ndim != 4 or x.shape != truth.shape:
        raise ValueError(f"ssim: two batches [B, H, W, C] of one shape are needed, got {x.shape} and {truth.shape}")
    if window % 2 == 0 or window < 1 or min(x.shape[1:3]) < window:
        raise ValueError(
            f"ssim: a window of {window} pixels must be odd and lie inside images of {x.shape[1]}x{x.shape[2]}; give a "
            f"smaller one, such as {fitting_window(x.shape[1:3])}"
        )
    # around the middle of the range, where float32 loses least of the variances
    x, y = (jnp.asarray(image, jnp.float32) / peak - 0.5 for image in (x, truth))
    rows, columns = (_window_matrix(n, window) for n in x.shape[1:3])

    def average(values: Array) -> Array:
        return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, values, precision=jax.lax.Precision.HIGHEST)

    mean_x, mean_y = average(x), average(y)
    variances = average(x * x) + average(y * y) - mean_x**2 - mean_y**2
    covariance = average(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    luminance = (2 * mean_x * mean_y + _K1**2) / (mean_x**2 + mean_y**2 + _K1**2)
    structure = (2 * covariance + _K2**2) / (variances + _K2**2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def fitting_window(size: tuple[int, ...]) -> int:
    """Return the published window, or for smaller images the largest odd one that fits."""
    side = min(WINDOW, *size)
    return side - (side + 1) % 2


def mean_and_error(values: np.ndarray) -> dict[str, float | int]:
    """Return the mean over images and its standard error, without those that are exact (inf) or failed (NaN, -inf).

    Their numbers are added under `exact` and `failed` where there are any.
    """
    values = np.asarray(values, np.float64)
    finite = values[np.isfinite(values)]
    count = len(finite)
    exact = int(np.isposinf(values).sum())
    left_out = {"exact": exact, "failed": len(values) - count - exact}
    return {
        "mean": float(finite.mean()) if count else math.nan,
        "standard_error": float(finite.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan,
        **{name: number for name, number in left_out.items() if number},
    }


def _window_matrix(n: int, window: int) -> np.ndarray:
    """Weighted averages over every window inside `n` pixels, `[n - window + 1, n]`."""
    weights = np.exp(-0.5 * ((np.arange(window) - window // 2) / _SIGMA) ** 2)
    matrix = np.zeros((n - window + 1, n), np.float32)
    for i in range(len(matrix)):
        matrix[i, i : i + window] = weights / weights.sum()
    return matrix
