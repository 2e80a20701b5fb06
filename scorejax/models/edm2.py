"""EDM2: the U-Net that keeps magnitudes (Karras et al., arXiv 2312.02696)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.adm_layers import Multipliers, Place, check_levels, heads_of, places_down, places_up
from scorejax.models.condition import check_condition
from scorejax.models.edm2_layers import MPBlock, MPConv, MPDense, MPFourier, mp_cat, mp_silu, mp_sum, normalized
from scorejax.models.embedding import check_labels
from scorejax.models.resampling import double_to, halve
from scorejax.numerics.ranges import Below1, Count, Natural
from scorejax.numerics.trees import PyTree


class EDM2(nn.Module):
    """U-Net without biases and norms that are learned: a map `(image, noise label) -> image`; series and volumes too.

    Weights are normalized wherever they are used, so that only their directions are learned. A training also keeps them
    so after each step (`project`): else they grow, and the learning rate, in units of their size, falls. The defaults
    are the network S; XS has 128 features, M 256, L 320, XL 384, XXL 448. The label is `ln(sigma) / 4`
    (`recipe.noise_label=log_ratio`). A class label `num_classes` means "no class": zeros in the place of the classes.

    `model.apply({"params": params}, x, labels, condition=None, train=False, rngs={"dropout": key})`

    Attributes:
        features: channels that the factors multiply.
        channel_multipliers: factor on `features` at each level; each level halves the image.
        blocks_per_level: residual blocks per level on the way down; one more on the way up.
        attention_levels: levels with attention after every block, counted from the whole image, 0.
        head_channels: channels of a head of attention.
        dropout: probability to drop a value in training.
        num_classes: number of classes, or None for an unconditional network.
        condition: "label", the only kind that this network takes.
        condition_dim: None.
    """

    role = "scores"
    ranks = (2, 3, 4)
    conditioning = ("label",)
    tiny: ClassVar[dict[str, object]] = {
        "features": 8,
        "channel_multipliers": (1, 1),
        "blocks_per_level": 1,
        "attention_levels": (),
    }

    features: Count = 192
    channel_multipliers: Multipliers = (1, 2, 3, 4)
    blocks_per_level: Count = 3
    attention_levels: Sequence[Natural] = (2, 3)
    head_channels: Count = 64
    dropout: Below1 = 0.0
    num_classes: int | None = None
    condition: str = "label"
    condition_dim: int | None = None

    @staticmethod
    def project(params: PyTree) -> PyTree:
        """Return the parameters with each kernel normalized, where training keeps them."""
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: normalized(leaf) if getattr(path[-1], "key", None) == "kernel" else leaf, params
        )

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network.

        Args:
            x: images `[B, H, W, C]`, series `[B, L, C]` or volumes `[B, D, H, W, C]`.
            labels: noise labels `[B]`.
            condition: class labels `[B]`, for a conditional network only.
            train: whether to drop values; needs `rngs={"dropout": key}`.

        Returns:
            Float32 array of the shape of `x`.

        Raises:
            ValueError: if a field, a shape or the condition does not fit.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels, condition)
        embedding = self._noise(labels, condition)

        def block(h: jax.Array, place: Place, *, down: bool, attention: bool) -> jax.Array:
            sides = skips[-1].shape[1:-1] if place.change == "double" else ()
            resample = {"": None, "halve": halve, "double": double_to(*sides)}[place.change]
            heads = heads_of(place.features, 0, self.head_channels) if attention else 0
            make = MPBlock(place.features, down, heads, resample, self.dropout, name=place.name)
            return make(h, embedding, train)

        width = int(self.channel_multipliers[0] * self.features)
        ones = jnp.ones((*x.shape[:-1], 1), x.dtype)
        skips = [MPConv(width, name="conv_in")(jnp.concatenate([x, ones], axis=-1))]
        for place in places_down(self):
            skips.append(block(skips[-1], place, down=True, attention=bool(place.attention)))
        width = skips[-1].shape[-1]
        h = block(skips[-1], Place("mid_block_0", width), down=False, attention=True)
        h = block(h, Place("mid_block_1", width), down=False, attention=False)
        for place in places_up(self):
            h = h if place.change else mp_cat(h, skips.pop())
            h = block(h, place, down=False, attention=bool(place.attention))
        gain = self.param("gain_out", nn.initializers.zeros, ())
        return MPConv(x.shape[-1], name="conv_out")(h, gain)

    def _noise(self, labels: jax.Array, condition: jax.Array | None) -> jax.Array:
        """The vector of the noise and the condition."""
        widths = [int(multiplier * self.features) for multiplier in self.channel_multipliers]
        h = MPDense(max(widths), name="noise")(MPFourier(widths[0], name="fourier")(labels))
        if condition is not None and self.num_classes is not None:
            # a label beyond the classes is a row of zeros
            class_of = jax.nn.one_hot(condition, self.num_classes) * math.sqrt(self.num_classes)
            h = mp_sum(h, MPDense(max(widths), name="classes")(class_of), 0.5)
        return mp_silu(h)

    def _check(self, x: jax.Array, labels: jax.Array, condition: jax.Array | None) -> None:
        check_levels(self, x)
        check_labels(x.shape[0], labels)
        if self.condition != "label":
            raise ValueError(f"EDM2 takes class labels alone, got condition={self.condition!r}; take DDPMpp or DiT")
        check_condition(self, x.shape[0], condition)
