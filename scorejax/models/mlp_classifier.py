"""The noise-conditional classifier of vectors."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.embedding import NoiseEmbedding, check_labels
from scorejax.models.layers import Dtype
from scorejax.models.mlp import branch, dense
from scorejax.numerics.ranges import Below1, Count


class MLPClassifier(nn.Module):
    """Residual multi-layer perceptron `(noisy vector, log signal-to-noise ratio) -> logits` of `p(class | x_t)`.

    The blocks are those of `MLP`; `logits = Dense(silu(h))` start at zero, at equal chances. Everything is smooth,
    so that the gradient that guides is.

    `model.apply({"params": params}, x, labels, train=False, rngs={"dropout": key})`

    Attributes:
        num_classes: number of classes, and of logits.
        features: width of the hidden layers.
        depth: number of residual blocks.
        dropout: probability to drop a value in training.
        dtype: type to compute in. Parameters and logits are float32.
    """

    role = "classes"
    ranks = (1,)
    tiny: ClassVar[dict[str, object]] = {"features": 16, "depth": 1}

    num_classes: int = 2
    features: Count = 128
    depth: Count = 3
    dropout: Below1 = 0.0
    dtype: Dtype = jnp.float32
    embedding: ClassVar[str] = "log_snr"

    @nn.compact
    def __call__(self, x: jax.Array, labels: jax.Array, train: bool = False, headless: bool = False) -> jax.Array:
        """Evaluate the classifier.

        Args:
            x: vectors `[B, D]`, of about unit size at every noise level.
            labels: log signal-to-noise ratios `[B]`.
            train: whether to drop values; needs `rngs={"dropout": key}` if `dropout` is not 0.
            headless: whether to stop before the last layer.

        Returns:
            logits `[B, num_classes]`, or the features they are made of, `[B, features]`; float32.

        Raises:
            ValueError: if a field or a shape does not fit.
        """
        labels = jnp.asarray(labels)
        if x.ndim != 2:
            raise ValueError(f"MLPClassifier takes vectors [batch, dimension], got an array of shape {x.shape}")
        if self.num_classes < 2 or self.features < 1:
            raise ValueError(
                f"num_classes must be at least 2 and features at least 1, got {self.num_classes} and {self.features}"
            )
        check_labels(x.shape[0], labels)
        embed = NoiseEmbedding(32, kind=self.embedding, dtype=self.dtype, name="embedding")
        embedding = nn.silu(jnp.asarray(embed(labels, None)))
        h = dense(self.features, "dense_in", self.dtype)(x.astype(jnp.float32))
        for i in range(self.depth):
            h = h + branch(h, embedding, f"block_{i}", self.features, self.dropout, train, self.dtype)
        h = nn.silu(h).astype(jnp.float32)
        return h if headless else dense(self.num_classes, "dense_out", jnp.float32, 0.0)(h)
