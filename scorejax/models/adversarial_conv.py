"""Two networks for images that learn against each other: a generator and a discriminator."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.layers import Dtype, GroupNorm, conv3x3, dense_init
from scorejax.models.mlp import dense, spread_dense
from scorejax.models.resampling import double_to
from scorejax.numerics.ranges import Count


class GeneratorConv(nn.Module):
    """Convolutional generator `latent -> image`, from coarse to fine (DCGAN, Radford et al., arXiv 1511.06434).

    A dense map of the latent makes the features of the coarsest size; then pixels are repeated and convolved until the
    image has its full size, where the last convolution gives its gray values, by a tanh, or by a sigmoid where images
    live in [0, 1]. An odd side is halved upwards (28, 14, 7, 4) and cut again on the way. Every feature map is
    normalized within its example, so that no sample depends on the others of its batch, as it does with the batch
    normalization of that paper.

    `model.apply({"params": params}, z, shape)`

    Attributes:
        features: channels at half the size of the image; at every coarser size there are twice as many.
        halvings: how many times the smallest map is doubled in size to become an image.
        centered_input: whether images live in [-1, 1]; if not, in [0, 1].
        dtype: type to compute in. Parameters and output are float32.
    """

    role = "samples"
    ranks = (3,)
    tiny: ClassVar[dict[str, int]] = {"features": 4, "halvings": 1}

    features: Count = 32
    halvings: Count = 2
    centered_input: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Map latents `[B, L]` to images of a shape `(H, W, C)`, float32 `[B, H, W, C]`.

        Raises:
            ValueError: if a field or a shape does not fit.
        """
        _check_fields(self)
        if z.ndim != 2 or len(shape) != 3 or min(shape) < 1:
            raise ValueError(
                f"GeneratorConv maps latents [batch, L] to images (H, W, C); got an array of shape {z.shape} and shape "
                f"{shape}"
            )
        height, width, channels = shape
        sides = [(height, width)]
        for _ in range(self.halvings):
            sides.append((-(-sides[-1][0] // 2), -(-sides[-1][1] // 2)))
        rows, columns = sides.pop()
        first = self.features * 2 ** (self.halvings - 1)
        h = spread_dense(rows * columns * first, "dense_in")(z.astype(jnp.float32))
        h = _smooth(h.reshape(len(z), rows, columns, first), "norm_in", self.dtype)
        for i in range(self.halvings - 1, 0, -1):  # the size after `i` halvings
            h = conv3x3(self.features * 2 ** (i - 1), f"conv_{i}", dtype=self.dtype)(double_to(*sides[i])(h))
            h = _smooth(h, f"norm_{i}", self.dtype)
        x = conv3x3(channels, "conv_out")(double_to(height, width)(h).astype(jnp.float32))
        return jnp.tanh(x) if self.centered_input else nn.sigmoid(x)


class DiscriminatorConv(nn.Module):
    """Convolutional discriminator `image -> logit` of the probability that an image is from the data.

    Convolutions of 4x4 pixels and stride 2, and a dense read-out of the coarsest feature map. The
    logit starts at zero. It is smooth and has no normalization, so that its gradient with respect to `x` may be
    penalized.

    `model.apply({"params": params}, x)`

    Attributes:
        features: channels at half the size of the image; at every coarser size there are twice as many.
        halvings: how many convolutions there are; each halves the height and the width.
        dtype: type to compute in. Parameters and output are float32.
    """

    role = "judgments"
    ranks = (3,)
    tiny: ClassVar[dict[str, int]] = {"features": 4, "halvings": 1}

    features: Count = 32
    halvings: Count = 2
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images `[B, H, W, C]` to logits, float32 `[B]`.

        Raises:
            ValueError: if a field or the shape does not fit.
        """
        _check_fields(self)
        if x.ndim != 4:
            raise ValueError(f"DiscriminatorConv takes images [batch, H, W, C], got an array of shape {x.shape}")
        h = x.astype(self.dtype)
        for i in range(self.halvings):
            width, init = self.features * 2**i, dense_init()
            h = nn.silu(nn.Conv(width, (4, 4), 2, "SAME", kernel_init=init, dtype=self.dtype, name=f"conv_{i}")(h))
        return dense(1, "dense_out", jnp.float32, 0.0)(h.reshape(len(x), -1).astype(jnp.float32))[:, 0]


def _smooth(h: jax.Array, name: str, dtype: Dtype) -> jax.Array:
    """Normalized and bent feature maps; called in a compact method, whose module then owns the layer."""
    return nn.silu(GroupNorm(name=name)(h)).astype(dtype)


def _check_fields(network: GeneratorConv | DiscriminatorConv) -> None:
    if min(network.features, network.halvings) < 1:
        raise ValueError(f"features and halvings must be at least 1; got {network.features} and {network.halvings}")
