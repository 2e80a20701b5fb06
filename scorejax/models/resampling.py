"""Images of half and of double size: means, repeated pixels, and finite impulse response filters.

Written for images `[B, H, W, C]`; series `[B, L, C]` and volumes `[B, D, H, W, C]` are treated in the same way along
every side. An odd side is halved upwards (28, 14, 7, 4), its edge counting for itself, and cut again on the way up; a
side of one pixel stays.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorejax.models.layers import IMAGES, Dtype, Padding, conv3x3, dense_init

Resample = Callable[[jax.Array], jax.Array]
Kernel = Sequence[float]


def halve(x: jax.Array) -> jax.Array:
    """Mean of 2x2 pixels: `[B, H, W, C]` to `[B, ceil(H/2), ceil(W/2), C]`; an odd edge counts for itself."""
    x = _even(x)
    pairs = [part for side in x.shape[1:-1] for part in (side // 2, 2)]
    return x.reshape(len(x), *pairs, x.shape[-1]).mean(axis=tuple(range(2, 2 * x.ndim - 3, 2)))


def double_to(*sides: int) -> Resample:
    """Nearest-neighbor doubling, cut to these sides: the way back from `halve` for odd sizes too."""

    def double(x: jax.Array) -> jax.Array:
        batch, *small, channels = x.shape
        spread = x[(slice(None), *(part for _ in small for part in (slice(None), None)), slice(None))]
        x = jnp.broadcast_to(spread, (batch, *(part for side in small for part in (side, 2)), channels))
        return _cut(x.reshape(batch, *(2 * side for side in small), channels), sides)

    return double


def fir_halve(x: jax.Array, kernel: Kernel, padding: Sequence[Padding] = ()) -> jax.Array:
    """Filter, then keep every other pixel: `[B, H, W, C]` to `[B, ceil(H/2), ceil(W/2), C]`.

    `out[i, j] = sum_mn k[m] k[n] x[2i + m - a, 2j + n - a]` with `k` the kernel of sum 1, reversed, and
    `a = (len(k) - 1) // 2`; beyond the edges the image is zero (Karras et al. 2020, as in Song et al. 2021).

    Args:
        x: images.
        kernel: taps of the filter along either axis, at least two, e.g. (1, 3, 3, 1).
        padding: what lies beyond the edges of every side; empty: zeros.
    """
    x, taps = _even(x), _normalized(kernel)
    pads = (len(taps) - 1) // 2, (len(taps) - 2) // 2
    for axis, circular in _sides(x, padding):
        x = _correlate(x, taps, axis, pads, stride=2, circular=circular)
    return x


def fir_double(x: jax.Array, kernel: Kernel, margin: int = 0, padding: Sequence[Padding] = ()) -> jax.Array:
    """Put zeros between the pixels, then filter: `[B, H, W, C]` to `[B, 2H + 2 margin, 2W + 2 margin, C]`.

    The kernel has sum 2 along either axis, so that a flat image stays as it is, but for its edges.

    Args:
        x: images.
        kernel: as in `fir_halve`.
        margin: pixels more on each side: what the filter spills over the edges.
        padding: as in `fir_halve`.
    """
    taps = [2 * tap for tap in _normalized(kernel)]
    before = (len(taps) + 1) // 2 + margin
    for axis, circular in _sides(x, padding):
        x = _interleave([_double_phase(x, taps, axis, before, margin, phase, circular) for phase in (0, 1)], axis)
    return x


def fir_double_to(*sides: int, kernel: Kernel, padding: Sequence[Padding] = ()) -> Resample:
    """`fir_double`, cut to these sides: the way back from `fir_halve` for odd sizes too."""
    return lambda x: _cut(fir_double(x, kernel, padding=padding), sides)


class Downsample(nn.Module):
    """Half the size by a 3x3 convolution of stride 2, after a filter if there is one.

    Attributes:
        features: channels of the result.
        fir_kernel: taps of the filter along either axis, or None for none.
        dtype: type to compute in.
        padding: what lies beyond the edges of every side.
    """

    features: int
    fir_kernel: Kernel | None = None
    dtype: Dtype = jnp.float32
    padding: Sequence[Padding] = IMAGES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, H, W, C]` to `[B, ceil(H/2), ceil(W/2), features]`."""
        if self.fir_kernel is None:
            return conv3x3(self.features, "conv", dtype=self.dtype, padding=self.padding, strides=2)(x)
        # One pixel more on each side than `fir_halve` needs, for the convolution to use up.
        x, taps = _even(x), _normalized(self.fir_kernel)
        pads = (len(taps) + 1) // 2, len(taps) // 2
        for axis, circular in _sides(x, self.padding):
            x = _correlate(x, taps, axis, pads, circular=circular)
        return _valid(self.features, len(self.padding), 2, self.dtype)(x)


class Upsample(nn.Module):
    """Double the size, cut to a given one, by repeated pixels or a filter, with a 3x3 convolution.

    Attributes:
        features: channels of the result.
        size: sides of the result.
        fir_kernel: taps of the filter along either axis, or None for repeated pixels.
        dtype: type to compute in.
        padding: what lies beyond the edges of every side.
    """

    features: int
    size: tuple[int, ...]
    fir_kernel: Kernel | None = None
    dtype: Dtype = jnp.float32
    padding: Sequence[Padding] = IMAGES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, H, W, C]` to `[B, *size, features]`."""
        if self.fir_kernel is None:
            return conv3x3(self.features, "conv", dtype=self.dtype, padding=self.padding)(double_to(*self.size)(x))
        # Transposed convolution, then filter, is the definition. The two commute if the filter keeps its spill.
        x = _cut(fir_double(x, self.fir_kernel, 1, self.padding), [side + 2 for side in self.size])
        return _valid(self.features, len(self.padding), 1, self.dtype)(x)


class Resampling(NamedTuple):
    """How a U-Net changes the size of its images.

    Attributes:
        padding: what lies beyond the edges of every side.
        fir_kernel: taps of a filter along every axis; None: means and repeated pixels.
        dtype: type to compute in.
    """

    padding: tuple[Padding, ...]
    fir_kernel: Kernel | None
    dtype: Dtype

    def halve(self, x: jax.Array) -> jax.Array:
        """Half the size, without parameters."""
        return halve(x) if self.fir_kernel is None else fir_halve(x, self.fir_kernel, self.padding)

    def double_to(self, sides: Sequence[int]) -> Resample:
        """Double the size, cut to these sides, without parameters."""
        if self.fir_kernel is None:
            return double_to(*sides)
        return fir_double_to(*sides, kernel=self.fir_kernel, padding=self.padding)

    def downsample(self, x: jax.Array, name: str, channels: int) -> jax.Array:
        """Half the size, by a layer of that name."""
        return Downsample(channels, self.fir_kernel, self.dtype, self.padding, name=name)(x)

    def upsample(self, x: jax.Array, name: str, channels: int, sides: Sequence[int]) -> jax.Array:
        """Double the size, cut to these sides, by a layer of that name."""
        return Upsample(channels, tuple(sides), self.fir_kernel, self.dtype, self.padding, name=name)(x)


def _valid(features: int, sides: int, strides: int, dtype: Dtype) -> nn.Conv:
    """A convolution by three pixels along every side that uses up one at each end."""
    return nn.Conv(features, (3,) * sides, strides, "VALID", kernel_init=dense_init(), dtype=dtype, name="conv")


def _cut(x: jax.Array, sides: Sequence[int]) -> jax.Array:
    """The first pixels of every side."""
    return x[(slice(None), *(slice(None, side) for side in sides))]


def _sides(x: jax.Array, padding: Sequence[Padding]) -> list[tuple[int, bool]]:
    """The axes of space, and whether what lies beyond their edges is the other side."""
    kinds = padding or ("zeros",) * (x.ndim - 2)
    return [(axis, kind == "circular") for axis, kind in enumerate(kinds, start=1)]


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
    if any(side % 2 for side in x.shape[1:-1]):
        x = jnp.pad(x, ((0, 0), *((0, side % 2) for side in x.shape[1:-1]), (0, 0)), mode="edge")
    return x


def _correlate(
    x: jax.Array, taps: Sequence[float], axis: int, pads: tuple[int, int], stride: int = 1, circular: bool = False
) -> jax.Array:
    """`out[i] = sum_n taps[n] x[stride i + n - pads[0]]` along an axis, zero or around outside; pads may be negative.

    A sum of shifted slices compiles to one loop; a convolution per channel does not, and is slow on a CPU.
    """
    if circular:
        x = jnp.take(x, np.arange(-pads[0], x.shape[axis] + pads[1]) % x.shape[axis], axis=axis)
    else:
        widths = [(0, 0, 0)] * x.ndim
        widths[axis] = (*pads, 0)
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), widths)
    last = x.shape[axis] - len(taps)
    shifted = (jax.lax.slice_in_dim(x, n, n + last + 1, stride, axis) for n in range(len(taps)))
    return sum((tap * part for tap, part in zip(taps, shifted, strict=True)), start=jnp.zeros((), x.dtype))


def _double_phase(
    x: jax.Array, taps: list[float], axis: int, before: int, margin: int, phase: int, circular: bool
) -> jax.Array:
    """Every other row of the doubled image, from row `phase` on: the taps that meet pixels, not zeros."""
    first = (before - phase) % 2
    phase_taps = taps[first::2]
    front = (before - phase - first) // 2
    back = margin + len(phase_taps) - 1 - front
    return _correlate(x, phase_taps, axis, (front, back), circular=circular)


def _interleave(phases: list[jax.Array], axis: int) -> jax.Array:
    shape = list(phases[0].shape)
    shape[axis] *= len(phases)
    return jnp.stack(phases, axis=axis + 1).reshape(shape)
