"""An encoder and a decoder, and the score of latent vectors that some encoders are trained by."""

import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.mlp import dense, spread_dense
from scorejax.numerics.ranges import Count


class AutoencoderMLP(nn.Module):
    """Two perceptrons with tanh, `example (and noise) -> latent numbers` and `latent numbers -> example`.

    With two layers of 256 these are the networks of Song et al. (arXiv 1905.07088, section 6.2).

    `model.apply({"params": params}, x, noise, outputs=..., method="encode")` and
    `model.apply({"params": params}, z, shape, method="decode")`

    Attributes:
        features: width of the hidden layers.
        depth: number of hidden layers of each.
    """

    role = "autoencoders"
    ranks = (1, 3)
    tiny: ClassVar[dict[str, int]] = {"features": 16, "depth": 1}

    features: Count = 256
    depth: Count = 2

    def setup(self) -> None:
        """Create the two parts; the sizes of their layers follow from the first inputs."""
        if min(self.features, self.depth) < 1:
            raise ValueError(f"features and depth must be at least 1; got {self.features} and {self.depth}")
        self.encoder = Perceptron(self.features, self.depth)
        self.decoder = Perceptron(self.features, self.depth)

    def __call__(
        self, x: jax.Array, noise: jax.Array | None, *, outputs: int, latents: int, shape: tuple[int, ...]
    ) -> tuple[jax.Array, jax.Array]:
        """Encode `x`, and decode latent vectors of zeros: what creates the parameters of both."""
        return self.encode(x, noise, outputs=outputs), self.decode(jnp.zeros((len(x), latents)), shape)

    def encode(self, x: jax.Array, noise: jax.Array | None = None, *, outputs: int) -> jax.Array:
        """Map examples to numbers about their latent vectors.

        Args:
            x: vectors `[B, D]` or images `[B, H, W, C]`.
            noise: `[B, K, L]`, K draws for each example; None for none.
            outputs: how many numbers.

        Returns:
            float32 `[B, outputs]` without noise, `[B, K, outputs]` with it.
        """
        return self.encoder(x.reshape(len(x), -1), noise, outputs)

    def decode(self, z: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Map latent vectors `[..., L]` to arrays, float32 `[..., *shape]`."""
        return self.decoder(z, None, math.prod(shape)).reshape(*z.shape[:-1], *shape)


class LatentScoreMLP(nn.Module):
    """Perceptron `(latent vectors, examples) -> score of the latent vectors`, one for each noise of an encoder.

    `model.apply({"params": params}, z, x)`

    Attributes:
        features: width of the hidden layers.
        depth: number of hidden layers.
    """

    features: Count = 256
    depth: Count = 2

    @nn.compact
    def __call__(self, z: jax.Array, x: jax.Array | None = None) -> jax.Array:
        """Evaluate the score.

        Args:
            z: latent vectors `[B, L]`.
            x: their examples `[B, ...]`, for the score of `q(z | x)`; None for that of `q(z)`.

        Returns:
            float32 `[B, L]`.
        """
        given = z if x is None else x.reshape(len(x), -1)
        return Perceptron(self.features, self.depth, name="score")(
            given, None if x is None else z[:, None], z.shape[-1]
        ).reshape(z.shape)


class Perceptron(nn.Module):
    """Dense layers with tanh. An optional second input has several rows for each row of the first."""

    features: int
    depth: int

    @nn.compact
    def __call__(self, x: jax.Array, rows: jax.Array | None, outputs: int) -> jax.Array:
        """Map `x [..., D]` to `[..., outputs]`; with `rows [B, K, L]`, `x [B, D]` to `[B, K, outputs]`."""
        h = spread_dense(self.features, "dense_0", gain=1.0)(x.astype(jnp.float32))
        if rows is not None:  # a layer of both, whose part for `x` is computed once for all rows
            h = h[:, None] + nn.Dense(self.features, use_bias=False, name="dense_rows")(rows)
        h = nn.tanh(h)
        for i in range(1, self.depth):
            h = nn.tanh(dense(self.features, f"dense_{i}", jnp.float32)(h))
        return dense(outputs, "dense_out", jnp.float32)(h)
