"""Layers of networks of images `[B, H, W, C]`, of series `[B, L, C]` and of volumes `[B, D, H, W, C]`."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.condition import Tokens
from scorejax.models.dropout import Dropout

Dtype: TypeAlias = jax.typing.DTypeLike
"""The type that a layer computes in, such as `jnp.bfloat16`."""


def dense_init(scale: float = 1.0) -> jax.nn.initializers.Initializer:
    """Uniform weights of variance `2 scale / (fan_in + fan_out)` (Ho et al. 2020).

    Args:
        scale: factor on the variance. 0 stands for 1e-10: a layer that starts at nothing, but not at a point
            where all of its weights are equal.
    """
    return nn.initializers.variance_scaling(max(scale, 1e-10), "fan_avg", "uniform")


Nonlinearity: TypeAlias = Literal["silu", "elu", "relu", "leaky_relu"]
NONLINEARITIES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": nn.silu,
    "elu": nn.elu,
    "relu": nn.relu,
    "leaky_relu": lambda x: nn.leaky_relu(x, 0.2),
}


def group_count(channels: int, group_size: int = 4) -> int:
    """Number of groups to normalize `channels` in: `min(channels / group_size, 32)`, or the next lower divisor."""
    most = max(1, min(channels // group_size, 32))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


class GroupNorm(nn.Module):
    """Group normalization (Wu & He 2018) in float32, for any type of its input.

    `(x - mean) / sqrt(variance + epsilon) * scale + bias`, moments over pixels and the channels of a group.

    Attributes:
        epsilon: added to the variance.
        group_size: fewest channels in a group; there are at most 32 groups.
    """

    epsilon: float = 1e-6
    group_size: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize `[B, ..., C]`; the result is float32."""
        channels = x.shape[-1]
        groups = group_count(channels, self.group_size)
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        h = x.astype(jnp.float32).reshape(x.shape[0], -1, channels)

        def group_mean(value: jax.Array) -> jax.Array:
            # Pixels first, then the few numbers left: twice as fast on a CPU as one mean over both. Two
            # passes (mean, then variance about it) keep the variance true where the mean is large.
            mean = value.mean(axis=1).reshape(-1, groups, channels // groups).mean(axis=2)
            return jnp.repeat(mean, channels // groups, axis=1)[:, None]

        h = h - group_mean(h)
        h = h * (jax.lax.rsqrt(group_mean(jnp.square(h)) + self.epsilon) * scale) + bias
        return h.reshape(x.shape)


Padding: TypeAlias = Literal["zeros", "circular"]
"""What lies beyond an edge: zeros, or the other side."""
IMAGES: tuple[Padding, ...] = ("zeros", "zeros")


def conv3x3(
    features: int,
    name: str,
    init_scale: float = 1.0,
    dtype: Dtype = jnp.float32,
    *,
    padding: Sequence[Padding] = IMAGES,
    strides: int = 1,
) -> Callable[[jax.Array], jax.Array]:
    """A convolution by three pixels along every side, which keeps the size of the image but for its stride.

    Args:
        features: channels of the result.
        name: of its parameters.
        init_scale: variance factor of its initial weights.
        dtype: type to compute in.
        padding: what lies beyond the edges of every side; as many as there are sides.
        strides: pixels from one to the next.
    """
    kinds = set(padding)
    pads = "VALID" if len(kinds) > 1 else "CIRCULAR" if "circular" in kinds else "SAME"
    sides, init = (3,) * len(padding), dense_init(init_scale)
    conv = nn.Conv(features, sides, strides, pads, kernel_init=init, dtype=dtype, name=name)
    return conv if len(kinds) == 1 else lambda x: conv(_padded(x, padding))


def _padded(x: jax.Array, padding: Sequence[Padding]) -> jax.Array:
    """An image with one pixel more at each end of every side."""
    for axis, kind in enumerate(padding, start=1):
        widths = [(0, 0)] * x.ndim
        widths[axis] = (1, 1)
        x = jnp.pad(x, widths, mode="wrap" if kind == "circular" else "constant")
    return x


def residual_sum(x: jax.Array, h: jax.Array, rescale: bool) -> jax.Array:
    """`x + h`, divided by sqrt(2) if asked, which keeps the variance of independent terms."""
    return (x + h) * (math.sqrt(0.5) if rescale else 1.0)


def divide_score(output: jax.Array, sigma: jax.Array, channels: int) -> jax.Array:
    """Divide the first `channels` of `output [B, ..., C]`, a score, by `sigma [B]`; not a learned range behind it."""
    sigma = sigma.reshape(-1, *[1] * (output.ndim - 1))
    if output.shape[-1] == channels:
        return output / sigma
    return jnp.concatenate([output[..., :channels] / sigma, output[..., channels:]], axis=-1)


class ResBlock(nn.Module):
    """Residual block of BigGAN (Brock et al. 2019), as in Song et al. 2021.

    `(shortcut(r(x)) + conv(dropout(act(norm(conv(r(act(norm(x)))) + dense(act(embedding))))))) / sqrt(2)`,
    where `r` resamples the image and `shortcut` is a 1x1 convolution, or nothing if neither the size of the
    image nor the number of channels changes. Without `r` it is the block of Ho et al. 2020.

    Attributes:
        features: channels of the result.
        resample: a map of images to images of another size, without parameters, or None.
        dropout: probability to drop a value in training.
        init_scale: variance factor of the last convolution's initial weights.
        shortcut_scale: variance factor of the shortcut's initial weights.
        skip_rescale: whether the sum is divided by sqrt(2).
        nonlinearity: name of `act`, in `NONLINEARITIES`.
        group_size: fewest channels in a group of the norms.
        dtype: type to compute in. Norms are float32.
        padding: what lies beyond the edges of every side.
    """

    features: int
    resample: Callable[[jax.Array], jax.Array] | None = None
    dropout: float = 0.0
    init_scale: float = 0.0
    shortcut_scale: float = 1.0
    skip_rescale: bool = True
    nonlinearity: str = "silu"
    group_size: int = 4
    dtype: Dtype = jnp.float32
    padding: Sequence[Padding] = IMAGES

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array | None, train: bool) -> jax.Array:
        """Map `[B, H, W, C]` and an embedding `[B, E]`, if there is one, to `[B, H', W', features]`."""
        act = NONLINEARITIES[self.nonlinearity]
        channels = x.shape[-1]
        h = act(GroupNorm(group_size=self.group_size, name="norm_0")(x)).astype(self.dtype)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = conv3x3(self.features, "conv_0", dtype=self.dtype, padding=self.padding)(h)
        if embedding is not None:
            shift = nn.Dense(self.features, kernel_init=dense_init(), dtype=self.dtype, name="embedding")
            h = h + jnp.expand_dims(shift(act(embedding)), tuple(range(1, h.ndim - 1)))
        h = act(GroupNorm(group_size=self.group_size, name="norm_1")(h)).astype(self.dtype)
        h = Dropout(self.dropout, name="dropout")(h, train)
        h = conv3x3(self.features, "conv_1", self.init_scale, self.dtype, padding=self.padding)(h)
        if self.resample is not None or channels != self.features:
            init = dense_init(self.shortcut_scale)
            x = nn.Dense(self.features, kernel_init=init, dtype=self.dtype, name="shortcut")(x)
        return residual_sum(x, h, self.skip_rescale)


class AttentionBlock(nn.Module):
    """Residual self-attention over all pixels, one head (Ho et al. 2020), and cross-attention to a sequence.

    `(x + out(softmax(q k^T / sqrt(C)) v)) / sqrt(2)` with q, k, v dense maps of `norm(x)`. Given a sequence, the sum
    has one more term of this form, whose k and v are maps of the tokens, and a key and a value of zeros for "none of
    them": with no token at all that is where the attention goes. Its `out` starts at zero, so that the sequence says
    nothing before training.

    Attributes:
        init_scale: variance factor of the output map's initial weights.
        skip_rescale: whether the sum is divided by sqrt(2).
        group_size: fewest channels in a group of the norm.
        dtype: type to compute in. Norm and softmax are float32.
    """

    init_scale: float = 0.0
    skip_rescale: bool = True
    group_size: int = 4
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, sequence: Tokens | None = None) -> jax.Array:
        """Map `[B, H, W, C]`, and a sequence if there is one, to the same shape."""
        pixels = GroupNorm(group_size=self.group_size, name="norm")(x).astype(self.dtype)
        pixels = pixels.reshape(x.shape[0], -1, x.shape[-1])
        h = self._attend(pixels, pixels, "", dense_init(self.init_scale))
        if sequence is not None:
            values = sequence.values.astype(self.dtype)
            h = h + self._attend(pixels, values, "cross_", nn.initializers.zeros, sequence.present)
        return residual_sum(x, h.reshape(x.shape), self.skip_rescale)

    def _attend(
        self,
        pixels: jax.Array,
        others: jax.Array,
        name: str,
        init: jax.nn.initializers.Initializer,
        present: jax.Array | None = None,
    ) -> jax.Array:
        """`[B, P, C]` of what each pixel finds among the others `[B, L, D]` that are present."""

        def dense(part: str, init: jax.nn.initializers.Initializer | None = None) -> nn.Dense:
            init = dense_init(0.1) if init is None else init
            return nn.Dense(pixels.shape[-1], kernel_init=init, dtype=self.dtype, name=name + part)

        q, k, v = dense("query")(pixels), dense("key")(others), dense("value")(others)
        logits = jnp.einsum("bqc,bkc->bqk", q, k, preferred_element_type=jnp.float32) / math.sqrt(q.shape[-1])
        if present is None:
            weights = nn.softmax(logits)
        else:
            logits = jnp.where(present[:, None], logits, -jnp.inf)
            weights = nn.softmax(jnp.pad(logits, ((0, 0), (0, 0), (0, 1))))[..., :-1]  # the last: "none of them"
        return dense("out", init)(jnp.einsum("bqk,bkc->bqc", weights.astype(self.dtype), v))
