"""U-ViT: a transformer whose tokens are patches, the noise and the class, with long skips (Bao et al., 2209.12152)."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.augment import with_augmentation
from scorejax.models.condition import check_condition, condition_vector
from scorejax.models.embedding import check_labels, cosines_first
from scorejax.models.layers import Dtype, conv3x3
from scorejax.models.patches import Perceptron, SelfAttention, check_patches, dense, patchify, unpatchify
from scorejax.numerics.ranges import Count, Natural

_POSITION = nn.initializers.truncated_normal(0.02)


class UViT(nn.Module):
    """Transformer of patches of images, series or volumes: a map `(image, noise label) -> image`.

    `depth // 2` blocks, one in the middle, and `depth // 2` blocks that are each given the tokens of an earlier one by
    a dense map of both. The defaults are the network for CIFAR-10 of 44 million parameters.

    `model.apply({"params": params}, x, labels, condition=None, train=False)`

    Attributes:
        features: width of the tokens.
        depth: number of blocks without the one in the middle, even.
        heads: of attention, which divide `features`.
        patch: pixels of a patch along every side, which divide the sides.
        num_classes: number of classes, or None. Class label `num_classes` means "no class".
        condition: what the network is conditioned on if at all: "label" or "vector"; it is a token of its own.
        condition_dim: length of a vector.
        last_conv: whether a 3x3 convolution ends the network, as for pixels.
        centered_input: whether images live in [-1, 1]; if not, in [0, 1], and are mapped to `2x - 1` first.
        augment_dim: length of labels of augmentation, which the collection of variables "augment" holds; zeros without.
        dtype: type to compute in, e.g. bfloat16. Parameters, norms and output are float32.
        remat: recompute the blocks in the backward pass instead of storing what is inside them.
    """

    role = "scores"
    ranks = (2, 3, 4)
    conditioning = ("label", "vector")
    tiny: ClassVar[dict[str, object]] = {"features": 16, "depth": 2, "heads": 2}

    features: Count = 512
    depth: Count = 12
    heads: Count = 8
    patch: Count = 2
    num_classes: int | None = None
    condition: str = "label"
    condition_dim: int | None = None
    last_conv: bool = True
    centered_input: bool = True
    augment_dim: Natural = 0
    dtype: Dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network; arguments and result as of `DiT`.

        Raises:
            ValueError: if a field, a shape or the condition does not fit.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels, condition)
        sides, channels = x.shape[1:-1], x.shape[-1]
        image = x.astype(self.dtype) if self.centered_input else 2 * x.astype(self.dtype) - 1
        patches = dense(self.features, "patches", self.dtype)(patchify(image, self.patch))
        noise = with_augmentation(self, cosines_first(labels, self.features), self.features, len(labels))
        first = [noise.astype(self.dtype)]
        if (added := condition_vector(condition, self.num_classes, self.features, self.dtype)) is not None:
            first.insert(0, added)
        h = jnp.concatenate([*(token[:, None] for token in first), patches], axis=1)
        h = h + self.param("positions", _POSITION, (1, h.shape[1], self.features))
        block = nn.remat(UViTBlock) if self.remat else UViTBlock
        skips = []
        for i in range(self.depth // 2):
            h = block(self.heads, self.dtype, name=f"in_{i}")(h)
            skips.append(h)
        h = block(self.heads, self.dtype, name="mid")(h)
        for i in range(self.depth // 2):
            h = dense(self.features, f"skip_{i}", self.dtype)(jnp.concatenate([h, skips.pop()], axis=-1))
            h = block(self.heads, self.dtype, name=f"out_{i}")(h)
        h = nn.LayerNorm(dtype=jnp.float32, name="norm_out")(h)[:, len(first) :]
        # The last layers decide the precision of the score, and cost nothing: they are float32.
        out = unpatchify(dense(channels * self.patch ** len(sides), "patches_out", jnp.float32)(h), sides, self.patch)
        return conv3x3(channels, "conv_out", padding=("zeros",) * len(sides))(out) if self.last_conv else out

    def _check(self, x: jax.Array, labels: jax.Array, condition: jax.Array | None) -> None:
        check_patches("UViT", x, self.patch, self.features, self.heads)
        check_labels(x.shape[0], labels)
        if self.depth % 2:
            raise ValueError(
                f"depth must be even: each block of the second half has one of the first, got {self.depth}"
            )
        if self.condition == "sequence":
            raise ValueError("UViT takes one token of a condition: use condition='vector', or DDPMpp for a sequence")
        check_condition(self, x.shape[0], condition)


class UViTBlock(nn.Module):
    """Attention and a perceptron, each after a norm and added to what it is given.

    Attributes:
        heads: of attention.
        dtype: type to compute in.
    """

    heads: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Map `[B, N, F]` to the same shape."""
        attention = SelfAttention(self.heads, qkv_bias=False, dtype=self.dtype, name="attention")
        tokens = tokens + attention(nn.LayerNorm(epsilon=1e-5, name="norm_0")(tokens).astype(self.dtype))
        mlp = Perceptron(dtype=self.dtype, approximate=False, name="mlp")
        return tokens + mlp(nn.LayerNorm(epsilon=1e-5, name="norm_1")(tokens).astype(self.dtype))
