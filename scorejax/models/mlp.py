"""A network for vectors."""

from typing import Annotated, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import Ge, MultipleOf

from scorejax.models.condition import check_condition, condition_vector
from scorejax.models.dropout import Dropout
from scorejax.models.embedding import check_labels, smooth_label_features
from scorejax.models.layers import Dtype, dense_init, divide_score
from scorejax.numerics.ranges import Below1, Count


class MLP(nn.Module):
    """Residual multi-layer perceptron for vectors: a map `(vector, noise label) -> vector`.

    `h <- h + Dense(silu(Dense(silu(h * (1 + a) + b))))`, where `a, b` are dense maps of the embedded label
    (Perez et al. 2018), and `output = Dense(silu(h)) + g x`, where `g` is one too: when noise is nearly all
    of `x`, the answer is nearly `x` itself. The output starts at zero. Everything is smooth, so that the
    divergence of the score is well defined.

    `model.apply({"params": params}, x, labels, condition=None, train=False, rngs={"dropout": key})`

    Attributes:
        features: width of the hidden layers; a multiple of 4.
        depth: number of residual blocks.
        dropout: probability to drop a value in training.
        num_classes: number of classes, or None for an unconditional network. Class label `num_classes` means
            "no class".
        condition: what the network is conditioned on if at all, "label" or "vector", see `models.condition`.
        condition_dim: length of a vector.
        learned_range: whether the output has twice the channels; the second half is `2 v - 1` of a reverse variance
            between two bounds (improved DDPM, see `variance.LearnedRange`).
        scale_by_sigma: for a label that is sigma (VE): divide the input by `sqrt(1 + sigma^2)`, so that it
            has unit size at all times if the data have, and the output by `sigma`, as a score is.
        dtype: type to compute in. Parameters and output are float32.
    """

    role = "scores"
    ranks = (1,)
    conditioning = ("label", "vector")
    tiny: ClassVar[dict[str, object]] = {"features": 16, "depth": 1}

    features: Annotated[int, Ge(4), MultipleOf(4)] = 128
    depth: Count = 3
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
            x: vectors `[B, D]`.
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
        sigma = labels[:, None].astype(jnp.float32)
        x = x.astype(jnp.float32)
        if self.scale_by_sigma:
            # Unit size at every noise level, for data of about unit size.
            x = x * jax.lax.rsqrt(1 + sigma**2)
        embedding = nn.silu(self._embed(labels, condition))
        h = self._dense(self.features, "dense_in")(x)
        for i in range(self.depth):
            h = h + branch(h, embedding, f"block_{i}", self.features, self.dropout, train, self.dtype)
        # A gain on the input alone: the score of a Gaussian is linear in x, and needs no hidden layer.
        gain = self._dense(x.shape[-1], "gain", 0.0)(embedding)
        dimension = x.shape[-1]
        out = self._dense(dimension * (1 + self.learned_range), "dense_out", 0.0)(nn.silu(h)).astype(jnp.float32)
        out = out.at[:, :dimension].add(gain * x) if self.learned_range else out + gain * x
        return divide_score(out, sigma, dimension) if self.scale_by_sigma else out

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
                f"MLP takes vectors [batch, dimension], got an array of shape {x.shape}: "
                "flatten it, or use DDPMpp for images"
            )
        if self.features < 4 or self.features % 4:
            raise ValueError(f"features must be a multiple of 4, got {self.features}: use e.g. 128")
        if self.condition == "sequence":
            raise ValueError("MLP has no attention for a sequence: use condition='vector', or DDPMpp for images")
        check_labels(x.shape[0], labels)
        check_condition(self, x.shape[0], condition)


def branch(
    h: jax.Array, embedding: jax.Array, name: str, features: int, dropout: float, train: bool, dtype: Dtype
) -> jax.Array:
    """What a residual block adds: `Dense(silu(Dense(silu(h * (1 + a) + b))))`, `a, b` dense maps of the embedding.

    Called in a compact method, whose module then owns the layers `NAME_embedding`, `NAME_dense_0`, `NAME_dense_1`.
    """
    scale, shift = jnp.split(dense(2 * features, f"{name}_embedding", dtype)(embedding), 2, axis=-1)
    h = nn.silu(h * (1 + scale) + shift)
    h = nn.silu(dense(features, f"{name}_dense_0", dtype)(h))
    h = Dropout(dropout, name=f"{name}_dropout")(h, train)
    return dense(features, f"{name}_dense_1", dtype)(h)


def dense(features: int, name: str, dtype: Dtype, scale: float = 1.0) -> nn.Dense:
    """A dense layer; one of scale 0 starts at exactly zero."""
    init = dense_init(scale) if scale else nn.initializers.zeros
    return nn.Dense(features, kernel_init=init, dtype=dtype, name=name)


def spread_dense(features: int, name: str, gain: float = 2.0) -> nn.Dense:
    """A first layer for vectors of few entries and unit size, whose nonlinearities act in different places.

    With `dense` the weights of such a layer would be small, as its outputs are many, and its biases zero: what follows
    would be nearly quadratic in the input, and slow to learn a density that is narrow.
    """
    kernel = nn.initializers.variance_scaling(gain**2, "fan_in", "normal")
    return nn.Dense(features, kernel_init=kernel, bias_init=nn.initializers.normal(gain), name=name)
