"""Several devices: the only file that says pmap.

State is never stacked: it enters and leaves the mapped function without a device axis, the same on every device.
That the copies stay the same is the mapped function's duty (it averages the gradients), and nothing in JAX checks
it; so `to_host` compares them, bit for bit, whenever a state leaves the devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from scorejax.numerics.trees import PyTree

AXIS = "batch"

Tree = TypeVar("Tree")  # a tree of arrays that comes back in the same form
State = TypeVar("State")
Metrics = TypeVar("Metrics")


class Rows(Protocol):
    """What can be read a few rows at a time: an array, or files that are decoded when they are asked for."""

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray: ...


def is_main_process() -> bool:
    """Return whether this process writes logs and files."""
    return jax.process_index() == 0


def local_parts() -> tuple[int, ...]:
    """Return which parts of a batch, cut into `jax.device_count()`, the devices of this process hold."""
    first = jax.process_index() * jax.local_device_count()
    return tuple(range(first, first + jax.local_device_count()))


def mean(tree: Tree) -> Tree:
    """Average over all devices; inside a mapped function only."""
    return lax.pmean(tree, AXIS)


def gather(values: Array) -> Array:
    """Return all devices' `values [b]` in the order of their parts, `[devices * b]`; inside a mapped function only."""
    return lax.all_gather(values, AXIS, tiled=True)


def part() -> Array:
    """Return which part of the batch this device holds; inside a mapped function only."""
    return lax.axis_index(AXIS)


def replicated() -> NamedSharding:
    """Return where a copy on every local device lives; `train_map` leaves a state there, so nothing compiles twice."""
    return NamedSharding(_mesh(), PartitionSpec())


def replicate(tree: Tree) -> Tree:
    """Copy arrays to every local device."""
    return jax.device_put(tree, replicated())


def shard(tree: PyTree) -> PyTree:
    """Put host arrays `[local devices, ...]` on their devices."""
    return jax.device_put(tree, NamedSharding(_mesh(), PartitionSpec(AXIS)))


def to_host(tree: PyTree) -> PyTree:
    """Copy replicated arrays to numpy, from one device; PRNG keys become their data.

    Raises:
        RuntimeError: two devices of this process hold different values.
    """
    paths, structure = jax.tree.flatten_with_path(tree)
    return jax.tree.unflatten(structure, [_one_copy(jax.tree_util.keystr(path), leaf) for path, leaf in paths])


def own(tree: PyTree) -> PyTree:
    """Give every local device its row of host arrays `[all devices, ...]`."""

    def mine(leaf: Array) -> Array:
        keyed = _is_key(leaf)
        rows = shard(np.asarray(jax.random.key_data(leaf) if keyed else leaf)[list(local_parts())])
        return jax.random.wrap_key_data(rows) if keyed else rows

    return jax.tree.map(mine, tree)


def own_to_host(tree: PyTree) -> PyTree:
    """Copy what each device has for itself to numpy, `[all devices, ...]`, on every process; keys become their data."""
    from jax.experimental import multihost_utils

    tree = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)
    if jax.process_count() > 1:
        return multihost_utils.process_allgather(tree, tiled=True)
    return jax.tree.map(np.array, tree)


def train_map(
    step: Callable[..., tuple[State, Metrics]],
    payload_axis: int | None = None,
    constants: tuple[PyTree, ...] = (),
    *,
    own: tuple[str, ...] = (),
) -> Callable[[State, PyTree], tuple[State, Metrics]]:
    """Run `step(state, payload, *constants) -> (state, metrics)` on every device; the state's memory is reused.

    Args:
        step: pure, per device; must leave the same state and metrics on every device (`mean` the gradients), but for
            the fields in `own`.
        payload_axis: axis of the payload over local devices; None gives every device the whole payload.
        constants: arrays that every call reads and none changes, such as frozen weights; what `step` closes over is
            compiled into it.
        own: fields of the state (a NamedTuple) that differ between devices, with an axis of local devices.
    """

    def one(
        state: PyTree, mine: dict[str, PyTree], payload: PyTree, lane: Array, constants: tuple[PyTree, ...]
    ) -> tuple[PyTree, dict[str, PyTree], Metrics]:
        state, metrics = step(state._replace(**mine), payload, *constants)
        return state._replace(**dict.fromkeys(own)), {name: getattr(state, name) for name in own}, metrics

    mapped = jax.pmap(
        one,
        axis_name=AXIS,
        in_axes=(None, 0, payload_axis, 0, None),
        out_axes=(None, 0, None),
        donate_argnums=(0, 1),
    )
    constants = replicate(constants)
    lanes = shard(np.arange(jax.local_device_count(), dtype=np.uint32))  # pmap wants something to map over

    def call(state: PyTree, payload: PyTree) -> tuple[State, Metrics]:
        mine = {name: getattr(state, name) for name in own}
        # The same kind of array in every call: another kind would compile another program.
        payload = payload if payload_axis is None else shard(payload)
        state, mine, metrics = mapped(state._replace(**dict.fromkeys(own)), mine, payload, lanes, constants)
        return state._replace(**mine), metrics

    return call


def map_batches(
    fn: Callable[..., PyTree],
    carried: PyTree,
    arrays: tuple[Rows, ...] = (),
    *,
    stop: int,
    batch_size: int,
    start: int = 0,
) -> Iterator[tuple[int, int, PyTree]]:
    """Run `fn(carried, index, *arrays)` over examples `start .. stop - 1`, batch by batch, on every local device.

    Every example is computed exactly once; the last batch is filled with repeats of the last example, whose
    results are dropped, so that there is one shape and one compilation.

    Args:
        fn: `carried` as given, `index [b]` the numbers of the examples, and the slice `[b, ...]` of each array;
            returns arrays `[b, ...]`. On each device `index` counts up by one, but for the filling at the end.
        carried: parameters and the like, the same for all.
        arrays: host arrays `[>= stop, ...]`, or what is read like them; none if `fn` makes examples from their numbers.
        stop: number of examples.
        batch_size: examples per call over all local devices, rounded up to a multiple of them.
        start: the first example, to resume half-way.

    Yields:
        `(first, end, results)`: results of examples `first .. end - 1` as numpy `[end - first, ...]`.
    """
    whole = -(-batch_size // jax.local_device_count()) * jax.local_device_count()
    mapped = _over_devices(fn, arrays)
    carried = replicate(carried)
    for first in range(start, stop, whole):
        end = min(first + whole, stop)
        inputs = shard(_batch(arrays, np.minimum(np.arange(first, first + whole), stop - 1)))
        results = jax.device_get(mapped(carried, *inputs))
        yield first, end, jax.tree.map(lambda y, n=end - first: y.reshape(-1, *y.shape[2:])[:n], results)


def trace_batch(fn: Callable[..., PyTree], carried: PyTree, arrays: tuple[Rows, ...] = (), *, each: int) -> PyTree:
    """Return shapes and types of one example's results, as `map_batches` would yield them, without compiling.

    Args:
        fn: as there, like `carried` and `arrays`, which have at least one row.
        carried: the same for all.
        arrays: of the examples.
        each: examples per device.
    """
    inputs = _batch(arrays, np.zeros(jax.local_device_count() * each, int))
    results = jax.eval_shape(_over_devices(fn, arrays), carried, *inputs)
    return jax.tree.map(lambda y: jax.ShapeDtypeStruct(y.shape[2:], y.dtype), results)


def _over_devices(fn: Callable[..., PyTree], arrays: tuple[Rows, ...]) -> Callable[..., PyTree]:
    return jax.pmap(fn, axis_name=AXIS, in_axes=(None, 0, *(0 for _ in arrays)))


def _batch(arrays: tuple[Rows, ...], index: np.ndarray) -> tuple[np.ndarray, ...]:
    """The numbers of examples and their rows of the arrays, with an axis of local devices before them."""
    rows = (index.astype(np.uint32), *(array[index] for array in arrays))
    return tuple(np.ascontiguousarray(r).reshape(jax.local_device_count(), -1, *r.shape[1:]) for r in rows)


def _mesh() -> Mesh:
    return Mesh(np.array(jax.local_devices()), (AXIS,))


def _one_copy(name: str, leaf: object) -> np.ndarray:
    if not isinstance(leaf, jax.Array):
        return np.array(leaf)
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    first, *others = [np.asarray(piece.data) for piece in leaf.addressable_shards]
    if any(not np.array_equal(_bytes(other), _bytes(first)) for other in others):
        raise RuntimeError(
            f"devices hold different values of {name}: the training step does not average its gradients over the "
            "devices (parallel.mean), or a device computes wrongly"
        )
    return np.array(first)  # a copy: a view would keep the buffer from being donated


def _is_key(leaf: object) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
