"""A network for examples with missing numbers: it is given the known ones, and which these are."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.wider import Wider


class Observed(Wider):
    """A network whose input may hold NaN, a number that is missing: given `[m x, m]`, with `m` one where x is known.

    What the network puts out for the second half of the channels is left out.

    Attributes:
        network: of scores, for twice the channels of an example.
    """

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network; what it says of numbers that are missing means nothing."""
        known, channels = jnp.isfinite(x), x.shape[-1]
        ones = self.as_it_is(known.astype(x.dtype), labels)  # a mask is no number to be scaled
        wide = jnp.concatenate([jnp.where(known, x, 0), ones], axis=-1)
        out = self.network(wide, labels, condition, train)  # pyright: ignore[reportCallIssue]
        return self.of_examples(out, channels)
