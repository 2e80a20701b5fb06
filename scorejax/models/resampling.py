"""Images of half and of double size, `[B, H, W, C]`: means, repeated pixels, and finite impulse response filters.

An odd side is halved upwards (28, 14, 7, 4), its edge counting for itself, and cut again on the way up.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorejax.models.layers import Dtype, conv3x3, dense_init

Resample = Callable[[jax.Array], jax.Array]
Kernel = Sequence[float]


def halve(x: jax.Array) -> jax.Array:
    """Mean of 2x2 pixels: `[B, H, W, C]` to `[B, ceil(H/2), ceil(W/2), C]`; an odd edge counts for itself."""
    x = _even(x)
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def double_to(height: int, width: int) -> Resample:
    """Nearest-neighbor doubling, cut to `height` x `width`: the way back from `halve` for odd sizes too."""

    def double(x: jax.Array) -> jax.Array:
        batch, rows, columns, channels = x.shape
        x = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, rows, 2, columns, 2, channels))
        return x.reshape(batch, 2 * rows, 2 * columns, channels)[:, :height, :width]

    return double


def fir_halve(x: jax.Array, kernel: Kernel) -> jax.Array:
    """Filter, then keep every other pixel: `[B, H, W, C]` to `[B, ceil(H/2), ceil(W/2), C]`.

    `out[i, j] = sum_mn k[m] k[n] x[2i + m - a, 2j + n - a]` with `k` the kernel of sum 1, reversed, and
    `a = (len(k) - 1) // 2`; beyond the edges the image is zero (Karras et al. 2020, as in Song et al. 2021).

    Args:
        x: images.
        kernel: taps of the filter along either axis, at least two, e.g. (1, 3, 3, 1).
    """
    x, taps = _even(x), _normalized(kernel)
    pads = (len(taps) - 1) // 2, (len(taps) - 2) // 2
    return _correlate(_correlate(x, taps, 1, pads, stride=2), taps, 2, pads, stride=2)


def fir_double(x: jax.Array, kernel: Kernel, margin: int = 0) -> jax.Array:
    """Put zeros between the pixels, then filter: `[B, H, W, C]` to `[B, 2H + 2 margin, 2W + 2 margin, C]`.

    The kernel has sum 2 along either axis, so that a flat image stays as it is, but for its edges.

    Args:
        x: images.
        kernel: as in `fir_halve`.
        margin: pixels more on each side: what the filter spills over the edges.
    """
    taps = [2 * tap for tap in _normalized(kernel)]
    before = (len(taps) + 1) // 2 + margin
    for axis in (1, 2):
        x = _interleave([_double_phase(x, taps, axis, before, margin, phase) for phase in (0, 1)], axis)
    return x


def fir_double_to(height: int, width: int, kernel: Kernel) -> Resample:
    """`fir_double`, cut to `height` x `width`: the way back from `fir_halve` for odd sizes too."""
    return lambda x: fir_double(x, kernel)[:, :height, :width]


class Downsample(nn.Module):
    """Half the size by a 3x3 convolution of stride 2, after a filter if there is one.

    Attributes:
        features: channels of the result.
        fir_kernel: taps of the filter along either axis, or None for none.
        dtype: type to compute in.
    """

    features: int
    fir_kernel: Kernel | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, H, W, C]` to `[B, ceil(H/2), ceil(W/2), features]`."""
        padding = "SAME"
        if self.fir_kernel is not None:
            # One pixel more on each side than `fir_halve` needs, for the convolution to use up.
            x, taps, padding = _even(x), _normalized(self.fir_kernel), "VALID"
            pads = (len(taps) + 1) // 2, len(taps) // 2
            x = _correlate(_correlate(x, taps, 1, pads), taps, 2, pads)
        init = dense_init()
        return nn.Conv(self.features, (3, 3), 2, padding, kernel_init=init, dtype=self.dtype, name="conv")(x)


class Upsample(nn.Module):
    """Double the size, cut to a given one, by repeated pixels or a filter, with a 3x3 convolution.

    Attributes:
        features: channels of the result.
        size: height and width of the result.
        fir_kernel: taps of the filter along either axis, or None for repeated pixels.
        dtype: type to compute in.
    """

    features: int
    size: tuple[int, int]
    fir_kernel: Kernel | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, H, W, C]` to `[B, *size, features]`."""
        height, width = self.size
        if self.fir_kernel is None:
            return conv3x3(self.features, "conv", dtype=self.dtype)(double_to(height, width)(x))
        # Transposed convolution, then filter, is the definition. The two commute if the filter keeps its spill.
        x = fir_double(x, self.fir_kernel, margin=1)[:, : height + 2, : width + 2]
        init = dense_init()
        return nn.Conv(self.features, (3, 3), 1, "VALID", kernel_init=init, dtype=self.dtype, name="conv")(x)


def _normalized(kernel: Kernel) -> list[float]:
    """The taps in the order of a correlation, of sum 1."""
    taps = np.asarray(kernel, np.float64)
    if taps.ndim != 1 or len(taps) < 2 or not taps.sum():
        raise ValueError(
            f"fir_kernel must hold at least two taps along one axis, of a sum that is not 0, got {kernel!r}: "
            "use e.g. (1, 3, 3, 1)"
        )
    return (taps[::-1] / taps.sum()).tolist()


def _even(x: jax.Array) -> jax.Array:
    height, width = x.shape[1:3]
    if height % 2 or width % 2:
        x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return x


def _correlate(x: jax.Array, taps: Sequence[float], axis: int, pads: tuple[int, int], stride: int = 1) -> jax.Array:
    """`out[i] = sum_n taps[n] x[stride i + n - pads[0]]` along an axis, zero outside; pads may be negative.

    A sum of shifted slices compiles to one loop; a convolution per channel does not, and is slow on a CPU.
    """
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (*pads, 0)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), widths)
    last = x.shape[axis] - len(taps)
    shifted = (jax.lax.slice_in_dim(x, n, n + last + 1, stride, axis) for n in range(len(taps)))
    return sum((tap * part for tap, part in zip(taps, shifted, strict=True)), start=jnp.zeros((), x.dtype))


def _double_phase(x: jax.Array, taps: list[float], axis: int, before: int, margin: int, phase: int) -> jax.Array:
    """Every other row of the doubled image, from row `phase` on: the taps that meet pixels, not zeros."""
    first = (before - phase) % 2
    phase_taps = taps[first::2]
    front = (before - phase - first) // 2
    back = margin + len(phase_taps) - 1 - front
    return _correlate(x, phase_taps, axis, (front, back))


def _interleave(phases: list[jax.Array], axis: int) -> jax.Array:
    shape = list(phases[0].shape)
    shape[axis] *= len(phases)
    return jnp.stack(phases, axis=axis + 1).reshape(shape)
