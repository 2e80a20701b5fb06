"""The noise-conditional classifier of guided diffusion: the way down of ADM, and attention to all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import Ge

from scorejax.models.adm_layers import (
    EPSILON,
    AttentionPool,
    ManyHeads,
    Multipliers,
    Order,
    Place,
    ScaledBlock,
    check_levels,
    conv,
    heads_of,
    places_down,
)
from scorejax.models.embedding import check_labels, cosines_first
from scorejax.models.layers import Dtype, GroupNorm
from scorejax.models.resampling import halve
from scorejax.numerics.ranges import Below1, Count, Natural


class ADMClassifier(nn.Module):
    """Classifier of noisy images (Dhariwal & Nichol, arXiv 2105.05233): `(noisy image, noise label) -> logits`.

    The defaults are the network of ImageNet at 64x64 pixels. The table of positions of its last layer belongs to one
    size of images.

    `model.apply({"params": params}, x, labels, train=False, rngs={"dropout": key})`

    Attributes:
        num_classes: number of classes, and of logits.
        features: channels that the factors multiply.
        channel_multipliers: factor on `features` at each level; each level halves the image.
        blocks_per_level: residual blocks per level.
        attention_levels: levels with attention after every block, counted from the whole image, 0.
        head_channels: channels of a head of attention.
        qkv_order: how the rows of attention's projection are arranged, as in `ADM`.
        dropout: probability to drop a value in training.
        group_size: fewest channels in a group of the norms; there are at most 32 groups.
        dtype: type to compute in, e.g. bfloat16. Parameters, norms and logits are float32.
    """

    role = "classes"
    ranks = (2, 3, 4)
    tiny: ClassVar[dict[str, object]] = {
        "features": 8,
        "channel_multipliers": (1, 1),
        "blocks_per_level": 1,
        "attention_levels": (),
    }

    num_classes: Annotated[int, Ge(2)] = 1000
    features: Count = 128
    channel_multipliers: Multipliers = (1, 2, 3, 4)
    blocks_per_level: Count = 4
    attention_levels: Sequence[Natural] = (1, 2, 3)
    head_channels: Count = 64
    qkv_order: Order = "new"
    dropout: Below1 = 0.0
    group_size: Count = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, labels: jax.Array, train: bool = False, headless: bool = False) -> jax.Array:
        """Evaluate the classifier.

        Args:
            x: images `[B, H, W, C]`, series or volumes.
            labels: noise labels `[B]`, 0 to 999 as published.
            train: whether to drop values; needs `rngs={"dropout": key}`.
            headless: whether to stop at the last feature map.

        Returns:
            logits `[B, num_classes]`, or features `[B, H', W', C']`; float32.

        Raises:
            ValueError: if a field or a shape does not fit.
        """
        labels = jnp.asarray(labels)
        check_levels(self, x)
        check_labels(x.shape[0], labels)
        embedding = nn.Dense(4 * self.features, name="noise_0")(cosines_first(labels, self.features))
        embedding = nn.Dense(4 * self.features, name="noise_1")(nn.silu(embedding))

        def block(h: jax.Array, place: Place) -> jax.Array:
            resample = halve if place.change == "halve" else None
            make = ScaledBlock(place.features, resample, self.dropout, self.group_size, self.dtype, name=place.name)
            h = make(h, embedding, train)
            return attend(h, place.attention) if place.attention else h

        def attend(h: jax.Array, name: str) -> jax.Array:
            heads = heads_of(h.shape[-1], 0, self.head_channels)
            return ManyHeads(heads, self.qkv_order, self.group_size, self.dtype, name=name)(h)

        width = int(self.channel_multipliers[0] * self.features)
        h = conv(width, "conv_in", x, dtype=self.dtype)(x.astype(self.dtype))
        for place in places_down(self):
            h = block(h, place)
        h = attend(block(h, Place("mid_block_0", h.shape[-1])), "mid_attention")
        h = block(h, Place("mid_block_1", h.shape[-1]))
        h = nn.silu(GroupNorm(EPSILON, self.group_size, name="norm_out")(h))
        return h if headless else AttentionPool(self.num_classes, self.head_channels, name="pool")(h)
