"""Layers of the U-Nets of guided diffusion: blocks scaled and shifted by the noise, and attention of many heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, Protocol, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import MinLen

from scorejax.models.dropout import Dropout
from scorejax.models.layers import Dtype, GroupNorm, conv3x3
from scorejax.models.resampling import Resample
from scorejax.numerics.ranges import Positive

Order: TypeAlias = Literal["new", "legacy", "edm"]
"""How the rows of a projection to queries, keys and values are arranged, see `multihead`."""
Multipliers: TypeAlias = Annotated[Sequence[Positive], MinLen(1)]
EPSILON = 1e-5  # of the norms


def multihead(qkv: jax.Array, heads: int, order: Order) -> jax.Array:
    """Attention of many heads, `softmax(q k^T / sqrt(c)) v` in each, whose inputs stand in one array.

    Args:
        qkv: `[B, N, 3 C]`. Its channels are counted by (q|k|v, head, channel) if "new", by (head, q|k|v, channel) if
            "legacy", and by (head, channel, q|k|v) if "edm".
        heads: their number, which divides `C`.
        order: which of these.

    Returns:
        `[B, N, C]`.
    """
    batch, count, width = qkv.shape
    each = width // 3 // heads
    parts = {"new": (3, heads, each), "legacy": (heads, 3, each), "edm": (heads, each, 3)}[order]
    axis = {"new": 2, "legacy": 3, "edm": 4}[order]
    q, k, v = jnp.moveaxis(qkv.reshape(batch, count, *parts), axis, 0)
    scale = each**-0.25
    logits = jnp.einsum("bqhc,bkhc->bhqk", q * scale, k * scale, preferred_element_type=jnp.float32)
    found = jnp.einsum("bhqk,bkhc->bqhc", nn.softmax(logits).astype(v.dtype), v)
    return found.reshape(batch, count, width // 3)


def heads_of(channels: int, heads: int, head_channels: int) -> int:
    """Number of heads at a level.

    Args:
        channels: at the level.
        heads: asked for; 0: as many as there are `head_channels` in the channels, at least one.
        head_channels: channels of a head.

    Raises:
        ValueError: they do not divide the channels.
    """
    count = heads or max(1, channels // head_channels)
    if channels % count:
        raise ValueError(
            f"{channels} channels do not divide into {count} heads: choose heads, or head_channels, that divide the "
            "channels of every level with attention"
        )
    return count


class ScaledBlock(nn.Module):
    """Residual block whose second norm is scaled and shifted by the noise (Dhariwal & Nichol 2021).

    `shortcut(r(x)) + conv(dropout(silu(norm(h) (1 + scale) + shift)))` with `h = conv(r(silu(norm(x))))` and `(scale,
    shift)` a dense map of `silu(embedding)`; `r` resamples the image, and `shortcut` is a 1x1 convolution where the
    channels change. The last convolution starts at zero.

    Attributes:
        features: channels of the result.
        resample: a map of images to images of another size, or None.
        dropout: probability to drop a value in training.
        group_size: fewest channels in a group of the norms.
        dtype: type to compute in. Norms are float32.
    """

    features: int
    resample: Resample | None = None
    dropout: float = 0.0
    group_size: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, train: bool) -> jax.Array:
        """Map `[B, ..., C]` and an embedding `[B, E]` to `[B, ..., features]`."""
        h = nn.silu(GroupNorm(EPSILON, self.group_size, name="norm_0")(x)).astype(self.dtype)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = conv(self.features, "conv_0", x, dtype=self.dtype)(h)
        both = nn.Dense(2 * self.features, dtype=self.dtype, name="embedding")(nn.silu(embedding))
        scale, shift = jnp.split(jnp.expand_dims(both, tuple(range(1, h.ndim - 1))), 2, axis=-1)
        h = GroupNorm(EPSILON, self.group_size, name="norm_1")(h) * (1 + scale) + shift
        h = Dropout(self.dropout, name="dropout")(nn.silu(h).astype(self.dtype), train)
        h = conv(self.features, "conv_1", x, 0.0, self.dtype)(h)
        if x.shape[-1] != self.features:
            x = nn.Dense(self.features, dtype=self.dtype, name="shortcut")(x)
        return x + h


class ManyHeads(nn.Module):
    """Residual self-attention over all sites, `x + out(multihead(qkv(norm(x))))`, which is nothing at first.

    Attributes:
        heads: of attention.
        order: of the rows of the projection.
        group_size: fewest channels in a group of the norm.
        dtype: type to compute in. Norm and softmax are float32.
    """

    heads: int
    order: Order = "new"
    group_size: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, ..., C]` to the same shape."""
        h = GroupNorm(EPSILON, self.group_size, name="norm")(x).astype(self.dtype)
        h = nn.Dense(3 * x.shape[-1], dtype=self.dtype, name="qkv")(h.reshape(x.shape[0], -1, x.shape[-1]))
        h = multihead(h, self.heads, self.order)
        zeros = nn.initializers.zeros
        return x + nn.Dense(x.shape[-1], kernel_init=zeros, dtype=self.dtype, name="out")(h).reshape(x.shape)


class AttentionPool(nn.Module):
    """One vector of all sites: what their mean finds among them, by attention with a learned table of positions.

    Attributes:
        features: length of the vector.
        head_channels: channels of a head.
        order: of the rows of the projection.
    """

    features: int
    head_channels: int = 64
    order: Order = "new"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, ..., C]` to `[B, features]`."""
        channels = x.shape[-1]
        sites = x.reshape(x.shape[0], -1, channels)
        sites = jnp.concatenate([sites.mean(axis=1, keepdims=True), sites], axis=1)
        normal = nn.initializers.normal(channels**-0.5)
        sites = sites + self.param("positions", normal, (sites.shape[1], channels))
        qkv = nn.Dense(3 * channels, name="qkv")(sites)
        found = multihead(qkv, heads_of(channels, 0, self.head_channels), self.order)
        return nn.Dense(self.features, name="out")(found[:, 0])


def conv(
    features: int, name: str, like: jax.Array, init_scale: float = 1.0, dtype: Dtype = jnp.float32
) -> Callable[[jax.Array], jax.Array]:
    """A convolution by three pixels along every side of examples `like [B, ..., C]`."""
    return conv3x3(features, name, init_scale, dtype, padding=("zeros",) * (like.ndim - 2))


# ---- the order of the blocks ---------------------------------------------------------------------------------------


class Levels(Protocol):
    """The fields that say which blocks a U-Net has."""

    @property
    def features(self) -> int: ...
    @property
    def channel_multipliers(self) -> Sequence[float]: ...
    @property
    def blocks_per_level(self) -> int: ...
    @property
    def attention_levels(self) -> Sequence[int]: ...


class Place(NamedTuple):
    """A block of a U-Net.

    Attributes:
        name: of its parameters.
        features: its channels.
        attention: the name of the attention that follows it, or "".
        change: "halve", "double" or "": how it changes the size.
    """

    name: str
    features: int
    attention: str = ""
    change: str = ""


def places_down(network: Levels) -> Iterator[Place]:
    """The blocks of the way down, in order; each is a skip of the way up, after that of `conv_in`."""
    for i, multiplier in enumerate(network.channel_multipliers):
        width = int(multiplier * network.features)
        for j in range(network.blocks_per_level):
            attention = f"down_{i}_attention_{j}" if i in network.attention_levels else ""
            yield Place(f"down_{i}_block_{j}", width, attention)
        if i + 1 < len(network.channel_multipliers):
            yield Place(f"down_{i}_resample", width, change="halve")


def places_up(network: Levels) -> Iterator[Place]:
    """The blocks of the way up, in order; each but those that double takes the last skip not yet taken."""
    for i, multiplier in reversed(list(enumerate(network.channel_multipliers))):
        width = int(multiplier * network.features)
        for j in range(network.blocks_per_level + 1):
            attention = f"up_{i}_attention_{j}" if i in network.attention_levels else ""
            yield Place(f"up_{i}_block_{j}", width, attention)
        if i > 0:
            yield Place(f"up_{i}_resample", width, change="double")


def check_levels(network: Levels, x: jax.Array) -> None:
    """Check that the levels of a U-Net fit into examples `[B, *sides, C]` of one to three sides.

    Raises:
        ValueError: they do not.
    """
    name, halvings = type(network).__name__, len(network.channel_multipliers) - 1
    if x.ndim not in (3, 4, 5):
        raise ValueError(
            f"{name} takes images [batch, height, width, channels], series [batch, length, channels] or volumes "
            f"[batch, depth, height, width, channels], got an array of shape {x.shape}"
        )
    if min(int(m * network.features) for m in network.channel_multipliers) < 1:
        raise ValueError(f"channel_multipliers {tuple(network.channel_multipliers)} leave a level without channels")
    if beyond := [i for i in network.attention_levels if i > halvings]:
        raise ValueError(
            f"attention_levels = {tuple(network.attention_levels)}, but {name} has the levels 0 to {halvings}: leave "
            f"out {', '.join(map(str, beyond))}"
        )
    sides = [side for side in x.shape[1:-1] if side > 1]
    if sides and halvings and min(sides) <= 2 ** (halvings - 1):
        raise ValueError(
            f"channel_multipliers {tuple(network.channel_multipliers)} halve the image {halvings} times, but "
            f"{'x'.join(map(str, x.shape[1:-1]))} is down to one pixel before: use fewer multipliers"
        )
