"""The network of the first diffusion model: convolutions at several scales, and a read-out by bumps in time."""

from typing import Annotated, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import Ge

from scorejax.models.embedding import check_labels
from scorejax.models.layers import Dtype, conv3x3, dense_init
from scorejax.models.mlp import dense
from scorejax.models.resampling import double_to, halve
from scorejax.numerics.ranges import Count, Natural


class MultiscaleConv(nn.Module):
    """Network `(image, noise label) -> image` of the first diffusion model (Sohl-Dickstein et al., arXiv 1503.03585).

    Two branches look at the image without knowing the time: layers of multi-scale convolutions, and dense layers of
    all pixels at once. What they say of a pixel goes through 1x1 convolutions, whose last gives `bumps` coefficients
    `y_j` for each output of each pixel, and the output at label `l` is

        z = sum_j y_j g_j(l),   g_j(l) ~ exp(-(l - c_j)^2 / (2 w^2)),   sum_j g_j(l) = 1

    with centers `c_j` in equal distances `w` over the labels of the process (appendix D.2). A multi-scale convolution
    takes means of 2x2 pixels, again and again, convolves the image of each size, repeats the pixels of all to full
    size, and sums; a softplus follows. Dense layers and 1x1 convolutions end in a tanh. The output starts at zero.

    `model.apply({"params": params}, x, labels)`

    Attributes:
        features: maps of each multi-scale convolution.
        depth: multi-scale convolutions; 0: no such branch, as in the paper for MNIST.
        scales: sizes that each works at.
        dense_features: width of the dense layers.
        dense_depth: dense layers before the one that gives maps; 0: no such branch.
        dense_maps: maps that the dense branch gives.
        pixel_features: maps of the 1x1 convolutions.
        pixel_depth: how many of them there are before the last.
        bumps: coefficients for each output, at least 2.
        learned_range: whether the output has twice the channels; the second half is of the reverse variances.
        centered_input: whether images live in [-1, 1]; if not, in [0, 1], and are mapped to `2x - 1` first.
        label_range: labels of the cleanest and of the noisiest time of the process.
        dtype: type to compute in. Parameters and output are float32.
    """

    role = "scores"
    ranks = (3,)
    tiny: ClassVar[dict[str, int]] = {
        "features": 4,
        "depth": 1,
        "scales": 2,
        "dense_features": 8,
        "dense_depth": 1,
        "pixel_features": 8,
        "pixel_depth": 1,
        "bumps": 3,
    }

    features: Count = 20
    depth: Natural = 4
    scales: Count = 3
    dense_features: Count = 500
    dense_depth: Natural = 3
    dense_maps: Count = 2
    pixel_features: Count = 20
    pixel_depth: Natural = 2
    bumps: Annotated[int, Ge(2)] = 10
    learned_range: bool = False
    centered_input: bool = True
    label_range: tuple[float, float] = (0.0, 999.0)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, labels: jax.Array, condition: None = None, train: bool = False) -> jax.Array:
        """Evaluate the network.

        Args:
            x: images `[B, H, W, C]`.
            labels: noise labels `[B]`.
            condition: none; the network takes no condition.
            train: nothing depends on it.

        Returns:
            Float32 array of the shape of `x`, or with twice the channels.

        Raises:
            ValueError: if a field or a shape does not fit.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels, condition)
        x = x.astype(self.dtype) if self.centered_input else 2 * x.astype(self.dtype) - 1
        batch, height, width, channels = x.shape
        branches = []
        if self.depth:
            h = x
            for i in range(self.depth):
                h = nn.softplus(self._multiscale(h, f"conv_{i}"))
            branches.append(h)
        if self.dense_depth:
            h = x.reshape(batch, -1)
            for i in range(self.dense_depth):
                h = nn.tanh(dense(self.dense_features, f"dense_{i}", self.dtype)(h))
            h = nn.tanh(dense(height * width * self.dense_maps, "dense_maps", self.dtype)(h))
            branches.append(h.reshape(batch, height, width, self.dense_maps))
        h = jnp.concatenate(branches, axis=-1)
        for i in range(self.pixel_depth):
            h = nn.tanh(dense(self.pixel_features, f"pixel_{i}", self.dtype)(h))
        outputs = channels * (1 + self.learned_range)
        # For each image the coefficients of its own time alone: the sum over bumps is a map of `h` times `g`.
        shape = (h.shape[-1], self.bumps, outputs)
        kernel = self.param("readout", nn.initializers.zeros, shape)
        bias = self.param("readout_bias", nn.initializers.zeros, shape[1:])
        weights = temporal_bumps(labels, self.label_range, self.bumps)
        at_time = jnp.einsum("bj,fjo->bfo", weights, kernel)
        z = jnp.einsum("bhwf,bfo->bhwo", h.astype(jnp.float32), at_time)
        return z + (weights @ bias)[:, None, None, :]

    def _multiscale(self, x: jax.Array, name: str) -> jax.Array:
        """The sum of a convolution of the image at each scale, at full size."""
        total, sides = conv3x3(self.features, f"{name}_scale_0", dtype=self.dtype)(x), []
        for i in range(1, self.scales):
            sides.append(x.shape[1:3])
            x = halve(x)
            h = nn.Conv(
                self.features,
                (3, 3),
                padding="SAME",
                use_bias=False,  # that of the finest serves all
                kernel_init=dense_init(),
                dtype=self.dtype,
                name=f"{name}_scale_{i}",
            )(x)
            for side in reversed(sides):
                h = double_to(*side)(h)
            total = total + h
        return total

    def _check(self, x: jax.Array, labels: jax.Array, condition: jax.Array | None) -> None:
        if x.ndim != 4:
            raise ValueError(f"MultiscaleConv takes images [batch, H, W, C], got an array of shape {x.shape}")
        if not (self.depth or self.dense_depth):
            raise ValueError("depth and dense_depth are both 0, so that nothing looks at the image; set one of them")
        if self.bumps < 2 or self.scales < 1:
            raise ValueError(f"bumps must be at least 2 and scales at least 1, got {self.bumps} and {self.scales}")
        if condition is not None:
            raise ValueError("MultiscaleConv takes no condition; use DDPMpp for one")
        check_labels(x.shape[0], labels)


def temporal_bumps(labels: jax.Array, label_range: tuple[float, float], count: int) -> jax.Array:
    """Smooth bumps over a range of labels, whose sum is 1 everywhere, `[B, count]`.

    Args:
        labels: noise labels `[B]`.
        label_range: where the first and the last bump have their centers.
        count: how many there are; the width of each is the distance of two centers.
    """
    first, last = label_range
    place = (labels.astype(jnp.float32) - first) * ((count - 1) / (last - first))  # in distances of two centers
    return nn.softmax(-0.5 * (place[:, None] - jnp.arange(count, dtype=jnp.float32)) ** 2)
