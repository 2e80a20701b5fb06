"""ADM: the U-Net of guided diffusion (Dhariwal & Nichol, arXiv 2105.05233), and what EDM made of it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.adm_layers import (
    EPSILON,
    ManyHeads,
    Multipliers,
    Order,
    Place,
    ScaledBlock,
    check_levels,
    conv,
    heads_of,
    places_down,
    places_up,
)
from scorejax.models.augment import with_augmentation
from scorejax.models.condition import check_condition
from scorejax.models.embedding import check_labels, cosines_first
from scorejax.models.layers import Dtype, GroupNorm
from scorejax.models.resampling import double_to, halve
from scorejax.numerics.ranges import Below1, Count, Natural


class ADM(nn.Module):
    """U-Net of guided diffusion: a map `(image, noise label) -> image`; of series and volumes too.

    Its blocks are scaled and shifted by the noise and the class, change the size of the image themselves, and are
    followed by attention of many heads at the chosen levels, and in the middle. The defaults are the network of
    ImageNet at 64x64 pixels but for its classes; see the page on checkpoints for the others.

    `model.apply({"params": params}, x, labels, condition=None, train=False, rngs={"dropout": key})`

    Attributes:
        features: channels that the factors multiply.
        channel_multipliers: factor on `features` at each level; each level halves the image.
        blocks_per_level: residual blocks per level on the way down; one more on the way up.
        attention_levels: levels with attention after every block, counted from the whole image, 0.
        head_channels: channels of a head of attention.
        heads: number of heads; 0: as `head_channels` says.
        qkv_order: how the rows of attention's projection are arranged: by (q|k|v, head, channel) if "new", by (head,
            q|k|v, channel) if "legacy", by (head, channel, q|k|v) if "edm"; of published weights.
        dropout: probability to drop a value in training.
        num_classes: number of classes, or None for an unconditional network. Class label `num_classes` means "no
            class": nothing is added to the noise.
        condition: "label", the only kind that this network takes.
        condition_dim: None.
        augment_dim: length of labels of augmentation, which the collection of variables "augment" holds; zeros without.
        given_channels: of the input, the last, which are given and not predicted, such as a small image enlarged.
        learned_range: whether the output has twice the channels; the second half is `2 v - 1` of a reverse variance
            between two bounds (improved DDPM).
        group_size: fewest channels in a group of the norms; there are at most 32 groups.
        dtype: type to compute in, e.g. bfloat16. Parameters, norms, softmax and output are float32.
    """

    role = "scores"
    ranks = (2, 3, 4)
    conditioning = ("label",)
    tiny: ClassVar[dict[str, object]] = {
        "features": 8,
        "channel_multipliers": (1, 1),
        "blocks_per_level": 1,
        "attention_levels": (),
        "dropout": 0.0,
    }

    features: Count = 192
    channel_multipliers: Multipliers = (1, 2, 3, 4)
    blocks_per_level: Count = 3
    attention_levels: Sequence[Natural] = (1, 2, 3)
    head_channels: Count = 64
    heads: Natural = 0
    qkv_order: Order = "new"
    dropout: Below1 = 0.1
    num_classes: int | None = None
    condition: str = "label"
    condition_dim: int | None = None
    augment_dim: Natural = 0
    given_channels: Natural = 0
    learned_range: bool = False
    group_size: Count = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network.

        Args:
            x: images `[B, H, W, C]`, series `[B, L, C]` or volumes `[B, D, H, W, C]`.
            labels: noise labels `[B]`, 0 to 999 as published.
            condition: class labels `[B]`, for a conditional network only.
            train: whether to drop values; needs `rngs={"dropout": key}`.

        Returns:
            Float32 array of the shape of `x` (without the channels that are given), or with twice the channels.

        Raises:
            ValueError: if a field, a shape or the condition does not fit.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels, condition)
        embedding = self._noise(labels, condition)

        def block(h: jax.Array, place: Place) -> jax.Array:
            sides = skips[-1].shape[1:-1] if place.change == "double" else ()
            resample = {"": None, "halve": halve, "double": double_to(*sides)}[place.change]
            make = functools.partial(ScaledBlock, place.features, resample, self.dropout, self.group_size, self.dtype)
            h = make(name=place.name)(h, embedding, train)
            return attend(h, place.attention) if place.attention else h

        def attend(h: jax.Array, name: str) -> jax.Array:
            heads = heads_of(h.shape[-1], self.heads, self.head_channels)
            return ManyHeads(heads, self.qkv_order, self.group_size, self.dtype, name=name)(h)

        width = int(self.channel_multipliers[0] * self.features)
        skips = [conv(width, "conv_in", x, dtype=self.dtype)(x.astype(self.dtype))]
        for place in places_down(self):
            skips.append(block(skips[-1], place))
        width = skips[-1].shape[-1]
        h = attend(block(skips[-1], Place("mid_block_0", width)), "mid_attention")
        h = block(h, Place("mid_block_1", width))
        for place in places_up(self):
            h = block(h if place.change else jnp.concatenate([h, skips.pop()], axis=-1), place)
        h = nn.silu(GroupNorm(EPSILON, self.group_size, name="norm_out")(h))
        # The last layer decides the precision of the score, and costs nothing: it is float32.
        return conv((x.shape[-1] - self.given_channels) * (1 + self.learned_range), "conv_out", x, 0.0)(h)

    def _noise(self, labels: jax.Array, condition: jax.Array | None) -> jax.Array:
        """The vector of the noise and the condition, `[B, 4 features]`."""
        waves = cosines_first(labels, self.features)
        waves = with_augmentation(self, waves, self.features, len(labels))
        h = nn.Dense(4 * self.features, dtype=self.dtype, name="noise_0")(waves)
        h = nn.Dense(4 * self.features, dtype=self.dtype, name="noise_1")(nn.silu(h))
        if condition is None or self.num_classes is None:
            return h
        # a label beyond the classes is a row of zeros
        class_of = jax.nn.one_hot(condition, self.num_classes)
        normal = nn.initializers.normal(1.0)
        return h + nn.Dense(h.shape[-1], use_bias=False, kernel_init=normal, dtype=self.dtype, name="classes")(class_of)

    def _check(self, x: jax.Array, labels: jax.Array, condition: jax.Array | None) -> None:
        check_levels(self, x)
        check_labels(x.shape[0], labels)
        if self.condition != "label":
            raise ValueError(f"ADM takes class labels alone, got condition={self.condition!r}; take DDPMpp or DiT")
        check_condition(self, x.shape[0], condition)
        if self.given_channels >= x.shape[-1]:
            raise ValueError(
                f"given_channels = {self.given_channels} leave nothing to predict of {x.shape[-1]} channels"
            )


class DhariwalUNet(ADM):
    """The same network as EDM trains it (Karras et al., arXiv 2206.00364): labels of augmentation, smaller groups.

    Attributes: those of `ADM`, with other defaults.
    """

    qkv_order: Order = "edm"
    group_size: Count = 4
