"""NCSN++: the general U-Net of score-based generative modeling through SDEs."""

import functools
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models import unet_fields
from scorejax.models.augment import with_augmentation
from scorejax.models.condition import Tokens, check_condition, tokens
from scorejax.models.embedding import NoiseEmbedding, check_labels, noise_level
from scorejax.models.layers import (
    NONLINEARITIES,
    AttentionBlock,
    Dtype,
    GroupNorm,
    Nonlinearity,
    ResBlock,
    conv3x3,
    dense_init,
    divide_score,
    residual_sum,
)
from scorejax.models.resampling import Resampling
from scorejax.numerics.ranges import Below1, Count, Natural, NonNegative, Positive

MakeBlock: TypeAlias = Callable[..., jax.Array]
"""`(features, name, channels, *, resample)`: run a residual block of that name on features `[B, H, W, C]`."""
Attend: TypeAlias = Callable[[jax.Array, str], jax.Array]
"""`(features, name)`: run an attention block of that name."""


class NCSNpp(nn.Module):
    """NCSN++ U-Net (Song et al. 2021, appendix H): a map `(image, noise label) -> image`; of series and volumes too.

    The defaults are the CIFAR-10 network for continuous VE of 62.8 million parameters; `blocks_per_level=8` is the deep
    one. Other values of the fields give every U-Net of that paper; `DDPMpp` and `DDPM` are this class with their own
    defaults. Any size works: an odd side is halved upwards (28, 14, 7, 4) and cut again on the way up.

    `model.apply({"params": params}, x, labels, condition=None, train=False, rngs={"dropout": key})`

    Attributes:
        features: channels at the first level.
        channel_multipliers: factor on `features` at each level; each level halves the image.
        blocks_per_level: residual blocks per level on the way down; one more on the way up.
        attention_resolutions: sizes (the longer side of the image, in pixels) at which attention is added;
            sizes that no level has are passed over. There is always attention in the middle.
        attention_up: on the way up, attention follows every "block" (Ho et al. 2020) or the last block of a
            "level" (Song et al. 2021).
        dropout: probability to drop a value in training.
        num_classes: number of classes, or None for an unconditional network. Class label `num_classes` means
            "no class".
        condition: what the network is conditioned on if at all: "label", "vector", or "sequence", to which every
            attention block attends; see `models.condition`.
        condition_dim: length of a vector, or of the vectors of a sequence.
        learned_range: whether the output has twice the channels; the second half is `2 v - 1` of a reverse variance
            between two bounds (improved DDPM, see `variance.LearnedRange`).
        scale_by_sigma: divide the output by sigma (VE).
        noise_levels: what sigma a label stands for: the largest and smallest sigma and the number of levels,
            geometric, which the label counts from the largest, 0, down (SMLD). None: the label is sigma (VE).
        centered_input: whether images live in [-1, 1]; if not, in [0, 1], and are mapped to `2x - 1` first.
        embedding: "positional": waves of the label (VP: 999 t). "fourier": random waves of log sigma.
            "none": the blocks do not see the label.
        fourier_scale: standard deviation of the random frequencies.
        block: "biggan": residual blocks change the size of the image. "ddpm": layers of their own do.
        resample_with_conv: whether those layers are 3x3 convolutions, or without parameters; for "ddpm" alone.
        fir: whether sizes change by a finite impulse response filter, or by means and repeated pixels.
        fir_kernel: taps of the filter along either axis.
        progressive_input: how the image, shrunk to each level, joins the way down: "input_skip" adds a 1x1
            convolution of it, "residual" a running sum of 3x3 convolutions; or "none".
        progressive_combine: whether "input_skip" is added ("sum") or put next to it ("cat").
        progressive: how the result is gathered on the way up: "output_skip" sums an image of each level,
            "residual" a running sum of features; or "none".
        init_scale: variance factor of the initial weights of the layers that end a residual branch or the
            network.
        skip_rescale: whether residual sums are divided by sqrt(2).
        nonlinearity: "silu", "elu", "relu" or "leaky_relu" (of slope 0.2).
        group_size: fewest channels in a group of the norms; there are at most 32 groups.
        padding: what lies beyond an edge: zeros, or the other side ("circular"), for data around a circle, whose sides
            are then multiples of 2 for each halving. One for all sides or one for each.
        augment_dim: length of labels of augmentation, which the collection of variables "augment" holds; zeros without.
        dtype: type to compute in, e.g. bfloat16. Parameters, norms, softmax and output are float32.
        remat: recompute the blocks in the backward pass instead of storing what is inside them. Neither
            parameters nor values depend on it.
    """

    role = "scores"
    ranks = (2, 3, 4)
    tiny: ClassVar[dict[str, object]] = unet_fields.TINY

    features: Count = 128
    channel_multipliers: unet_fields.Multipliers = (1, 2, 2, 2)
    blocks_per_level: Count = 4
    attention_resolutions: Sequence[Count] = (16,)
    attention_up: unet_fields.AttentionUp = "level"
    dropout: Below1 = 0.1
    num_classes: int | None = None
    condition: str = "label"
    condition_dim: int | None = None
    learned_range: bool = False
    scale_by_sigma: bool = True
    noise_levels: tuple[float, float, int] | None = None
    centered_input: bool = False
    embedding: unet_fields.Embedding = "fourier"
    fourier_scale: Positive = 16.0
    block: unet_fields.Block = "biggan"
    resample_with_conv: bool = True
    fir: bool = True
    fir_kernel: unet_fields.Taps = (1, 3, 3, 1)
    progressive_input: unet_fields.ProgressiveInput = "residual"
    progressive_combine: unet_fields.ProgressiveCombine = "sum"
    progressive: unet_fields.Progressive = "none"
    init_scale: NonNegative = 0.0
    skip_rescale: bool = True
    nonlinearity: Nonlinearity = "silu"
    group_size: Count = 4
    padding: unet_fields.Paddings = ("zeros",)
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
            condition: class labels `[B]`, vectors `[B, condition_dim]` or sequences `[B, L, condition_dim]`, for a
                conditional network only.
            train: whether to drop values; needs `rngs={"dropout": key}`.

        Returns:
            Float32 array of the shape of `x`, or with twice the channels.

        Raises:
            ValueError: if a field, a shape or the condition does not fit.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels, condition)
        res_block = functools.partial(self._res_block, embedding=self._noise(labels, condition), train=train)
        sequence = tokens(condition) if condition is not None and condition.ndim == 3 else None
        attention = functools.partial(self._attention, sequence=sequence)

        image = x.astype(self.dtype) if self.centered_input else 2 * x.astype(self.dtype) - 1
        skips = self._down(image, res_block, attention)
        h = res_block(skips[-1], "mid_block_0", skips[-1].shape[-1])
        h = attention(h, "mid_attention")
        h = res_block(h, "mid_block_1", h.shape[-1])
        channels = x.shape[-1] * (1 + self.learned_range)
        h = self._up(h, skips, res_block, attention, channels)
        if self.progressive != "output_skip":
            # The last layer decides the precision of the score, and costs nothing: it is float32.
            h = self._conv(channels, "conv_out", self._norm_act(h, "norm_out"), self.init_scale)
        if not self.scale_by_sigma:
            return h
        return divide_score(h, noise_level(labels, self.noise_levels), x.shape[-1])

    def _noise(self, labels: jax.Array, condition: jax.Array | None) -> jax.Array | None:
        """The vector that every block adds, before its nonlinearity."""
        about = self.embedding, self.fourier_scale, self.num_classes, self.noise_levels, self.nonlinearity, self.dtype
        h = NoiseEmbedding(self.features, *about, name="embedding")(labels, condition)
        return with_augmentation(self, h, 4 * self.features, len(labels))

    def _down(self, image: jax.Array, res_block: MakeBlock, attention: Attend) -> list[jax.Array]:
        """All activations on the way down, from `conv_in` on, in order: the skips of the way up."""
        h = self._conv(self.features, "conv_in", image, dtype=self.dtype)
        skips, pyramid = [h], image
        for i, multiplier in enumerate(self.channel_multipliers):
            for j in range(self.blocks_per_level):
                h = res_block(h, f"down_{i}_block_{j}", self.features * multiplier)
                if self._has_attention(h):
                    h = attention(h, f"down_{i}_attention_{j}")
                skips.append(h)
            if i + 1 < len(self.channel_multipliers):
                h = self._halve(h, f"down_{i}_resample", res_block)
                h, pyramid = self._join_input(h, pyramid, f"down_{i}_input")
                skips.append(h)
        return skips

    def _up(
        self,
        h: jax.Array,
        skips: list[jax.Array],
        res_block: MakeBlock,
        attention: Attend,
        channels: int,
    ) -> jax.Array:
        """The way up, where each block takes the last skip not yet taken; features, or the image of "output_skip"."""
        skips, pyramid = list(skips), None
        for i, multiplier in reversed(list(enumerate(self.channel_multipliers))):
            for j in range(self.blocks_per_level + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = res_block(h, f"up_{i}_block_{j}", self.features * multiplier)
                if self.attention_up == "block" and self._has_attention(h):
                    h = attention(h, f"up_{i}_attention_{j}")
            if self.attention_up == "level" and self._has_attention(h):
                h = attention(h, f"up_{i}_attention")
            h, pyramid = self._gather_output(h, pyramid, f"up_{i}_output", channels)
            if i > 0:
                # The next skip was made one level above, and knows how large that level is.
                h = self._double(h, f"up_{i}_resample", skips[-1].shape[1:-1], res_block)
        return pyramid if self.progressive == "output_skip" and pyramid is not None else h

    def _halve(self, h: jax.Array, name: str, res_block: MakeBlock) -> jax.Array:
        if self.block == "biggan":
            return res_block(h, name, h.shape[-1], resample=self._sizes(h.ndim).halve)
        sizes = self._sizes(h.ndim)
        return sizes.downsample(h, name, h.shape[-1]) if self.resample_with_conv else sizes.halve(h)

    def _double(self, h: jax.Array, name: str, size: Sequence[int], res_block: MakeBlock) -> jax.Array:
        if self.block == "biggan":
            return res_block(h, name, h.shape[-1], resample=self._sizes(h.ndim).double_to(size))
        sizes = self._sizes(h.ndim)
        return sizes.upsample(h, name, h.shape[-1], size) if self.resample_with_conv else sizes.double_to(size)(h)

    def _join_input(self, h: jax.Array, pyramid: jax.Array, name: str) -> tuple[jax.Array, jax.Array]:
        """The features with the image, shrunk to their size, and the pyramid at that size."""
        if self.progressive_input == "input_skip":
            pyramid = self._sizes(h.ndim).halve(pyramid)
            part = nn.Dense(h.shape[-1], kernel_init=dense_init(), dtype=self.dtype, name=name)(pyramid)
            return (part + h if self.progressive_combine == "sum" else jnp.concatenate([part, h], -1)), pyramid
        if self.progressive_input == "residual":
            pyramid = self._sizes(h.ndim).downsample(pyramid, name, h.shape[-1])
            h = pyramid = residual_sum(pyramid, h, self.skip_rescale)
        return h, pyramid

    def _gather_output(
        self, h: jax.Array, pyramid: jax.Array | None, name: str, channels: int
    ) -> tuple[jax.Array, jax.Array | None]:
        """The features, and the sum of what each level so far has to say."""
        size = h.shape[1:-1]
        if self.progressive == "output_skip":
            # Float32 like `conv_out`: these sum to the output.
            part = self._conv(channels, name, self._norm_act(h, f"{name}_norm"), self.init_scale)
            return h, part if pyramid is None else self._sizes(h.ndim).double_to(size)(pyramid) + part
        if self.progressive == "residual":
            if pyramid is None:
                return h, self._conv(h.shape[-1], name, self._norm_act(h, f"{name}_norm"), dtype=self.dtype)
            pyramid = self._sizes(h.ndim).upsample(pyramid, name, h.shape[-1], size)
            h = pyramid = residual_sum(pyramid, h, self.skip_rescale)
        return h, pyramid

    def _sizes(self, ndim: int) -> Resampling:
        """How the size of arrays with so many axes is changed."""
        fir = tuple(self.fir_kernel) if self.fir else None
        return Resampling(unet_fields.paddings(self.padding, ndim - 2), fir, self.dtype)

    def _conv(
        self, channels: int, name: str, h: jax.Array, init_scale: float = 1.0, dtype: Dtype = jnp.float32
    ) -> jax.Array:
        return conv3x3(channels, name, init_scale, dtype, padding=self._sizes(h.ndim).padding)(h)

    def _norm_act(self, h: jax.Array, name: str) -> jax.Array:
        return NONLINEARITIES[self.nonlinearity](GroupNorm(group_size=self.group_size, name=name)(h))

    def _has_attention(self, h: jax.Array) -> bool:
        return max(h.shape[1:-1]) in self.attention_resolutions

    def _res_block(
        self,
        h: jax.Array,
        name: str,
        features: int,
        *,
        embedding: jax.Array | None,
        train: bool,
        resample: Callable[[jax.Array], jax.Array] | None = None,
    ) -> jax.Array:
        # `train` is the third argument after self. An explicit name keeps the tree the same under remat.
        make = nn.remat(ResBlock, static_argnums=(3,)) if self.remat else ResBlock
        block = make(
            features,
            resample=resample,
            dropout=self.dropout,
            init_scale=self.init_scale,
            shortcut_scale=1.0 if self.block == "biggan" else 0.1,
            skip_rescale=self.skip_rescale,
            nonlinearity=self.nonlinearity,
            group_size=self.group_size,
            dtype=self.dtype,
            padding=self._sizes(h.ndim).padding,
            name=name,
        )
        return block(h, embedding, train)

    def _attention(self, h: jax.Array, name: str, *, sequence: Tokens | None) -> jax.Array:
        make = nn.remat(AttentionBlock) if self.remat else AttentionBlock
        return make(self.init_scale, self.skip_rescale, self.group_size, self.dtype, name=name)(h, sequence)

    def _check(self, x: jax.Array, labels: jax.Array, condition: jax.Array | None) -> None:
        unet_fields.check_unet(self, x)
        check_labels(x.shape[0], labels)
        check_condition(self, x.shape[0], condition)
