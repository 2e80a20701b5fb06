"""What lies around a network that is given more channels than its examples have."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.numerics.trees import PyTree


class Wider(nn.Module):
    """A network around another one, which puts out channels for all that it is given.

    Attributes:
        network: of scores, for more channels than an example has.
    """

    network: nn.Module

    def of_examples(self, out: jax.Array, channels: int) -> jax.Array:
        """Return the first channels of what the network puts out, of both halves if it learns ranges."""
        halves = jnp.split(out, 2, axis=-1) if self.learned_range else [out]
        return jnp.concatenate([half[..., :channels] for half in halves], axis=-1)

    def as_it_is(self, values: jax.Array, labels: jax.Array) -> jax.Array:
        """Return what to give the network so that `values [B, ...]` reach it as they are.

        Networks of tables that scale by sigma divide their whole input by it.
        """
        if values.ndim != 2 or not self.scale_by_sigma:
            return values
        return values * jnp.sqrt(1 + jnp.square(labels.astype(values.dtype)))[:, None]

    @property
    def project(self) -> Callable[[PyTree], PyTree] | None:
        """Of the parameters of the network inside, where training keeps them; None for one that leaves them free."""
        inside = getattr(self.network, "project", None)
        return None if inside is None else lambda params: {**params, "network": inside(params["network"])}

    @property
    def condition(self) -> str | None:
        """As of the network inside."""
        return getattr(self.network, "condition", None)

    @property
    def condition_dim(self) -> int | None:
        """As of the network inside."""
        return getattr(self.network, "condition_dim", None)

    @property
    def num_classes(self) -> int | None:
        """As of the network inside."""
        return getattr(self.network, "num_classes", None)

    @property
    def scale_by_sigma(self) -> bool:
        """As of the network inside."""
        return bool(getattr(self.network, "scale_by_sigma", False))

    @property
    def learned_range(self) -> bool:
        """As of the network inside."""
        return bool(getattr(self.network, "learned_range", False))

    @property
    def progressive(self) -> str | None:
        """As of the network inside, which decides where its last feature map is."""
        return getattr(self.network, "progressive", None)
