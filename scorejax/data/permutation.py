"""Which examples a batch holds: a pure function of (seed, step), with no iterator to save.

The endless stream of epochs is numbered 0, 1, 2, ...: position `p` lies in epoch `p // n`, and each epoch
visits all `n` examples once, in an order of its own. Batch `step` holds positions `step * B ... step * B +
B - 1`, so it may straddle two epochs and nothing is ever dropped.

An epoch's order is a swap-or-not shuffle (Hoang, Morris and Rogaway, "An enciphering scheme based on a card
shuffle", CRYPTO 2012). In each round the cards `x` and `K - x mod n` trade places if a coin that belongs to
the pair says so. Every round is its own inverse, hence a permutation of exactly {0, ..., n-1} for any n:
one element costs O(rounds) arithmetic, without a table, and without the data-dependent loop of a
cycle-walking cipher, which would make an accelerator wait for the host in every training step.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

MAX_EXAMPLES = 2**30  # sums of three offsets must fit 32 bits
_GOLDEN = np.uint32(0x9E3779B9)  # 2^32 / golden ratio: spreads consecutive counters

_Words = np.ndarray | jax.Array  # uint32 words, in numpy or in jax.numpy: the same arithmetic serves both


def rounds(n: int) -> int:
    """Return how many rounds bring one element within about sqrt(n) 2^(-rounds/2) <= 2^-16 of a uniform law."""
    return 32 + n.bit_length()


def _mix(word: _Words) -> _Words:
    """Bijective hash of 32-bit words: xor-shifts and products by odd numbers let every bit move every bit."""
    word = (word ^ (word >> np.uint32(16))) * np.uint32(0x7FEB352D)
    word = (word ^ (word >> np.uint32(15))) * np.uint32(0x846CA68B)
    return word ^ (word >> np.uint32(16))


def _round(r: int | jax.Array, x: _Words, n: int, base: _Words) -> _Words:
    """One swap-or-not round: trade places with the partner `K - x mod n` if the pair's coin shows heads."""
    xp = np if isinstance(x, np.ndarray) else jnp
    size, salt = np.uint32(n), xp.asarray(r, dtype=np.uint32) * _GOLDEN
    pivot = _mix(base + salt) % size
    partner = xp.where(pivot >= x, pivot - x, pivot + (size - x))
    coin = _mix(xp.maximum(x, partner) ^ _mix(base ^ salt)) & np.uint32(1)
    return xp.where(coin == np.uint32(1), partner, x)


def _epoch_key(seed: _Words, epoch: _Words) -> _Words:
    return _mix(_mix(seed + _GOLDEN) ^ (epoch * _GOLDEN))


def _epoch_and_offset(step: _Words, slot: _Words, batch_size: int, n: int) -> tuple:
    """Epoch and place in it of position `step * batch_size + slot`, though the product may exceed 32 bits.

    Horner's rule over the bits of `batch_size`, carrying quotient and remainder by `n`, not the number.
    """
    size, one = np.uint32(n), np.uint32(1)
    step_epoch, step_offset = step // size, step % size
    epoch = offset = step_epoch * np.uint32(0)
    for bit in bin(batch_size)[2:]:
        epoch, offset = epoch << one, offset << one
        if bit == "1":
            epoch, offset = epoch + step_epoch, offset + step_offset
        epoch, offset = epoch + offset // size, offset % size
    offset = offset + slot
    return epoch + offset // size, offset % size


def _check(batch_size: int, n: int, parts: int) -> None:
    if not 1 <= n <= MAX_EXAMPLES:
        raise ValueError(f"a data set of n = {n} examples cannot be drawn from; n must be in 1..{MAX_EXAMPLES}.")
    if not 1 <= batch_size <= MAX_EXAMPLES:
        raise ValueError(f"batch_size = {batch_size}; it must be in 1..{MAX_EXAMPLES}.")
    if batch_size % parts:
        raise ValueError(
            f"batch_size = {batch_size} does not split into parts = {parts} equal parts; choose a multiple of {parts}."
        )


@partial(jax.jit, static_argnames=("batch_size", "n", "parts"))
def indices(
    seed: int | jax.Array,
    step: int | jax.Array,
    batch_size: int,
    n: int,
    *,
    part: int | jax.Array = 0,
    parts: int = 1,
) -> jax.Array:
    """Return the examples of batch `step`: slots of the endless stream of shuffled epochs, evaluated in place.

    Args:
        seed: which stream; an integer below 2^32, may be traced.
        step: which batch; an integer below 2^32, may be traced (a scan counter, say).
        batch_size: examples in the whole batch, over all devices.
        n: examples in the data set.
        part: which of `parts` equal, consecutive slices of the batch to return; may be traced (a device index).
        parts: into how many slices the batch is cut; together they are the whole batch, for any number of them.

    Returns:
        int32 `[batch_size // parts]`, each in `0..n-1`.

    Raises:
        ValueError: `n` or `batch_size` out of range, or `batch_size` not a multiple of `parts`.
    """
    _check(batch_size, n, parts)
    count = batch_size // parts
    slot = jnp.arange(count, dtype=jnp.uint32) + jnp.asarray(part).astype(jnp.uint32) * np.uint32(count)
    steps = jnp.broadcast_to(jnp.asarray(step).astype(jnp.uint32), slot.shape)
    epoch, offset = _epoch_and_offset(steps, slot, batch_size, n)
    seeds = jnp.broadcast_to(jnp.asarray(seed).astype(jnp.uint32), slot.shape)
    key = _epoch_key(seeds, epoch)
    shuffled = jax.lax.fori_loop(0, rounds(n), lambda r, x: _round(r, x, n, key), offset, unroll=8)
    return shuffled.astype(jnp.int32)


def indices_on_host(
    seed: int, steps: np.ndarray, batch_size: int, n: int, *, part: int = 0, parts: int = 1
) -> np.ndarray:
    """Return what `indices` does, computed in numpy for several steps: int32 `[len(steps), batch_size // parts]`."""
    _check(batch_size, n, parts)
    count = batch_size // parts
    slot, step = np.broadcast_arrays(
        np.arange(count, dtype=np.uint32) + np.uint32(part * count), np.asarray(steps, np.uint32)[:, None]
    )
    epoch, offset = _epoch_and_offset(step, slot, batch_size, n)
    seeds = np.full(slot.shape, seed & 0xFFFFFFFF, np.uint32)
    key = _epoch_key(seeds, epoch)
    for r in range(rounds(n)):
        offset = _round(r, offset, n, key)
    return np.asarray(offset).astype(np.int32)
