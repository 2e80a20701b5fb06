"""An invertible network whose log determinant is a sum: affine couplings, as in RealNVP."""

import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorejax.models.dropout import Dropout
from scorejax.models.mlp import dense
from scorejax.numerics.ranges import Below1, Count, Positive


class CouplingFlow(nn.Module):
    """Flow of affine couplings between data and a standard normal law (RealNVP, Dinh et al., arXiv 1605.08803).

    A coupling leaves the entries under its mask as they are and maps the others by `y <- y exp(a) + b`, where `a` and
    `b` are functions of the entries under the mask: the inverse is `(y - b) exp(-a)`, and the log determinant of the
    Jacobian is the sum of `a`. Masks alternate with their complements. Between couplings, and at both ends, every
    entry is scaled and shifted by parameters. All maps are smooth, and all but the last start as the identity.

    `model.apply({"params": params}, x)` is the forward map; `method="inverse"` inverts it.

    Attributes:
        features: width of the hidden layers of each coupling.
        depth: number of hidden layers of each coupling.
        couplings: number of couplings.
        bound: largest absolute value of `a`, approached as `bound tanh(a / bound)`.
        dropout: probability to drop a value of the last hidden layer of a coupling in training.
    """

    role = "flows"
    ranks = (1, 3)
    tiny: ClassVar[dict[str, int]] = {"features": 16, "depth": 1, "couplings": 2}

    features: Count = 64
    depth: Count = 2
    couplings: Count = 8
    bound: Positive = 2.0
    dropout: Below1 = 0.0

    def setup(self) -> None:
        """Create the layers; their sizes follow from the first input."""
        if min(self.features, self.depth, self.couplings) < 1 or self.bound <= 0:
            raise ValueError(
                "features, depth and couplings must be at least 1 and bound positive; got "
                f"features={self.features}, depth={self.depth}, couplings={self.couplings}, bound={self.bound}"
            )
        self.conditioners = [
            Conditioner(self.features, self.depth, self.bound, self.dropout, name=f"coupling_{i}")
            for i in range(self.couplings)
        ]
        self.diagonals = [Diagonal(name=f"diagonal_{i}") for i in range(self.couplings + 1)]

    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Same as `forward`."""
        return self.forward(x, train)

    def forward(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Map data to noise.

        Args:
            x: vectors `[B, D]` or images `[B, H, W, C]`.
            train: whether to drop values; needs `rngs={"dropout": key}` if `dropout` is not 0.

        Returns:
            `z`, of the same shape, and the log determinant of `dz / dx` in nats, `[B]`; both float32.

        Raises:
            ValueError: if a field or the shape does not fit.
        """
        pairs = masks(x.shape[1:])
        y = x.astype(jnp.float32).reshape(x.shape[0], -1)
        log_det = jnp.zeros(x.shape[0])
        for i, conditioner in enumerate(self.conditioners):
            scale, shift = self.diagonals[i](y)
            y = y * jnp.exp(scale) + shift
            a, b = conditioner(y, _mask(pairs, i), train)
            y = y * jnp.exp(a) + b
            log_det = log_det + jnp.sum(scale) + jnp.sum(a, axis=1)
        scale, shift = self.diagonals[-1](y)
        return (y * jnp.exp(scale) + shift).reshape(x.shape), log_det + jnp.sum(scale)

    def inverse(self, z: jax.Array) -> jax.Array:
        """Map noise to data: the inverse of `forward`, with no dropout.

        Args:
            z: vectors `[B, D]` or images `[B, H, W, C]`.

        Raises:
            ValueError: if a field or the shape does not fit.
        """
        pairs = masks(z.shape[1:])
        y = z.astype(jnp.float32).reshape(z.shape[0], -1)
        scale, shift = self.diagonals[-1](y)
        y = (y - shift) * jnp.exp(-scale)
        for i in reversed(range(self.couplings)):
            a, b = self.conditioners[i](y, _mask(pairs, i), False)
            y = (y - b) * jnp.exp(-a)
            scale, shift = self.diagonals[i](y)
            y = (y - shift) * jnp.exp(-scale)
        return y.reshape(z.shape)


class Diagonal(nn.Module):
    """The parameters of an affine map of each entry, which starts as the identity."""

    @nn.compact
    def __call__(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the log scale and the shift for `y [B, D]`, each `[D]`."""
        shape = y.shape[1:]
        return self.param("log_scale", nn.initializers.zeros, shape), self.param("shift", nn.initializers.zeros, shape)


class Conditioner(nn.Module):
    """A perceptron of the entries under a mask, which gives the affine map of the others."""

    features: int
    depth: int
    bound: float
    dropout: float

    @nn.compact
    def __call__(self, y: jax.Array, mask: np.ndarray, train: bool) -> tuple[jax.Array, jax.Array]:
        """Return log scale and shift `[B, D]`, both zero where the mask `[D]` is one."""
        h = y * mask
        for i in range(self.depth):
            new = nn.silu(dense(self.features, f"dense_{i}", jnp.float32)(h))
            # The first layer changes the width, so that there is nothing to add to.
            h = new if i == 0 else h + new
        h = Dropout(self.dropout)(h, train)
        a, b = jnp.split(dense(2 * y.shape[1], "dense_out", jnp.float32, 0.0)(h), 2, axis=1)
        free = 1 - mask
        # A bounded log scale keeps `exp` and its inverse finite, even far away from the data.
        return self.bound * jnp.tanh(a / self.bound) * free, b * free


def masks(shape: tuple[int, ...]) -> list[np.ndarray]:
    """The masks that couplings use in turn, each followed by its complement: float32 `[D]`, one where nothing moves.

    Vectors: every second entry. Images: a checkerboard of pixels, then every second row, which is the mask of half
    the channels after pixels are gathered two by two; channels shift the pattern.

    Raises:
        ValueError: unless the shape is `(D,)` with `D >= 2`, or `(H, W, C)` with at least two rows and columns.
    """
    if len(shape) == 1 and shape[0] >= 2:
        patterns = [np.arange(shape[0])]
    elif len(shape) == 3 and min(shape[:2]) >= 2:
        row, column, channel = np.indices(shape)
        patterns = [row + column + channel, row + channel]
    else:
        raise ValueError(
            "a coupling flow takes vectors [batch, D] with D >= 2 or images [batch, H, W, C] of at least 2x2 pixels, "
            f"got examples of shape {shape}"
        )
    return [(pattern.reshape(math.prod(shape)) % 2).astype(np.float32) for pattern in patterns]


def _mask(kinds: list[np.ndarray], i: int) -> np.ndarray:
    """The mask of coupling `i`."""
    mask = kinds[i // 2 % len(kinds)]
    return mask if i % 2 == 0 else 1 - mask
