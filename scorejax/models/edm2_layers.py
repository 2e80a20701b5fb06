"""Layers that keep magnitudes (Karras et al., arXiv 2312.02696): inputs of variance 1 give outputs of variance 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.dropout import Dropout

EPSILON = 1e-4
SILU_SCALE = 0.596
"""The root mean square of `silu(z)` for standard normal `z`, as published."""
RESIDUAL = 0.3
"""The weight of a branch in a sum of two."""


def normalized(w: jax.Array) -> jax.Array:
    """Weights whose last axis is that of outputs, each output's of root mean square 1: `w / (1e-4 + |w| / sqrt(n))`."""
    axes = tuple(range(w.ndim - 1))
    size = math.prod(w.shape[:-1])
    return w / (EPSILON + jnp.linalg.norm(w.reshape(size, -1), axis=0) / math.sqrt(size)).reshape(
        (1,) * len(axes) + (-1,)
    )


def pixel_norm(x: jax.Array) -> jax.Array:
    """Each vector along the last axis with root mean square 1."""
    size = jnp.sqrt(jnp.sum(jnp.square(x.astype(jnp.float32)), axis=-1, keepdims=True))
    return (x / (EPSILON + size / math.sqrt(x.shape[-1]))).astype(x.dtype)


def mp_silu(x: jax.Array) -> jax.Array:
    """`silu(x) / 0.596`."""
    return nn.silu(x) / SILU_SCALE


def mp_sum(a: jax.Array, b: jax.Array, t: float = RESIDUAL) -> jax.Array:
    """`((1 - t) a + t b) / sqrt((1 - t)^2 + t^2)`: of variance 1 for independent terms of variance 1."""
    return ((1 - t) * a + t * b) / math.hypot(1 - t, t)


def mp_cat(a: jax.Array, b: jax.Array, t: float = 0.5) -> jax.Array:
    """Two arrays next to each other along the last axis, each with its share of the whole variance.

    `sqrt((Na + Nb) / ((1 - t)^2 + t^2)) [(1 - t) a / sqrt(Na), t b / sqrt(Nb)]` for `Na` and `Nb` channels.
    """
    of_a, of_b = a.shape[-1], b.shape[-1]
    scale = math.sqrt(of_a + of_b) / math.hypot(1 - t, t)
    return jnp.concatenate([scale * (1 - t) / math.sqrt(of_a) * a, scale * t / math.sqrt(of_b) * b], axis=-1)


class MPFourier(nn.Module):
    """Random waves `sqrt(2) cos(2 pi (f c + phi))` of a label, of variance 1; neither `f` nor `phi` is trained.

    Attributes:
        features: their number.
    """

    features: int

    @nn.compact
    def __call__(self, labels: jax.Array) -> jax.Array:
        """Map labels `[B]` to `[B, features]`."""
        frequencies = self.param("frequencies", nn.initializers.normal(1.0), (self.features,))
        phases = self.param("phases", nn.initializers.uniform(1.0), (self.features,))
        turns = labels.astype(jnp.float32)[:, None] * jax.lax.stop_gradient(frequencies)
        return math.sqrt(2) * jnp.cos(2 * jnp.pi * (turns + jax.lax.stop_gradient(phases)))


class MPDense(nn.Module):
    """A dense layer without bias, whose weights are normalized for each output, times a gain.

    Attributes:
        features: of the output.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, gain: jax.Array | float = 1.0) -> jax.Array:
        """Map `[..., C]` to `[..., features]`."""
        kernel = self.param("kernel", nn.initializers.normal(1.0), (x.shape[-1], self.features))
        return x @ (normalized(kernel) * (gain / math.sqrt(x.shape[-1]))).astype(x.dtype)


class MPConv(nn.Module):
    """A convolution by three pixels along every side, without bias, with normalized weights, times a gain.

    Attributes:
        features: channels of the output.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, gain: jax.Array | float = 1.0) -> jax.Array:
        """Map `[B, *sides, C]` to `[B, *sides, features]`; beyond the edges are zeros."""
        sides = x.ndim - 2
        kernel = self.param("kernel", nn.initializers.normal(1.0), (*(3,) * sides, x.shape[-1], self.features))
        weights = normalized(kernel) * (gain / math.sqrt(3**sides * x.shape[-1]))
        axes = "DHW"[-sides:]
        layout = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
        return jax.lax.conv_general_dilated(x, weights.astype(x.dtype), (1,) * sides, "SAME", dimension_numbers=layout)


class MPBlock(nn.Module):
    """Residual block of EDM2, `mp_sum(x, conv(dropout(mp_silu(conv(mp_silu(x)) (gain dense(embedding) + 1)))))`.

    On the way down `x` is normalized for each pixel, after the 1x1 convolution to other channels; on the way up that
    convolution comes after the branch has been taken. Attention follows with normalized queries, keys and values.

    Attributes:
        features: channels of the result.
        down: whether it is on the way down.
        heads: of attention; 0: none.
        resample: a map of images to images of another size, or None.
        dropout: probability to drop a value in training.
        clip: largest absolute value of the result.
    """

    features: int
    down: bool
    heads: int = 0
    resample: Callable[[jax.Array], jax.Array] | None = None
    dropout: float = 0.0
    clip: float = 256.0

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, train: bool) -> jax.Array:
        """Map `[B, *sides, C]` and an embedding `[B, E]` to `[B, *sides', features]`."""
        x = x if self.resample is None else self.resample(x)
        channels = x.shape[-1]
        if self.down:
            x = pixel_norm(MPDense(self.features, name="shortcut")(x) if channels != self.features else x)
        h = MPConv(self.features, name="conv_0")(mp_silu(x))
        scale = MPDense(self.features, name="embedding")(embedding, self.param("gain", nn.initializers.zeros, ())) + 1
        h = mp_silu(h * jnp.expand_dims(scale, tuple(range(1, h.ndim - 1))))
        h = Dropout(self.dropout, name="dropout")(h, train)
        h = MPConv(self.features, name="conv_1")(h)
        if not self.down and channels != self.features:
            x = MPDense(self.features, name="shortcut")(x)
        x = mp_sum(x, h)
        x = mp_sum(x, self._attention(x)) if self.heads else x
        return jnp.clip(x, -self.clip, self.clip)

    def _attention(self, x: jax.Array) -> jax.Array:
        """What each site finds among all; rows of the projection are counted by (head, channel, q|k|v)."""
        each = self.features // self.heads
        qkv = MPDense(3 * self.features, name="qkv")(x.reshape(x.shape[0], -1, self.features))
        qkv = jnp.moveaxis(qkv.reshape(*qkv.shape[:2], self.heads, each, 3), -1, 0)
        q, k, v = pixel_norm(qkv)
        weights = nn.softmax(jnp.einsum("bqhc,bkhc->bhqk", q, k / math.sqrt(each)))
        found = jnp.einsum("bhqk,bkhc->bqhc", weights, v).reshape(x.shape)
        return MPDense(self.features, name="out")(found)
