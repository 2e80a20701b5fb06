"""Keys whose numbers are quick to compile: for weights and noise that no law looks at.

A draw of JAX's own generators compiles for 0.06 s, and a network has a hundred of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random


def _mix(h):
    """The last rounds of MurmurHash3."""
    h = (h ^ (h >> 16)) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * np.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def _bits(key, width, shape):
    counts = jax.lax.iota(np.uint32, max(int(np.prod(shape)), 1)) * np.uint32(0x9E3779B9)
    kinds = {8: np.uint8, 16: np.uint16, 32: np.uint32}
    return _mix(counts + key[0])[: int(np.prod(shape))].reshape(shape).astype(kinds[width])


def _split(key, shape):
    return _mix(jax.lax.iota(np.uint32, int(np.prod(shape))) + 31 * key[0]).reshape(*shape, 1)


GENERATOR = random.define_prng_impl(
    key_shape=(1,),
    seed=lambda seed: _mix(jnp.asarray(seed, np.uint32) + np.uint32(1)).reshape(1),
    split=_split,
    random_bits=_bits,
    fold_in=lambda key, data: _mix(31 * key + jnp.asarray(data, np.uint32) + np.uint32(7)),
    name="cheap",
    tag="cheap",
)


def key(seed):
    return jax.random.key(seed, impl=GENERATOR)
