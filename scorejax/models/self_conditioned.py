"""A network that is given its last estimate of the data as more channels (Chen et al. 2022, arXiv 2208.04202).

The estimate stands in a collection of variables, so that the network is called in the same way with and without it:
`model.apply({"params": params, "estimate": {"x0": x0}}, x, ...)`. Without the collection it is zeros.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.wider import Wider

ESTIMATE = "estimate"
"""The collection of variables in which `{"x0": [B, ...]}` is the estimate."""


class SelfConditioned(Wider):
    """A network whose input is `[x, x0]`, with `x0` the estimate; what it puts out for the second half is left out.

    Attributes:
        network: of scores, for twice the channels of an example.
    """

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network.

        Raises:
            ValueError: an estimate of another shape than that of `x`.
        """
        x0 = jnp.zeros_like(x)
        if self.has_variable(ESTIMATE, "x0"):
            x0 = jnp.asarray(self.get_variable(ESTIMATE, "x0"), x.dtype)
            if x0.shape != x.shape:
                raise ValueError(f"the estimate must have the shape of the points, {x.shape}; got {x0.shape}")
        wide = jnp.concatenate([x, self.as_it_is(x0, labels)], axis=-1)
        out = self.network(wide, labels, condition, train)  # pyright: ignore[reportCallIssue]
        return self.of_examples(out, x.shape[-1])
