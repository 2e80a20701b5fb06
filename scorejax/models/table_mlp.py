"""A network for the columns of a table."""

from __future__ import annotations

from typing import Annotated, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import Ge, MultipleOf

from scorejax.models.condition import check_condition, condition_vector
from scorejax.models.dropout import Dropout
from scorejax.models.embedding import check_labels, smooth_label_features
from scorejax.models.layers import Dtype, divide_score
from scorejax.models.mlp import dense
from scorejax.numerics.ranges import Below1, Count, Natural, Positive


class TableMLP(nn.Module):
    """Residual perceptron that sees every column in waves: a map `(row, noise label) -> row`.

    The input is `[x, sin(2 pi B x), cos(2 pi B x)]`, with `B ~ N(0, wave_scale^2)` drawn for every column (Tancik et
    al. 2020), so that narrow modes and sharp edges of a column are learned sooner than from `x` alone. Blocks add
    `Dense(silu(Dense(silu(norm(h) (1 + a) + b))))`, where `norm` is a layer norm without parameters (Ba et al. 2016)
    and `a, b` are dense maps of the embedded label. The output is `Dense(silu(norm(h))) + g x` with a gain `g` that is
    such a map too: where noise is nearly all of `x`, the answer is nearly `x`. It starts at zero. Everything is smooth,
    so that the divergence of the score is well defined.

    `model.apply({"params": params}, x, labels, condition=None, train=False, rngs={"dropout": key})`

    Attributes:
        features: width of the hidden layers; a multiple of 4.
        depth: number of residual blocks.
        waves: frequencies of every column; 0 leaves `x` alone.
        wave_scale: standard deviation of the frequencies, in turns per unit of a column of unit size.
        dropout: probability to drop a value in training.
        num_classes: number of classes, or None for an unconditional network. Class label `num_classes` means
            "no class".
        condition: what the network is conditioned on if at all, "label" or "vector", see `models.condition`.
        condition_dim: length of a vector.
        learned_range: whether the output has twice the columns; the second half is `2 v - 1` of a reverse variance
            between two bounds (improved DDPM, see `variance.LearnedRange`).
        scale_by_sigma: for a label that is sigma (VE): divide the input by `sqrt(1 + sigma^2)`, so that it
            has unit size at all times if the data have, and the output by `sigma`, as a score is.
        dtype: type to compute in. Parameters, norms and output are float32.
    """

    role = "scores"
    ranks = (1,)
    conditioning = ("label", "vector")
    tiny: ClassVar[dict[str, object]] = {"features": 16, "depth": 1, "waves": 2}

    features: Annotated[int, Ge(4), MultipleOf(4)] = 128
    depth: Count = 3
    waves: Natural = 4
    wave_scale: Positive = 0.25
    dropout: Below1 = 0.0
    num_classes: int | None = None
    condition: str = "label"
    condition_dim: int | None = None
    learned_range: bool = False
    scale_by_sigma: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network.

        Args:
            x: rows `[B, D]`.
            labels: noise labels `[B]`.
            condition: class labels `[B]` or vectors `[B, condition_dim]`, for a conditional network only.
            train: whether to drop values; needs `rngs={"dropout": key}` if `dropout` is not 0.

        Returns:
            Float32 array of the shape of `x`, or `[B, 2 D]` with the learned range.

        Raises:
            ValueError: if a field, a shape or the condition does not fit.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels, condition)
        sigma, columns = labels[:, None].astype(jnp.float32), x.shape[-1]
        x = x.astype(jnp.float32)
        if self.scale_by_sigma:
            x = x * jax.lax.rsqrt(1 + sigma**2)
        embedding = nn.silu(self._embed(labels, condition))
        h = self._dense(self.features, "dense_in")(self._in_waves(x))
        for i in range(self.depth):
            h = h + self._branch(h, embedding, f"block_{i}", train)
        out = self._dense(columns * (1 + self.learned_range), "dense_out", 0.0)(nn.silu(_norm(h))).astype(jnp.float32)
        gain = self._dense(columns, "gain", 0.0)(embedding)
        out = out.at[:, :columns].add(gain * x) if self.learned_range else out + gain * x
        return divide_score(out, sigma, columns) if self.scale_by_sigma else out

    def _in_waves(self, x: jax.Array) -> jax.Array:
        """`[x, sin(2 pi B x), cos(2 pi B x)]`, `[B, D (1 + 2 waves)]`."""
        if not self.waves:
            return x
        init = nn.initializers.normal(self.wave_scale)
        # saved with the parameters, and never trained
        rates = jax.lax.stop_gradient(self.param("frequencies", init, (x.shape[-1], self.waves)))
        angles = (2 * jnp.pi * x[..., None] * rates).reshape(len(x), -1)
        return jnp.concatenate([x, jnp.sin(angles), jnp.cos(angles)], axis=-1)

    def _branch(self, h: jax.Array, embedding: jax.Array, name: str, train: bool) -> jax.Array:
        scale, shift = jnp.split(self._dense(2 * self.features, f"{name}_embedding")(embedding), 2, axis=-1)
        h = nn.silu(_norm(h).astype(self.dtype) * (1 + scale) + shift)
        h = nn.silu(self._dense(self.features, f"{name}_dense_0")(h))
        h = Dropout(self.dropout, name=f"{name}_dropout")(h, train)
        return self._dense(self.features, f"{name}_dense_1")(h)

    def _dense(self, features: int, name: str, scale: float = 1.0) -> nn.Dense:
        return dense(features, name, self.dtype, scale)

    def _embed(self, labels: jax.Array, condition: jax.Array | None) -> jax.Array:
        h = self._dense(self.features, "label_0")(smooth_label_features(labels, self.features))
        h = self._dense(self.features, "label_1")(nn.silu(h))
        added = condition_vector(condition, self.num_classes, self.features, self.dtype)
        return h if added is None else h + added

    def _check(self, x: jax.Array, labels: jax.Array, condition: jax.Array | None) -> None:
        if x.ndim != 2:
            raise ValueError(
                f"TableMLP takes rows [batch, columns], got an array of shape {x.shape}: flatten it, or use DDPMpp for "
                "series, images and volumes"
            )
        if self.features < 4 or self.features % 4:
            raise ValueError(f"features must be a multiple of 4, got {self.features}: use e.g. 128")
        if self.condition == "sequence":
            raise ValueError("TableMLP has no attention for a sequence: use condition='vector', or DDPMpp for images")
        check_labels(x.shape[0], labels)
        check_condition(self, x.shape[0], condition)


def _norm(h: jax.Array) -> jax.Array:
    """A layer norm without parameters, in float32."""
    h = h.astype(jnp.float32)
    h = h - h.mean(axis=-1, keepdims=True)
    return h * jax.lax.rsqrt(jnp.mean(jnp.square(h), axis=-1, keepdims=True) + 1e-5)
