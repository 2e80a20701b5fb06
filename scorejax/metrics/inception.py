"""Inception-v3 as published FID numbers use it: the network of 2015-12-05, not the one of today's model zoos.

Szegedy et al. 2016, with the differences that count: images are resized to 299 x 299 bilinearly without antialiasing,
batch normalization has eps = 1e-3, average pools leave the padding out of the mean, the last block takes a maximum
where the others average, and there are 1008 classes. Parts carry the names of the published weights file.
"""

import functools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from scipy.special import log_softmax

from scorejax.metrics import inception_weights
from scorejax.metrics.naming import INCEPTION
from scorejax.numerics.trees import PyTree

SIZE = 299


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalization by running statistics, rectifier."""

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H, W, C]` to `[B, H', W', features]`."""
        x = nn.Conv(
            self.features,
            self.kernel,
            self.stride,
            self.padding,
            use_bias=False,
            precision=lax.Precision.HIGHEST,  # published numbers are of float32, not of what GPUs shorten it to
            name="conv",
        )(x)
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(x)
        return nn.relu(x)


def _average(x: Array) -> Array:
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _maximum(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), (1, 1), "SAME")


def _halve(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")


class BlockA(nn.Module):
    """Block at 35 x 35: branches with kernels 1, 5 and 3-3 and a pool, side by side."""

    pooled: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, 35, 35, C]` to `[B, 35, 35, 224 + pooled]`."""
        one = ConvNorm(64, name="branch1x1")(x)
        five = ConvNorm(48, name="branch5x5_1")(x)
        five = ConvNorm(64, (5, 5), name="branch5x5_2")(five)
        three = ConvNorm(64, name="branch3x3dbl_1")(x)
        three = ConvNorm(96, (3, 3), name="branch3x3dbl_2")(three)
        three = ConvNorm(96, (3, 3), name="branch3x3dbl_3")(three)
        pool = ConvNorm(self.pooled, name="branch_pool")(_average(x))
        return jnp.concatenate([one, five, three, pool], axis=-1)


class BlockB(nn.Module):
    """Block that shrinks 35 x 35 to 17 x 17."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, 35, 35, C]` to `[B, 17, 17, 480 + C]`."""
        three = ConvNorm(384, (3, 3), 2, "VALID", name="branch3x3")(x)
        double = ConvNorm(64, name="branch3x3dbl_1")(x)
        double = ConvNorm(96, (3, 3), name="branch3x3dbl_2")(double)
        double = ConvNorm(96, (3, 3), 2, "VALID", name="branch3x3dbl_3")(double)
        return jnp.concatenate([three, double, _halve(x)], axis=-1)


class BlockC(nn.Module):
    """Block at 17 x 17: kernels of 7, cut into rows and columns."""

    inner: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, 17, 17, 768]` to the same shape."""
        one = ConvNorm(192, name="branch1x1")(x)
        seven = ConvNorm(self.inner, name="branch7x7_1")(x)
        seven = ConvNorm(self.inner, (1, 7), name="branch7x7_2")(seven)
        seven = ConvNorm(192, (7, 1), name="branch7x7_3")(seven)
        double = ConvNorm(self.inner, name="branch7x7dbl_1")(x)
        double = ConvNorm(self.inner, (7, 1), name="branch7x7dbl_2")(double)
        double = ConvNorm(self.inner, (1, 7), name="branch7x7dbl_3")(double)
        double = ConvNorm(self.inner, (7, 1), name="branch7x7dbl_4")(double)
        double = ConvNorm(192, (1, 7), name="branch7x7dbl_5")(double)
        pool = ConvNorm(192, name="branch_pool")(_average(x))
        return jnp.concatenate([one, seven, double, pool], axis=-1)


class BlockD(nn.Module):
    """Block that shrinks 17 x 17 to 8 x 8."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, 17, 17, C]` to `[B, 8, 8, 512 + C]`."""
        three = ConvNorm(192, name="branch3x3_1")(x)
        three = ConvNorm(320, (3, 3), 2, "VALID", name="branch3x3_2")(three)
        seven = ConvNorm(192, name="branch7x7x3_1")(x)
        seven = ConvNorm(192, (1, 7), name="branch7x7x3_2")(seven)
        seven = ConvNorm(192, (7, 1), name="branch7x7x3_3")(seven)
        seven = ConvNorm(192, (3, 3), 2, "VALID", name="branch7x7x3_4")(seven)
        return jnp.concatenate([three, seven, _halve(x)], axis=-1)


class BlockE(nn.Module):
    """Block at 8 x 8: kernels of 3 that end in a row and a column side by side."""

    maximum: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, 8, 8, C]` to `[B, 8, 8, 2048]`."""
        one = ConvNorm(320, name="branch1x1")(x)
        three = ConvNorm(384, name="branch3x3_1")(x)
        row = ConvNorm(384, (1, 3), name="branch3x3_2a")(three)
        column = ConvNorm(384, (3, 1), name="branch3x3_2b")(three)
        double = ConvNorm(448, name="branch3x3dbl_1")(x)
        double = ConvNorm(384, (3, 3), name="branch3x3dbl_2")(double)
        double_row = ConvNorm(384, (1, 3), name="branch3x3dbl_3a")(double)
        double_column = ConvNorm(384, (3, 1), name="branch3x3dbl_3b")(double)
        pool = ConvNorm(192, name="branch_pool")((_maximum if self.maximum else _average)(x))
        return jnp.concatenate([one, row, column, double_row, double_column, pool], axis=-1)


def resize(images: Array) -> Array:
    """Return images `[B, H, W, 1 or 3]` in 0..255 as the network wants them: `[B, 299, 299, 3]` in [-1, 1], float32.

    Gray images are repeated to three channels. No antialiasing, also where images shrink: published statistics were
    computed so.
    """
    unit = jnp.asarray(images, jnp.float32) / 255.0
    unit = jnp.broadcast_to(unit, (*unit.shape[:-1], 3))
    shape = (len(unit), SIZE, SIZE, 3)
    # HIGHEST: the resize is two products with matrices of weights
    unit = jax.image.resize(unit, shape, "bilinear", antialias=False, precision=lax.Precision.HIGHEST)
    return 2 * unit - 1


class Inception(nn.Module):
    """The trunk of Inception-v3, up to its pooled features."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, 299, 299, 3]` in [-1, 1] to `[B, 2048]`."""
        x = ConvNorm(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = ConvNorm(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(x)
        x = _halve(ConvNorm(64, (3, 3), name="Conv2d_2b_3x3")(x))
        x = ConvNorm(80, name="Conv2d_3b_1x1")(x)
        x = _halve(ConvNorm(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x))
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = BlockA(pooled, name=name)(x)
        x = BlockB(name="Mixed_6a")(x)
        for name, inner in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            x = BlockC(inner, name=name)(x)
        x = BlockD(name="Mixed_7a")(x)
        x = BlockE(maximum=False, name="Mixed_7b")(x)
        x = BlockE(maximum=True, name="Mixed_7c")(x)
        return x.mean((1, 2))


@functools.cache
def variable_shapes() -> dict[str, PyTree]:
    """Return shapes and types of the network's parameters and running statistics."""
    image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    return jax.eval_shape(Inception().init, jax.random.key(0), image)


@jax.jit
def pooled_features(variables: PyTree, images: Array) -> Array:
    """Return features `[B, 2048]` of images `[B, H, W, 1 or 3]` in 0..255; weights are an argument, not constants."""
    return jnp.asarray(Inception().apply(variables, resize(images)))


class InceptionV3:
    """The feature network of FID: 2048 pooled features of Inception-v3, and its class probabilities.

    Attributes:
        name: ends in the beginning of the weights file's checksum, 6726825d for the published one.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        """Find and read the weights.

        Args:
            weights: the file; None looks where `inception_weights.find` says.

        Raises:
            RunError: no such file, or not one of these weights.
        """
        path = inception_weights.find(weights)
        variables, self._classifier, sha256 = inception_weights.read(path, variable_shapes())
        self._variables = jax.tree.map(jnp.asarray, variables)
        self.name = f"{INCEPTION}-{sha256[:8]}"

    def __call__(self, images: Array) -> Array:
        """Return features `[B, 2048]` of uint8 images `[B, H, W, 1 or 3]`."""
        if jnp.ndim(images) != 4 or images.dtype != jnp.uint8 or images.shape[-1] not in (1, 3):
            raise ValueError(
                f"{self.name} takes uint8 images [B, H, W, 1 or 3]; got {images.dtype} of shape {jnp.shape(images)}. "
                "For vectors use 'pixels'."
            )
        return pooled_features(self._variables, images)

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return log-probabilities of the 1008 classes, float64 `[B, 1008]`, from features `[B, 2048]`.

        Without the bias of the last layer: so the Inception Score was first computed (Salimans et al. 2016), and so
        all published ones are.
        """
        return log_softmax(np.asarray(features, np.float64) @ self._classifier, axis=-1)
