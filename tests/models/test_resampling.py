import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models import resampling
from scorejax.models.resampling import Downsample, Upsample, double_to, fir_double_to, halve

KERNEL = (1, 3, 3, 1)
KERNELS = [KERNEL, (1, 1), (1, 2, 4), (1, -2, 5, 3, 1), (4, 1, 1, 1, 2, 3)]
fir_halve = jax.jit(resampling.fir_halve, static_argnums=1)
fir_double = jax.jit(resampling.fir_double, static_argnums=1)
X = np.random.default_rng(0).standard_normal((2, 6, 8, 3)).astype(np.float32)


def upfirdn(x, kernel, up=1, down=1, pads=(0, 0), gain=1.0):
    """Put zeros in, pad, convolve, drop: by the definition, in float64."""
    kernel = np.asarray(kernel, np.float64)
    plane = gain * np.outer(kernel, kernel) / kernel.sum() ** 2
    batch, height, width, channels = x.shape
    dense = np.zeros((batch, up * height, up * width, channels))
    dense[:, ::up, ::up] = x
    dense = np.pad(dense, ((0, 0), pads, pads, (0, 0)))
    return correlate(dense, plane[::-1, ::-1])[:, ::down, ::down]


def correlate(x, plane):
    taps = len(plane)
    height, width = x.shape[1] - taps + 1, x.shape[2] - taps + 1
    parts = (plane[i, j] * x[:, i : i + height, j : j + width] for i in range(taps) for j in range(taps))
    return sum(parts)


def convolve(x, kernel):
    """A 3x3 convolution layer without padding, `kernel [3, 3, C, D]`."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    return sum(x[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))


def test_halving_takes_means_and_an_odd_edge_counts_for_itself():
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)
    expected = [[3, 5, 6.5], [10.5, 12.5, 14]]
    np.testing.assert_allclose(halve(x)[0, :, :, 0], expected)


@pytest.mark.parametrize("size", [(4, 6), (7, 5), (1, 1)])
def test_doubling_undoes_halving_of_a_flat_image_at_every_size(size):
    x = jnp.full((2, *size, 3), 5.0)
    np.testing.assert_allclose(double_to(*size)(halve(x)), x)


def test_doubling_repeats_each_pixel_and_drops_the_surplus_at_the_far_edges():
    y = double_to(3, 3)(jnp.array([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None])
    np.testing.assert_allclose(y[0, :, :, 0], [[1, 1, 2], [1, 1, 2], [3, 3, 4]])


@pytest.mark.parametrize("kernel", KERNELS)
def test_filters_are_upsample_filter_downsample_by_the_definition(kernel):
    p = len(kernel) - 2
    down = upfirdn(X, kernel, down=2, pads=((p + 1) // 2, p // 2))
    up = upfirdn(X, kernel, up=2, pads=((p + 1) // 2 + 1, p // 2), gain=4)
    np.testing.assert_allclose(fir_halve(X, kernel), down, atol=1e-5)
    np.testing.assert_allclose(fir_double(X, kernel), up, atol=1e-5)


def test_two_equal_taps_are_the_mean_and_repeated_pixels():
    np.testing.assert_allclose(fir_halve(X, (1, 1)), halve(X), atol=1e-6)
    np.testing.assert_allclose(fir_double(X, (1, 1)), double_to(12, 16)(X), atol=1e-6)


def test_filters_keep_a_flat_image_flat_but_for_its_edges():
    flat = np.full((1, 8, 8, 1), 3, np.float32)
    np.testing.assert_allclose(fir_halve(flat, KERNEL)[:, 1:-1, 1:-1], 3, rtol=1e-6)
    np.testing.assert_allclose(fir_double(flat, KERNEL)[:, 1:-1, 1:-1], 3, rtol=1e-6)


def test_a_ramp_survives_doubling_and_halving():
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None], (8, 8))[None, ..., None]
    np.testing.assert_allclose(
        fir_halve(fir_double(ramp, KERNEL), KERNEL)[:, 1:-1, 1:-1], ramp[:, 1:-1, 1:-1], atol=1e-5
    )


def test_doubling_is_four_times_the_adjoint_of_halving():
    y = np.random.default_rng(1).standard_normal((2, 3, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(4 * np.vdot(fir_halve(X, KERNEL), y), np.vdot(X, fir_double(y, KERNEL)), rtol=1e-4)


@pytest.mark.parametrize("size", [(5, 7), (5, 8), (1, 3)])
def test_an_odd_side_is_halved_upwards_its_edge_counting_for_itself(size):
    x = X[:, : size[0], : size[1]]
    small = fir_halve(x, KERNEL)
    assert small.shape[1:3] == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    even = np.pad(x, ((0, 0), (0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
    np.testing.assert_allclose(small, fir_halve(even, KERNEL), atol=1e-6)
    assert jax.eval_shape(fir_double_to(*size, kernel=KERNEL), small).shape == x.shape


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_filtered_convolution_of_stride_2_is_filter_then_convolution(kernel):
    w = np.random.default_rng(2).standard_normal((3, 3, 3, 4)).astype(np.float32)
    params = {"conv": {"kernel": w, "bias": np.arange(4.0)}}
    p = len(kernel) - 2 + 2
    filtered = upfirdn(X, kernel, pads=((p + 1) // 2, p // 2))
    expected = convolve(filtered, w)[:, ::2, ::2] + np.arange(4.0)
    np.testing.assert_allclose(jax.jit(Downsample(4, kernel).apply)({"params": params}, X), expected, atol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_filtered_doubling_convolution_is_transposed_convolution_then_filter(kernel):
    w = np.random.default_rng(2).standard_normal((3, 3, 3, 4)).astype(np.float32)
    params = {"conv": {"kernel": w, "bias": np.arange(4.0)}}
    # Every pixel lays down the mirrored kernel, two pixels from the next.
    height, width = X.shape[1:3]
    spread = np.zeros((len(X), 2 * height + 1, 2 * width + 1, 4))
    for i in range(3):
        for j in range(3):
            spread[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] += X @ w[2 - i, 2 - j]
    p = len(kernel) - 2 - 2
    expected = upfirdn(spread, kernel, pads=((p + 1) // 2 + 1, p // 2 + 1), gain=4) + np.arange(4.0)
    module = Upsample(4, (2 * height, 2 * width), kernel)
    np.testing.assert_allclose(jax.jit(module.apply)({"params": params}, X), expected, atol=1e-4)


@pytest.mark.parametrize("kernel", [None, KERNEL])
def test_convolutions_between_levels_take_every_size_there_and_back(kernel):
    for size in ((7, 5), (8, 6), (1, 2)):
        small = jax.eval_shape(Downsample(4, kernel).init_with_output, jax.random.key(0), jnp.zeros((1, *size, 3)))[0]
        assert small.shape == (1, (size[0] + 1) // 2, (size[1] + 1) // 2, 4)
        big = jax.eval_shape(Upsample(5, size, kernel).init_with_output, jax.random.key(0), small)[0]
        assert big.shape == (1, *size, 5)


def test_a_filter_keeps_the_type_of_its_input():
    rough = jax.ShapeDtypeStruct(X.shape, jnp.bfloat16)
    assert jax.eval_shape(lambda x: fir_double(fir_halve(x, KERNEL), KERNEL), rough).dtype == jnp.bfloat16


@pytest.mark.parametrize("kernel", [(1,), ((1, 2), (2, 1)), (1, -1)])
def test_a_kernel_that_is_no_filter_is_refused(kernel):
    with pytest.raises(ValueError, match=r"fir_kernel must hold at least two taps .* use e\.g\."):
        resampling.fir_halve(X, kernel)
