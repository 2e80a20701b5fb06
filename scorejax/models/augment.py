"""What labels of augmentation add to the vector of the noise of a network.

How each example of a batch was augmented stands in a collection of variables, so that a network is called in the same
way whether it was trained with augmentation or not: `model.apply({"params": params, "augment": {"labels": labels}}, x,
...)`. Without the collection the labels are zeros, which stand for examples as they are.
"""

from __future__ import annotations

from typing import overload

import flax.linen as nn
import jax
import jax.numpy as jnp

AUGMENT = "augment"
"""The collection of variables in which `{"labels": [B, augment_dim]}` says how each example was augmented."""


@overload
def with_augmentation(network: nn.Module, h: jax.Array, features: int, batch: int) -> jax.Array: ...
@overload
def with_augmentation(network: nn.Module, h: None, features: int, batch: int) -> jax.Array | None: ...
def with_augmentation(network: nn.Module, h: jax.Array | None, features: int, batch: int) -> jax.Array | None:
    """Return the vector of the noise `[B, features]` plus a dense map of the labels of augmentation.

    For use inside a compact method of a network with the field `augment_dim`; without augmentation it is `h`.

    Raises:
        ValueError: the labels have another shape.
    """
    count: int = getattr(network, "augment_dim")  # noqa: B009
    if not count:
        return h
    labels = jnp.zeros((batch, count))
    if network.has_variable(AUGMENT, "labels"):
        given = jnp.asarray(network.get_variable(AUGMENT, "labels"))
        if given.shape != labels.shape:
            raise ValueError(f"labels of augmentation have shape {labels.shape}, got {given.shape}")
        labels = given
    added = nn.Dense(features, use_bias=False, name="augment")(labels)
    return added if h is None else h + added
