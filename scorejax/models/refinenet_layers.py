"""Layers that the NCSN networks are built of: InstanceNorm++, residual blocks, RefineNet. Images are `[B, H, W, C]`."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorejax.models.layers import NONLINEARITIES, Dtype
from scorejax.models.resampling import halve

Interpolation: TypeAlias = Literal["bilinear_align_corners", "bilinear_half_pixel", "nearest"]


@dataclasses.dataclass(frozen=True)
class Style:
    """The settings that all layers of one network share.

    Attributes:
        channel_ddof: taken off the number of channels when InstanceNorm++ divides by it.
        nonlinearity: name of the activation, in `layers.NONLINEARITIES`.
        interpolation: as `Interpolation` lists them.
        dtype: type to compute in. Norms are float32.
    """

    channel_ddof: int = 0
    nonlinearity: str = "elu"
    interpolation: str = "bilinear_align_corners"
    dtype: Dtype = jnp.float32

    def norm(self, x: jax.Array, levels: jax.Array | None, name: str) -> jax.Array:
        """InstanceNorm++ of `x`, as a child of the module that calls."""
        return InstanceNormPlus(self.channel_ddof, name=name)(x, levels).astype(self.dtype)

    def refine_norm(self, x: jax.Array, levels: jax.Array | None, name: str) -> jax.Array:
        """The norm inside RefineNet: there is one only in a network that is given the noise level."""
        return x if levels is None else self.norm(x, levels, name)

    def activate(self, x: jax.Array) -> jax.Array:
        """The nonlinearity."""
        return NONLINEARITIES[self.nonlinearity](x)


def level_weights(labels: jax.Array, num_levels: int) -> jax.Array:
    """Weights `[B, L]` of linear interpolation in a table of `L` noise levels.

    `max(0, 1 - |label - k|)` for k = 0 .. L - 1: one level at an integer label, two neighbors in between, so
    that solvers may stop between the levels. A label outside of 0 .. L - 1 gives NaN.

    Args:
        labels: positions in the table `[B]`.
        num_levels: `L`.
    """
    labels = labels.astype(jnp.float32)[:, None]
    hats = jnp.maximum(0.0, 1.0 - jnp.abs(labels - jnp.arange(num_levels)))
    return jnp.where((labels >= 0) & (labels <= num_levels - 1), hats, jnp.nan)


def _near_one(key: jax.Array, shape: Sequence[int], dtype: Dtype = jnp.float32) -> jax.Array:
    return 1.0 + 0.02 * jax.random.normal(key, shape, dtype)


def _near_one_without_shift(key: jax.Array, shape: Sequence[int], dtype: Dtype = jnp.float32) -> jax.Array:
    return _near_one(key, shape, dtype).at[:, -(shape[-1] // 3) :].set(0.0)


class InstanceNormPlus(nn.Module):
    """InstanceNorm++ (Song & Ermon 2019, appendix A) in float32, for any type of its input.

    `gamma_c ((x - mu_c) / sigma_c + alpha_c (mu_c - m) / v) + beta_c`, with mean `mu_c` and standard deviation
    `sigma_c` over the pixels of a channel, and mean `m` and standard deviation `v` of the `mu_c` over the
    channels: what instance normalization takes away, the mean of a channel against the others, comes back.

    Attributes:
        channel_ddof: `v^2` divides by `channels - channel_ddof`. The JAX code of score_sde takes 0; networks
            trained in PyTorch take 1.
        epsilon: added to both variances.
    """

    channel_ddof: int = 0
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, levels: jax.Array | None = None) -> jax.Array:
        """Normalize images.

        Args:
            x: images `[B, H, W, C]`.
            levels: weights `[B, L]` of L noise levels, each with its own gamma, alpha and beta. None:
                there is one set.

        Returns:
            Float32 array of the shape of `x`.
        """
        channels = x.shape[-1]
        x = x.astype(jnp.float32)
        means = x.mean(axis=(1, 2), keepdims=True)
        x = x - means
        x = x * jax.lax.rsqrt(jnp.square(x).mean(axis=(1, 2), keepdims=True) + self.epsilon)
        means = means - means.mean(axis=-1, keepdims=True)
        # A single channel has no others to differ from: its variance is 0, not 0 / 0.
        variance = jnp.square(means).sum(axis=-1, keepdims=True) / max(channels - self.channel_ddof, 1)
        means = means * jax.lax.rsqrt(variance + self.epsilon)
        if levels is None:
            gamma = self.param("gamma", _near_one, (channels,))
            alpha = self.param("alpha", _near_one, (channels,))
            beta = self.param("beta", nn.initializers.zeros, (channels,))
        else:
            # Columns: gamma, alpha, beta.
            table = self.param("embedding", _near_one_without_shift, (levels.shape[-1], 3 * channels))
            rows = jnp.matmul(levels, table, precision=jax.lax.Precision.HIGHEST)[:, None, None]
            gamma, alpha, beta = jnp.split(rows, 3, axis=-1)
        return gamma * (x + alpha * means) + beta


def conv(
    x: jax.Array,
    features: int,
    name: str,
    dtype: Dtype,
    *,
    size: int = 3,
    dilation: int = 1,
    use_bias: bool = True,
) -> jax.Array:
    """A convolution that keeps the size of the image, as a child of the module that calls.

    Weights and biases start uniform within `1 / sqrt(fan_in)`, as the convolutions of PyTorch do.
    """
    fan_in = size * size * x.shape[-1]

    def uniform(key: jax.Array, shape: Sequence[int], dtype: Dtype = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -1.0, 1.0) * fan_in**-0.5

    return nn.Conv(
        features,
        (size, size),
        kernel_dilation=dilation,
        use_bias=use_bias,
        kernel_init=uniform,
        bias_init=uniform,
        dtype=dtype,
        name=name,
    )(x)


def resize(x: jax.Array, height: int, width: int, interpolation: str) -> jax.Array:
    """Resize images `[B, H, W, C]` to `height` x `width`, which are not smaller.

    "bilinear_align_corners" maps corner pixels onto corner pixels (pixels are points), "bilinear_half_pixel"
    corners onto corners (pixels are squares), "nearest" repeats pixels.
    """
    old, new = x.shape[1:3], (height, width)
    if old == new:
        return x
    shape = (x.shape[0], *new, x.shape[3])
    if interpolation != "bilinear_align_corners":
        return jax.image.resize(x, shape, "nearest" if interpolation == "nearest" else "bilinear")
    # Output pixel i lies at i (old - 1) / (new - 1); scale_and_translate thinks in squares, half a pixel apart.
    # A side of one pixel is spread over all at any scale.
    scale = np.array([(n - 1) / (o - 1) if o > 1 else n for o, n in zip(old, new, strict=True)], np.float32)
    shift = np.where(np.array(old) > 1, (1 - scale) / 2, 0).astype(np.float32)
    return jax.image.scale_and_translate(
        x, shape, (1, 2), jnp.asarray(scale), jnp.asarray(shift), "bilinear", antialias=False
    )


class ResidualBlock(nn.Module):
    """Pre-activation residual block: `shortcut(x) + conv(act(norm(conv(act(norm(x))))))`.

    Attributes:
        features: channels of the result.
        style: what the network's layers share.
        entry: whether this is the first block of a stage. It has a convolution on its shortcut and, unless
            dilated, halves the image.
        dilation: distance of the pixels that a convolution sees.
    """

    features: int
    style: Style
    entry: bool = False
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, levels: jax.Array | None) -> jax.Array:
        """Map `[B, H, W, C]` to `[B, H', W', features]`."""
        style = self.style
        h = style.activate(style.norm(x, levels, "norm_0"))
        h = conv(h, x.shape[-1], "conv_0", style.dtype, dilation=self.dilation)
        h = style.activate(style.norm(h, levels, "norm_1"))
        h = conv(h, self.features, "conv_1", style.dtype, dilation=self.dilation)
        if not self.entry:
            return x + h
        if self.dilation > 1:
            return conv(x, self.features, "shortcut", style.dtype, dilation=self.dilation) + h
        return conv(halve(x), self.features, "shortcut", style.dtype, size=1) + halve(h)


class ResidualUnits(nn.Module):
    """Residual convolution units of RefineNet: `num_units` times `x + conv(act(conv(act(x))))`.

    Attributes:
        num_units: how many.
        style: what the network's layers share.
    """

    num_units: int
    style: Style

    @nn.compact
    def __call__(self, x: jax.Array, levels: jax.Array | None) -> jax.Array:
        """Map `[B, H, W, C]` to the same shape."""
        style = self.style
        for i in range(self.num_units):
            h = x
            for j in range(2):
                h = style.activate(style.refine_norm(h, levels, f"norm_{i}_{j}"))
                h = conv(h, x.shape[-1], f"conv_{i}_{j}", style.dtype, use_bias=False)
            x = x + h
        return x


class RefineBlock(nn.Module):
    """Block of RefineNet (Lin et al. 2017): adapt each input, fuse them at the finest size, pool, adapt again.

    Given the noise level (NCSN), it normalizes before every convolution and pools means; if not (NCSNv2), it
    does not normalize and pools maxima.

    Attributes:
        features: channels of the result; if there is one input, those of the input.
        style: what the network's layers share.
        output_units: number of residual units at the end.
    """

    features: int
    style: Style
    output_units: int = 1

    @nn.compact
    def __call__(self, inputs: Sequence[jax.Array], levels: jax.Array | None) -> jax.Array:
        """Map images, the finest first, to one `[B, H, W, features]` of the size of the first."""
        adapted = [ResidualUnits(2, self.style, name=f"adapt_{k}")(x, levels) for k, x in enumerate(inputs)]
        h = adapted[0] if len(adapted) == 1 else self._fuse(adapted, levels)
        h = self._pool(h, levels)
        return ResidualUnits(self.output_units, self.style, name="output")(h, levels)

    def _fuse(self, inputs: Sequence[jax.Array], levels: jax.Array | None) -> jax.Array:
        """The sum of the inputs, each brought to the channels and the size of the result."""
        style = self.style
        height, width = inputs[0].shape[1:3]
        parts = []
        for k, x in enumerate(inputs):
            h = conv(style.refine_norm(x, levels, f"fuse_norm_{k}"), self.features, f"fuse_{k}", style.dtype)
            parts.append(resize(h, height, width, style.interpolation))
        return sum(parts[1:], parts[0])

    def _pool(self, x: jax.Array, levels: jax.Array | None) -> jax.Array:
        """Chained residual pooling: the image plus its means or maxima over wider and wider surroundings."""
        style = self.style
        pool = nn.max_pool if levels is None else nn.avg_pool
        x = h = style.activate(x)
        for j in range(2):
            # A mean over the edge counts the pixels outside as zeros.
            h = pool(style.refine_norm(h, levels, f"pool_norm_{j}"), (5, 5), padding="SAME")
            h = conv(h, x.shape[-1], f"pool_{j}", style.dtype, use_bias=False)
            x = x + h
        return x
