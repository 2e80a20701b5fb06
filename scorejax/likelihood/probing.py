"""Which probe a node of a fixed grid takes: the same one, a new one, or rows of one randomized Hadamard matrix."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.likelihood.divergence import probe_vectors
from scorejax.numerics import keys as keys_lib

PROBINGS = ("fixed", "fresh", "hadamard")
_NODE = 2**16  # streams of the nodes in an example's key


def check_probing(probing: str | None, method: str, divergence: str) -> str:
    """Return the name in `PROBINGS`; None is `fixed` for the adaptive solver and `fresh` on a grid.

    Raises:
        ValueError: on an unknown name, or one that the solver or the law of the probes has no place for.
    """
    if probing is None:
        return "fixed" if method == "adaptive" else "fresh"
    if probing not in PROBINGS:
        raise ValueError(f"unknown probing {probing!r}; choose one of {', '.join(PROBINGS)}")
    if method == "adaptive" and probing != "fixed":
        raise ValueError(
            f"probing={probing!r} changes the probes along the solve, and an adaptive solver takes their noise for its "
            "own error; take method='multistep', or probing='fixed'"
        )
    if probing == "hadamard" and divergence == "gaussian":
        raise ValueError("rows of a Hadamard matrix are signs; take divergence='rademacher' with probing='hadamard'")
    return probing


def prober(keys: Array, x: Array, divergence: str, probes: int, probing: str, nodes: int) -> Callable[[Array], Array]:
    """Return the function from the number of a node to its probes `[B, k, ...]`, traceable in that number.

    With `hadamard` node `i` takes row `pi(i)` of a Hadamard matrix of signs whose columns got random signs, of a size
    that is the power of two from `D` on: so many nodes together see the exact trace of a constant Jacobian.
    """
    if divergence == "exact" or probing == "fixed":
        vectors = probe_vectors(keys, x, divergence, probes)
        return lambda node: vectors
    if probing == "fresh":
        return lambda node: probe_vectors(keys_lib.fold_in(keys, _NODE + node), x, divergence, probes)
    dimension = x[0].size
    size = 1 << (dimension - 1).bit_length()
    columns = jnp.arange(dimension, dtype=jnp.uint32)

    def one(key: Array) -> tuple[Array, Array]:
        order, sign = jax.random.split(key)
        rows = jax.random.permutation(order, jnp.arange(size, dtype=jnp.uint32))
        return rows[jnp.arange(nodes) % size], jax.random.rademacher(sign, (dimension,), x.dtype)

    each = jax.vmap(lambda key: jax.random.split(key, probes))(keys)
    rows, signs = jax.vmap(jax.vmap(one))(each)  # [B, k, nodes], [B, k, D]

    def of_node(node: Array) -> Array:
        row = jnp.take(rows, node, axis=2)[..., None]
        odd = jnp.bitwise_and(jax.lax.population_count(jnp.bitwise_and(row, columns)), jnp.uint32(1))
        return (signs * (1.0 - 2.0 * odd.astype(x.dtype))).reshape(*signs.shape[:2], *x.shape[1:])

    return of_node
