"""DDPM++: the U-Net of score-based generative modelling through SDEs."""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.embedding import NoiseEmbedding, check_labels
from scorejax.models.layers import AttentionBlock, Dtype, GroupNorm, ResBlock, conv3x3, double_to, halve

EMBEDDINGS = ("positional", "fourier")


class DDPMpp(nn.Module):
    """DDPM++ U-Net (Song et al. 2021, appendix H): a map `(image, noise label) -> image`.

    The defaults are the CIFAR-10 network of 61.8 million parameters; `blocks_per_level=8` is the deep one.
    Any image size works: an odd side is halved upwards (28, 14, 7, 4) and cut again on the way up.

    `model.apply({"params": params}, x, labels, class_labels=None, train=False, rngs={"dropout": key})`

    Attributes:
        features: Channels at the first level.
        channel_multipliers: Factor on `features` at each level; each level halves the image.
        blocks_per_level: Residual blocks per level on the way down; one more on the way up.
        attention_resolutions: Sizes (the longer side of the image, in pixels) at which attention is added;
            sizes that no level has are passed over. There is always attention in the middle.
        dropout: Probability to drop a value in training.
        num_classes: Number of classes, or None for an unconditional network. Class label `num_classes` means
            "no class".
        scale_by_sigma: Divide the output by the label, which then has to be sigma (VE).
        centered_input: Whether images live in [-1, 1]; if not, in [0, 1], and are mapped to `2x - 1` first.
        embedding: "positional": waves of the label (VP: 999 t). "fourier": random waves of its logarithm
            (VE: log sigma; the label must be positive).
        fourier_scale: Standard deviation of the random frequencies.
        init_scale: Variance factor of the initial weights of the layers that end a residual branch or the
            network.
        skip_rescale: Whether residual sums are divided by sqrt(2).
        dtype: Type to compute in, e.g. bfloat16. Parameters, norms, softmax and output are float32.
        remat: Recompute the blocks in the backward pass instead of storing what is inside them. Neither
            parameters nor values depend on it.
    """

    features: int = 128
    channel_multipliers: Sequence[int] = (1, 2, 2, 2)
    blocks_per_level: int = 4
    attention_resolutions: Sequence[int] = (16,)
    dropout: float = 0.1
    num_classes: int | None = None
    scale_by_sigma: bool = False
    centered_input: bool = True
    embedding: str = "positional"
    fourier_scale: float = 16.0
    init_scale: float = 0.0
    skip_rescale: bool = True
    dtype: Dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, class_labels: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network.

        Args:
            x: Images `[B, H, W, C]`.
            labels: Noise labels `[B]`.
            class_labels: Integer class labels `[B]`, for a conditional network only.
            train: Whether to drop values; needs `rngs={"dropout": key}`.

        Returns:
            Float32 array of the shape of `x`.

        Raises:
            ValueError: if a field, a shape or a class label does not fit.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels, class_labels)
        embed = NoiseEmbedding(
            self.features, self.embedding, self.fourier_scale, self.num_classes, self.dtype, name="embedding"
        )
        embedding = embed(labels, class_labels)
        block = functools.partial(self._res_block, embedding=embedding, train=train)

        h = x.astype(self.dtype) if self.centered_input else 2 * x.astype(self.dtype) - 1
        h = conv3x3(self.features, "conv_in", dtype=self.dtype)(h)
        skips = self._down(h, block)
        h = block(skips[-1], "mid_block_0", skips[-1].shape[-1])
        h = self._attention(h, "mid_attention")
        h = block(h, "mid_block_1", h.shape[-1])
        h = self._up(h, skips, block)
        h = nn.silu(GroupNorm(name="norm_out")(h))
        # The last layer decides the precision of the score, and costs nothing: it is float32.
        h = conv3x3(x.shape[-1], "conv_out", self.init_scale)(h)
        return h / labels[:, None, None, None].astype(h.dtype) if self.scale_by_sigma else h

    def _down(self, h: jax.Array, block: Any) -> list[jax.Array]:
        """All activations on the way down, from `conv_in` on, in order: the skips of the way up."""
        skips = [h]
        for i, multiplier in enumerate(self.channel_multipliers):
            for j in range(self.blocks_per_level):
                h = block(h, f"down_{i}_block_{j}", self.features * multiplier)
                if self._has_attention(h):
                    h = self._attention(h, f"down_{i}_attention_{j}")
                skips.append(h)
            if i + 1 < len(self.channel_multipliers):
                h = block(h, f"down_{i}_resample", h.shape[-1], resample=halve)
                skips.append(h)
        return skips

    def _up(self, h: jax.Array, skips: list[jax.Array], block: Any) -> jax.Array:
        """The way up: each block takes the last skip not yet taken."""
        skips = list(skips)
        for i, multiplier in reversed(list(enumerate(self.channel_multipliers))):
            for j in range(self.blocks_per_level + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = block(h, f"up_{i}_block_{j}", self.features * multiplier)
            if self._has_attention(h):
                h = self._attention(h, f"up_{i}_attention")
            if i > 0:
                # The next skip was made one level above, and knows how large that level is.
                h = block(h, f"up_{i}_resample", h.shape[-1], resample=double_to(*skips[-1].shape[1:3]))
        return h

    def _has_attention(self, h: jax.Array) -> bool:
        return max(h.shape[1:3]) in self.attention_resolutions

    def _res_block(
        self,
        h: jax.Array,
        name: str,
        features: int,
        *,
        embedding: jax.Array,
        train: bool,
        resample: Any = None,
    ) -> jax.Array:
        # `train` is the third argument after self. An explicit name keeps the tree the same under remat.
        make = nn.remat(ResBlock, static_argnums=(3,)) if self.remat else ResBlock
        options = (resample, self.dropout, self.init_scale, self.skip_rescale, self.dtype)
        return make(features, *options, name=name)(h, embedding, train)

    def _attention(self, h: jax.Array, name: str) -> jax.Array:
        make = nn.remat(AttentionBlock) if self.remat else AttentionBlock
        return make(self.init_scale, self.skip_rescale, self.dtype, name=name)(h)

    def _check(self, x: jax.Array, labels: jax.Array, class_labels: jax.Array | None) -> None:
        if x.ndim != 4:
            raise ValueError(f"DDPMpp takes images [batch, height, width, channels], got an array of shape {x.shape}")
        if self.embedding not in EMBEDDINGS:
            raise ValueError(f"embedding must be one of {EMBEDDINGS}, got {self.embedding!r}")
        if self.features < 1 or self.blocks_per_level < 1 or not self.channel_multipliers:
            raise ValueError(
                "features and blocks_per_level must be at least 1 and channel_multipliers not empty, got "
                f"{self.features}, {self.blocks_per_level} and {tuple(self.channel_multipliers)}"
            )
        halvings = len(self.channel_multipliers) - 1
        if min(x.shape[1:3]) <= 2 ** (halvings - 1):
            raise ValueError(
                f"channel_multipliers {tuple(self.channel_multipliers)} halve the image {halvings} times, but "
                f"{x.shape[1]}x{x.shape[2]} is down to one pixel before: use fewer multipliers"
            )
        check_labels(x.shape[0], labels, self.num_classes, class_labels)
