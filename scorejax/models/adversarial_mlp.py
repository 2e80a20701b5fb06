"""Two networks for vectors that learn against each other: a generator and a discriminator."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.mlp import dense, spread_dense
from scorejax.numerics.ranges import Count


class GeneratorMLP(nn.Module):
    """Residual perceptron `latent -> vector`: `x = G(z)` with `z` standard normal (Goodfellow et al. 2014).

    The density of `x` has no closed form, and none at all in the data space when there are fewer latents than entries.

    `model.apply({"params": params}, z, (dimension,))`

    Attributes:
        features: width of the hidden layers.
        depth: number of hidden layers.
    """

    role = "samples"
    ranks = (1,)
    tiny: ClassVar[dict[str, int]] = {"features": 16, "depth": 1}

    features: Count = 128
    depth: Count = 3

    @nn.compact
    def __call__(self, z: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Map latents `[B, L]` to vectors of a shape `(D,)`, float32 `[B, D]`.

        Raises:
            ValueError: if a field or a shape does not fit.
        """
        if len(shape) != 1 or min(*shape, self.features, self.depth) < 1:
            raise ValueError(
                "GeneratorMLP makes vectors of a shape (D,), and D, features and depth must be at least 1; got "
                f"shape={shape}, features={self.features}, depth={self.depth}"
            )
        if z.ndim != 2:
            raise ValueError(f"GeneratorMLP takes latents [batch, L], got an array of shape {z.shape}: flatten it")
        return dense(shape[0], "dense_out", jnp.float32)(_hidden(z, self.features, self.depth))


class DiscriminatorMLP(nn.Module):
    """Residual perceptron `vector -> logit` of the probability that a vector is from the data.

    Against a fixed generator the best logit is `log p_data(x) - log p_model(x)`. The logit starts at zero, and it is
    smooth, so that its gradient with respect to `x` may be penalized.

    `model.apply({"params": params}, x)`

    Attributes:
        features: width of the hidden layers.
        depth: number of hidden layers.
    """

    role = "judgments"
    ranks = (1,)
    tiny: ClassVar[dict[str, int]] = {"features": 16, "depth": 1}

    features: Count = 128
    depth: Count = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map vectors `[B, D]` to logits, float32 `[B]`.

        Raises:
            ValueError: if a field or the shape does not fit.
        """
        if min(self.features, self.depth) < 1:
            raise ValueError(f"features and depth must be at least 1; got {self.features} and {self.depth}")
        if x.ndim != 2:
            raise ValueError(f"DiscriminatorMLP takes vectors [batch, D], got an array of shape {x.shape}: flatten it")
        return dense(1, "dense_out", jnp.float32, 0.0)(_hidden(x, self.features, self.depth))[:, 0]


def _hidden(x: jax.Array, features: int, depth: int) -> jax.Array:
    """The last hidden layer; called in a compact method, whose module then owns the layers `dense_i`."""
    h = nn.silu(spread_dense(features, "dense_0")(x.astype(jnp.float32)))
    for i in range(1, depth):
        h = h + nn.silu(dense(features, f"dense_{i}", jnp.float32)(h))
    return h
