"""Dropout that is drawn for each example by its place in the whole batch, so that any number of devices drops the same.

The places stand in a collection of variables, next to the key: `model.apply({"params": params, "batch": {"places":
places}}, x, ..., train=True, rngs={"dropout": key})`. Without the collection the places are 0, 1, 2 ...
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

BATCH = "batch"
"""The collection of variables in which `{"places": [B]}` are the places of the examples in the whole batch."""


class DropoutKeys(NamedTuple):
    """What a network draws from in training.

    Attributes:
        key: of the step, the same on every device.
        places: of the examples in the whole batch, int `[B]`.
    """

    key: jax.Array
    places: jax.Array


def in_training(dropout: DropoutKeys | None) -> tuple[dict[str, Any], dict[str, jax.Array] | None]:
    """Return what to add to the variables of `apply`, and its `rngs`; nothing outside of training."""
    if dropout is None:
        return {}, None
    return {BATCH: {"places": dropout.places}}, {"dropout": dropout.key}


class Dropout(nn.Module):
    """Zeros in the place of a share of the values, and the others divided by what is kept of them, in the mean.

    Attributes:
        rate: the share, at least 0 and less than 1.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Drop values of `x [B, ...]` in training.

        Raises:
            ValueError: there are points that are not as many for each example.
        """
        if not (train and self.rate):
            return x
        key, places = self.make_rng("dropout"), self._places(len(x))
        turns, left = divmod(len(x), len(places))
        if left:
            raise ValueError(f"{len(x)} points were given for the {len(places)} examples of a batch; wanted a multiple")
        keys = [jax.random.fold_in(key, turn) if turn else key for turn in range(turns)]  # points come in turns
        kept = [self._kept(each, places, x.shape[1:]) for each in keys]
        return jnp.where(jnp.concatenate(kept), x / jnp.asarray(1.0 - self.rate, x.dtype), 0)

    def _places(self, count: int) -> jax.Array:
        """The places of the examples, which are known to the outermost module."""
        root = self.scope.root if self.scope is not None else None
        return jnp.asarray(root.get_variable(BATCH, "places", jnp.arange(count))) if root else jnp.arange(count)

    def _kept(self, key: jax.Array, places: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Which values stay, bool `[B, ...]`."""
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, places)
        return jax.vmap(lambda each: jax.random.bernoulli(each, 1.0 - self.rate, shape))(keys)
