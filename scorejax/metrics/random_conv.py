"""A feature network of random convolutions: no training, nothing to download, the same everywhere."""

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen

from scorejax.numerics.ranges import Count


@partial(jax.jit, static_argnames="strides")
def _pyramid(kernels: tuple[jax.Array, ...], images: jax.Array, strides: tuple[int, ...]) -> jax.Array:
    """Convolutions with rectifiers; of every layer the mean and the root mean square over space."""
    x = images.astype(jnp.float32) / 127.5 - 1
    # the root mean square besides the mean: textures that differ in contrast alone have equal means
    pooled = [x.mean((1, 2))]
    for kernel, stride in zip(kernels, strides, strict=True):
        dims = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=dims)
        x = jax.nn.relu(x)
        pooled += [x.mean((1, 2)), jnp.sqrt(jnp.mean(x**2, axis=(1, 2)) + 1e-12)]
    return jnp.concatenate(pooled, axis=-1)


@dataclass(frozen=True)
class RandomConv:
    """Three random 3x3 convolutions with rectifiers, pooled over space: no training, nothing to download.

    Random filters see edges, strokes and their joint statistics beyond second moments, so they distinguish blurred,
    noisy or merely Gaussian images from real ones. They know nothing of classes or of what a person finds realistic:
    use the distance to rank models of one data set against its floor, never against a published FID.

    Attributes:
        channels: output channels of the layers; features number `C + 2 sum(channels)`.
        strides: of the layers.
    """

    channels: Annotated[tuple[Count, ...], MinLen(1)] = (32, 64, 128)
    strides: Annotated[tuple[Count, ...], MinLen(1)] = (1, 2, 2)
    _kernels: dict[int, tuple[jax.Array, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Version of the weights, channels and strides: all that the features depend on."""
        return f"random-conv-v1-{'-'.join(map(str, self.channels))}-s{''.join(map(str, self.strides))}"

    def _weights(self, channels_in: int) -> tuple[jax.Array, ...]:
        if channels_in not in self._kernels:
            # The legacy generator: its stream is frozen for good, so the network is the same everywhere.
            draw = np.random.RandomState(0).standard_normal
            shapes = [(3, 3, i, o) for i, o in pairwise((channels_in, *self.channels))]
            kernels = [draw(shape) * np.sqrt(2 / np.prod(shape[:3])) for shape in shapes]
            self._kernels[channels_in] = tuple(jnp.asarray(k, jnp.float32) for k in kernels)
        return self._kernels[channels_in]

    def __call__(self, images: jax.Array) -> jax.Array:
        """Return features `[B, C + 2 sum(channels)]` of uint8 images."""
        if jnp.ndim(images) != 4 or images.dtype != jnp.uint8:
            raise ValueError(
                f"{self.name} takes uint8 images [B, H, W, C]; got {images.dtype} of shape {jnp.shape(images)}. "
                "For vectors use 'pixels'."
            )
        return _pyramid(self._weights(images.shape[-1]), images, self.strides)
