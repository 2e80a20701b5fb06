"""A network of dense layers for small images, whose evaluations cost next to nothing: the slides need many thousands.

python main.py --config=vp_digits --config.model=benchmarks.slides.flat:FlatMLP
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.condition import check_condition, condition_vector
from scorejax.models.embedding import smooth_label_features
from scorejax.models.mlp import branch, dense
from scorejax.numerics.ranges import Below1, Count


class FlatMLP(nn.Module):
    """`scorejax.models.MLP` on the pixels of an image, in one row, with what images need next to it.

    Attributes:
        features: width of the hidden layers; a multiple of the number of pixels, since a variance head reads the last
            of them as a feature map.
        depth: number of residual blocks.
        dropout: probability to drop a value in training.
        num_classes: number of classes, or None; filled in.
        condition: filled in, as `condition_dim`.
        noise_levels: first and last sigma and the number of levels of an NCSN, whose output is divided by sigma; filled
            in.
    """

    role = "scores"
    ranks = (3,)
    tiny: ClassVar[dict[str, object]] = {"features": 64, "depth": 1}

    features: Count = 256
    depth: Count = 3
    dropout: Below1 = 0.1
    num_classes: int | None = None
    condition: str = "label"
    condition_dim: int | None = None
    noise_levels: tuple[float, float, int] | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network on images `[B, H, W, C]` and noise labels `[B]`."""
        check_condition(self, len(x), condition)
        height, width = x.shape[1:3]
        flat, sigma = x.reshape(len(x), -1), None
        if self.noise_levels is not None:
            first, last, count = self.noise_levels
            sigma = (first * (last / first) ** (labels.astype(jnp.float32) / (count - 1)))[:, None]
            flat = (flat - 0.5) / jnp.sqrt(0.1 + sigma**2)  # gray levels in [0, 1], whose variance is about a tenth
            labels = 999.0 * labels / (count - 1)
        embedding = dense(self.features, "label_0", jnp.float32)(smooth_label_features(labels, self.features))
        embedding = dense(self.features, "label_1", jnp.float32)(nn.silu(embedding))
        added = condition_vector(condition, self.num_classes, self.features, jnp.float32)
        embedding = nn.silu(embedding if added is None else embedding + added)
        h = dense(self.features, "dense_in", jnp.float32)(flat)
        for i in range(self.depth):
            h = h + branch(h, embedding, f"block_{i}", self.features, self.dropout, train, jnp.float32)
        # Heads read what goes into the layer of this name.
        h = nn.LayerNorm(name="norm_out")(h.reshape(len(x), height, width, -1)).reshape(len(x), -1)
        gain = dense(flat.shape[1], "gain", jnp.float32, 0.0)(embedding)
        out = dense(flat.shape[1], "dense_out", jnp.float32, 0.0)(nn.silu(h)) + gain * flat
        return (out if sigma is None else out / sigma).reshape(x.shape)
