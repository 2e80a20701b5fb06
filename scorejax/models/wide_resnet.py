"""The noise-conditional classifier of images, whose gradient steers samples toward a class."""

import math
from typing import Annotated, ClassVar, Literal, TypeAlias, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import Ge

from scorejax.models.dropout import Dropout
from scorejax.models.embedding import NoiseEmbedding, check_labels
from scorejax.models.layers import Dtype, GroupNorm
from scorejax.numerics.ranges import Below1, Count, Positive

Embedding: TypeAlias = Literal["log_snr", "fourier", "positional", "none"]


class WideResNetClassifier(nn.Module):
    """Wide residual network that sees the noise level (Zagoruyko & Komodakis 2016; Song et al. 2021, appendix I).

    A map `(noisy image, noise label) -> logits` of `p(class | x_t)`. Three groups of pre-activation blocks with
    `16 w`, `32 w` and `64 w` channels for width `w`; the last two halve the image. Batch norms are group
    norms, and each block adds a dense map of the noise embedding between its two convolutions. The default is
    WRN-28-10 with four blocks per group. Any image size works.

    `model.apply({"params": params}, x, labels, train=False, rngs={"dropout": key})`

    Attributes:
        num_classes: number of classes, and of logits.
        depth: number of convolutions on the longest path, `6 n + 4` for `n` blocks per group.
        width: factor on the channels.
        dropout: probability to drop a value between the convolutions of a block in training.
        standardize: whether each image is brought to mean 0 and standard deviation 1 first, as published. The
            noise of VE makes images large; what the scale says of the noise, the label says better.
        embedding: "log_snr": the label is the log signal-to-noise ratio, for any process. "fourier": random
            waves of log sigma (VE, SMLD), as published. "positional": waves of the label itself (VP: 999 t).
            "none": the label is not looked at.
        fourier_scale: standard deviation of the random frequencies.
        noise_levels: what sigma a label stands for: the largest and smallest sigma and the number of levels,
            geometric, which the label counts from the largest, 0, down (SMLD). None: the label is sigma (VE).
        dtype: type to compute in, e.g. bfloat16. Parameters, norms and logits are float32.
    """

    role = "classes"
    ranks = (3,)
    tiny: ClassVar[dict[str, object]] = {"depth": 10, "width": 1}

    num_classes: int = 10
    depth: Annotated[int, Ge(10)] = 28
    width: Count = 10
    dropout: Below1 = 0.0
    standardize: bool = True
    embedding: Embedding = "log_snr"
    fourier_scale: Positive = 16.0
    noise_levels: tuple[float, float, int] | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, labels: jax.Array, train: bool = False, headless: bool = False) -> jax.Array:
        """Evaluate the classifier.

        Args:
            x: images `[B, H, W, C]`.
            labels: noise labels `[B]`.
            train: whether to drop values; needs `rngs={"dropout": key}`.
            headless: whether to stop at the last feature map.

        Returns:
            logits `[B, num_classes]`, or features `[B, H', W', 64 width]`; float32.

        Raises:
            ValueError: if a field or a shape does not fit.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels)
        embed = NoiseEmbedding(
            128,
            kind=self.embedding,
            fourier_scale=self.fourier_scale,
            noise_levels=self.noise_levels,
            dtype=self.dtype,
            name="embedding",
        )
        embedding = embed(labels, None)
        h = standardized(x) if self.standardize else x
        h = _conv(16, "conv_in", self.dtype)(h)
        for i in range(3):
            # A depth of 6 n + 4 counts n blocks of two convolutions in each of the three groups, and four more layers.
            for j in range((self.depth - 4) // 6):
                block = WideBlock(
                    16 * 2**i * self.width,
                    stride=2 if i > 0 and j == 0 else 1,
                    dropout=self.dropout,
                    dtype=self.dtype,
                    name=f"group_{i}_block_{j}",
                )
                h = block(h, embedding, train)
        h = nn.relu(GroupNorm(name="norm_out")(h))
        return h if headless else nn.Dense(self.num_classes, name="dense_out")(h.mean(axis=(1, 2)))

    def _check(self, x: jax.Array, labels: jax.Array) -> None:
        if x.ndim != 4:
            raise ValueError(
                f"WideResNetClassifier takes images [batch, height, width, channels], got an array of shape {x.shape}"
            )
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(f"depth must be 6 n + 4 for n blocks per group (10, 16, 22, 28, ...), got {self.depth}")
        if self.num_classes < 2 or self.width < 1:
            raise ValueError(
                f"num_classes must be at least 2 and width at least 1, got {self.num_classes} and {self.width}"
            )
        if self.embedding not in get_args(Embedding):
            raise ValueError(f"embedding must be one of {get_args(Embedding)}, got {self.embedding!r}")
        check_labels(x.shape[0], labels)


class WideBlock(nn.Module):
    """Pre-activation block of a wide residual network, with a noise embedding.

    `shortcut(x) + conv(dropout(relu(norm(conv(h) + dense(silu(embedding))))))` with `h = relu(norm(x))`. Where
    the shape changes, the shortcut is a 1x1 convolution of `h`.

    Attributes:
        features: channels of the result.
        stride: step of the first convolution.
        dropout: probability to drop a value.
        dtype: type to compute in. Norms are float32.
    """

    features: int
    stride: int = 1
    dropout: float = 0.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array | None, train: bool) -> jax.Array:
        """Map `[B, H, W, C]` and an embedding `[B, E]`, if there is one, to `[B, H', W', features]`."""
        h = nn.relu(GroupNorm(name="norm_0")(x)).astype(self.dtype)
        if self.stride > 1 or x.shape[-1] != self.features:
            x = _conv(self.features, "shortcut", self.dtype, size=1, stride=self.stride)(h)
        h = _conv(self.features, "conv_0", self.dtype, stride=self.stride)(h)
        if embedding is not None:
            shift = nn.Dense(self.features, dtype=self.dtype, name="embedding")
            h = h + shift(nn.silu(embedding))[:, None, None, :]
        h = nn.relu(GroupNorm(name="norm_1")(h)).astype(self.dtype)
        h = Dropout(self.dropout, name="dropout")(h, train)
        return x + _conv(self.features, "conv_1", self.dtype)(h)


def standardized(x: jax.Array) -> jax.Array:
    """Each image of `[B, H, W, C]` with mean 0 and standard deviation 1, in float32.

    An image that hardly varies is not blown up: no standard deviation counts as less than `1 / sqrt(H W C)`.
    """
    x = x.astype(jnp.float32)
    x = x - x.mean(axis=(1, 2, 3), keepdims=True)
    variance = jnp.square(x).mean(axis=(1, 2, 3), keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(variance, 1 / math.prod(x.shape[1:])))


def _conv(features: int, name: str, dtype: Dtype, size: int = 3, stride: int = 1) -> nn.Conv:
    """A convolution without bias: a norm follows, or has its own."""
    init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
    return nn.Conv(features, (size, size), stride, use_bias=False, kernel_init=init, dtype=dtype, name=name)
