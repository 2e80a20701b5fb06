"""DiT: a transformer of patches whose blocks are modulated by the noise (Peebles & Xie, arXiv 2212.09748)."""

from __future__ import annotations

from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.augment import with_augmentation
from scorejax.models.condition import check_condition, condition_vector
from scorejax.models.embedding import check_labels, cosines_first, smooth_label_features
from scorejax.models.layers import Dtype, divide_score
from scorejax.models.patches import (
    Perceptron,
    SelfAttention,
    check_patches,
    dense,
    patchify,
    positions,
    unpatchify,
)
from scorejax.numerics.ranges import Count, Natural

WAVES = 256


class DiT(nn.Module):
    """Transformer of patches of images, series or volumes: a map `(image, noise label) -> image`.

    Each block adds `g1 attention(n(x) (1 + s1) + b1)` and `g2 mlp(n(x) (1 + s2) + b2)`, with `n` a layer norm without
    parameters and the six modulations dense maps of the noise and the condition, zero at first. The defaults are the
    small network of 33 million parameters; B is `features=768, heads=12`, L `features=1024, depth=24, heads=16`, XL
    `features=1152, depth=28, heads=16`.

    `model.apply({"params": params}, x, labels, condition=None, train=False)`

    Attributes:
        features: width of the tokens.
        depth: number of blocks.
        heads: of attention, which divide `features`.
        patch: pixels of a patch along every side, which divide the sides.
        num_classes: number of classes, or None. Class label `num_classes` means "no class".
        condition: what the network is conditioned on if at all: "label" or "vector"; see `models.condition`.
        condition_dim: length of a vector.
        learned_range: whether the output has twice the channels; the second half is of reverse variances.
        embedding: of the noise label: "positional" (VP: 999 t), as published, or "smooth": waves of labels of any
            process, slow enough for solvers that take long steps.
        scale_by_sigma: divide the output by the label, a sigma (VE).
        centered_input: whether images live in [-1, 1]; if not, in [0, 1], and are mapped to `2x - 1` first.
        augment_dim: length of labels of augmentation, which the collection of variables "augment" holds; zeros without.
        dtype: type to compute in, e.g. bfloat16. Parameters, norms and output are float32.
        remat: recompute the blocks in the backward pass instead of storing what is inside them.
    """

    role = "scores"
    ranks = (2, 3, 4)
    conditioning = ("label", "vector")
    tiny: ClassVar[dict[str, object]] = {"features": 16, "depth": 1, "heads": 2}

    features: Count = 384
    depth: Count = 12
    heads: Count = 6
    patch: Count = 2
    num_classes: int | None = None
    condition: str = "label"
    condition_dim: int | None = None
    learned_range: bool = False
    embedding: Literal["positional", "smooth"] = "positional"
    scale_by_sigma: bool = False
    centered_input: bool = True
    augment_dim: Natural = 0
    dtype: Dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network.

        Args:
            x: images `[B, H, W, C]`, series `[B, L, C]` or volumes `[B, D, H, W, C]`.
            labels: noise labels `[B]`.
            condition: class labels `[B]` or vectors `[B, condition_dim]`, for a conditional network only.
            train: without effect.

        Returns:
            Float32 array of the shape of `x`, or with twice the channels.

        Raises:
            ValueError: if a field, a shape or the condition does not fit.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels, condition)
        sides, channels = x.shape[1:-1], x.shape[-1] * (1 + self.learned_range)
        image = x.astype(self.dtype) if self.centered_input else 2 * x.astype(self.dtype) - 1
        h = dense(self.features, "patches", self.dtype)(patchify(image, self.patch))
        h = h + positions([side // self.patch for side in sides], self.features)
        noise = nn.silu(self._noise(labels, condition))
        block = nn.remat(DiTBlock) if self.remat else DiTBlock
        for i in range(self.depth):
            h = block(self.heads, self.dtype, name=f"block_{i}")(h, noise)
        shift, scale = _modulations(noise, 2, self.features, self.dtype)
        h = (_norm(h) * (1 + scale) + shift).astype(jnp.float32)
        # The last layer decides the precision of the score, and costs nothing: it is float32.
        zeros = nn.initializers.zeros
        h = nn.Dense(channels * self.patch ** len(sides), kernel_init=zeros, name="patches_out")(h)
        out = unpatchify(h, sides, self.patch)
        return divide_score(out, labels.astype(jnp.float32), x.shape[-1]) if self.scale_by_sigma else out

    def _noise(self, labels: jax.Array, condition: jax.Array | None) -> jax.Array:
        """The vector of the noise and the condition, `[B, features]`."""
        waves = (cosines_first if self.embedding == "positional" else smooth_label_features)(labels, WAVES)
        normal = nn.initializers.normal(0.02)
        h = nn.Dense(self.features, kernel_init=normal, dtype=self.dtype, name="noise_0")(waves)
        h = nn.Dense(self.features, kernel_init=normal, dtype=self.dtype, name="noise_1")(nn.silu(h))
        h = with_augmentation(self, h, self.features, len(labels))
        added = condition_vector(condition, self.num_classes, self.features, self.dtype)
        return h if added is None else h + added

    def _check(self, x: jax.Array, labels: jax.Array, condition: jax.Array | None) -> None:
        check_patches("DiT", x, self.patch, self.features, self.heads)
        check_labels(x.shape[0], labels)
        if self.condition == "sequence":
            raise ValueError("DiT has no attention to a sequence: use condition='vector', or DDPMpp")
        check_condition(self, x.shape[0], condition)


class DiTBlock(nn.Module):
    """One block of a DiT, which is nothing at first.

    Attributes:
        heads: of attention.
        dtype: type to compute in.
    """

    heads: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, noise: jax.Array) -> jax.Array:
        """Map tokens `[B, N, F]` and the vector of the noise `[B, F]` to tokens."""
        b1, s1, g1, b2, s2, g2 = _modulations(noise, 6, tokens.shape[-1], self.dtype)
        attention = SelfAttention(self.heads, dtype=self.dtype, name="attention")
        tokens = tokens + g1 * attention((_norm(tokens) * (1 + s1) + b1).astype(self.dtype))
        mlp = Perceptron(dtype=self.dtype, name="mlp")
        return tokens + g2 * mlp((_norm(tokens) * (1 + s2) + b2).astype(self.dtype))


def _modulations(noise: jax.Array, count: int, width: int, dtype: Dtype) -> list[jax.Array]:
    """So many vectors `[B, 1, width]` of the noise, zero at first."""
    zeros = nn.initializers.zeros
    all_of_them = nn.Dense(count * width, kernel_init=zeros, dtype=dtype, name="modulation")(noise)
    return jnp.split(all_of_them[:, None, :], count, axis=-1)


def _norm(tokens: jax.Array) -> jax.Array:
    """A layer norm without parameters, in float32."""
    h = tokens.astype(jnp.float32)
    h = h - h.mean(axis=-1, keepdims=True)
    return h * jax.lax.rsqrt(jnp.mean(jnp.square(h), axis=-1, keepdims=True) + 1e-6)
