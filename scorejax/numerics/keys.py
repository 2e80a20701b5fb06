"""Randomness that follows the example: example `i` draws from `fold_in(key, i)`, whichever batch it travels in.

So a sample depends neither on the size of the batch nor on the number of devices.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics.doors import known


def is_batched(keys: Array) -> bool:
    """Return whether `keys` is a vector of typed PRNG keys rather than one key.

    Raises:
        ValueError: if it is neither, such as a raw array of integers, which would pass for two keys.
    """
    if not (isinstance(keys, Array) and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) and keys.ndim < 2):
        got = f"{keys.dtype} of shape {keys.shape}" if hasattr(keys, "dtype") else type(keys).__name__
        raise ValueError(f"a typed PRNG key from jax.random.key(seed) is needed, or one per example [B]; got {got}")
    return keys.ndim == 1


def check(key: Array, n: int) -> bool:
    """Return whether there is one key for each of `n` examples rather than one for all.

    Raises:
        ValueError: if `key` is a raw array of integers or a vector of keys of another length, or without examples.
    """
    if n < 1:
        raise ValueError(f"at least one example is needed, got {n}")
    if is_batched(key) and key.shape != (n,):
        raise ValueError(f"one key per example is needed: got {key.shape[0]} keys for {n} examples")
    return is_batched(key)


def per_example(key: Array, n: int, start: int | Array = 0) -> Array:
    """Return one key per example: example `i` gets `fold_in(key, start + i)`.

    Args:
        key: a typed PRNG key, or already one key per example `[n]` (returned as it is).
        n: number of examples.
        start: index of the first example, so that a device holding examples 64..127 draws what one device
            holding all of them would draw; 0 with one key per example, which follow their examples already.

    Raises:
        ValueError: if `key` is a raw array of integers or a vector of keys of another length, or on a `start` that
            keys of their own would not follow.
    """
    if check(key, n):
        if not known(start) or start != 0:
            raise ValueError(
                "start counts examples under one key, and here every example has a key of its own; leave start out, or "
                "give the one key"
            )
        return key
    return fold_in(jnp.broadcast_to(key, (n,)), start + jnp.arange(n))


def fold_in(keys: Array, data: int | Array) -> Array:
    """Fold `data` (a number, or one per key) into every key of `keys [B]`."""
    return jax.vmap(jax.random.fold_in)(keys, jnp.broadcast_to(jnp.asarray(data, jnp.uint32), keys.shape))


def normal(keys: Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike = float) -> Array:
    """Draw standard normal noise of shape `shape = (B, ...)`, example `i` from `keys[i]` alone."""
    return jax.vmap(lambda key: jax.random.normal(key, shape[1:], dtype))(keys)


def uniform(keys: Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike = float) -> Array:
    """Draw uniform noise on [0, 1) of shape `shape = (B, ...)`, example `i` from `keys[i]` alone."""
    return jax.vmap(lambda key: jax.random.uniform(key, shape[1:], dtype))(keys)
