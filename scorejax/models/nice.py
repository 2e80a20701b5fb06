"""An invertible network that keeps volumes, but for one scale per entry: additive couplings, as in NICE."""

import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.mlp import dense
from scorejax.numerics.ranges import Count


class NICE(nn.Module):
    """Flow of additive couplings between data and a standard normal law (NICE, Dinh et al., arXiv 1410.8516).

    A coupling adds to every second entry a perceptron of the others, `y <- y + m(others)`, with the even entries and
    the odd ones in turn; its inverse subtracts the same. The Jacobian of that has determinant 1. At the end each entry
    is multiplied by `exp(s)`, so that the log determinant of the whole is `sum(s)`, the same for every input. The
    perceptrons are smooth (softplus), so that the density has a Hessian to be learned by score matching, and all maps
    start as the identity.

    Images are flattened, row by row. Four couplings of width 1000 and depth 4 are those of sliced score matching
    (Song et al., arXiv 1905.07088): 15,154,352 parameters for images of 28x28.

    `model.apply({"params": params}, x)` is the forward map; `method="inverse"` inverts it.

    Attributes:
        features: width of the hidden layers of each coupling.
        depth: number of hidden layers of each coupling.
        couplings: number of couplings.
    """

    role = "flows"
    ranks = (1, 3)
    tiny: ClassVar[dict[str, int]] = {"features": 16, "depth": 1, "couplings": 2}

    features: Count = 200
    depth: Count = 4
    couplings: Count = 4

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Map data to noise.

        Args:
            x: vectors `[B, D]` or images `[B, H, W, C]`.
            train: of no effect; networks of flows take it.

        Returns:
            `z`, of the same shape, and the log determinant of `dz / dx` in nats, `[B]`; both float32.

        Raises:
            ValueError: if a field or the shape does not fit.
        """
        pair = self._split(x)
        for i in range(self.couplings):
            moved = (i + 1) % 2
            pair[moved] = pair[moved] + self._shift(i, pair[1 - moved], pair[moved].shape[1])
        scale = self._log_scale(x)
        return _joined(pair, x.shape) * jnp.exp(scale).reshape(x.shape[1:]), jnp.full(len(x), jnp.sum(scale))

    @nn.compact
    def inverse(self, z: jax.Array) -> jax.Array:
        """Map noise to data.

        Args:
            z: vectors `[B, D]` or images `[B, H, W, C]`.

        Raises:
            ValueError: if a field or the shape does not fit.
        """
        pair = self._split(z * jnp.exp(-self._log_scale(z)).reshape(z.shape[1:]))
        for i in reversed(range(self.couplings)):
            moved = (i + 1) % 2
            pair[moved] = pair[moved] - self._shift(i, pair[1 - moved], pair[moved].shape[1])
        return _joined(pair, z.shape)

    def _split(self, x: jax.Array) -> list[jax.Array]:
        """The even and the odd entries, each `[B, half]`."""
        if min(self.features, self.depth, self.couplings) < 1:
            raise ValueError(
                "features, depth and couplings must be at least 1; got "
                f"features={self.features}, depth={self.depth}, couplings={self.couplings}"
            )
        if x.ndim not in (2, 4) or math.prod(x.shape[1:]) < 2:
            raise ValueError(
                "NICE takes vectors [batch, D] or images [batch, H, W, C] of at least two entries, got an array of "
                f"shape {x.shape}"
            )
        flat = x.astype(jnp.float32).reshape(x.shape[0], -1)
        return [flat[:, ::2], flat[:, 1::2]]

    def _shift(self, i: int, h: jax.Array, out: int) -> jax.Array:
        """What coupling `i` adds."""
        for j in range(self.depth):
            h = nn.softplus(dense(self.features, f"coupling_{i}_dense_{j}", jnp.float32)(h))
        return dense(out, f"coupling_{i}_out", jnp.float32, 0.0)(h)

    def _log_scale(self, x: jax.Array) -> jax.Array:
        return self.param("log_scale", nn.initializers.zeros, (math.prod(x.shape[1:]),))


def _joined(pair: list[jax.Array], shape: tuple[int, ...]) -> jax.Array:
    """The entries in their order again."""
    even, odd = pair
    flat = jnp.zeros((shape[0], even.shape[1] + odd.shape[1]), even.dtype)
    return flat.at[:, ::2].set(even).at[:, 1::2].set(odd).reshape(shape)
