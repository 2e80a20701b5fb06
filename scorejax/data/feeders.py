"""Two ways to feed a compiled chunk of training steps, with one interface and the same batches bit for bit.

    payload = feeder.payload(step, count)                # on the host, once per chunk of `count` steps
    examples, labels = feeder.draw(payload, step, part)  # inside each compiled step of the chunk

`Resident` keeps the whole set on the device and picks from it by `(seed, step)`; its payload never changes.
`Streamed` reads the chunk's batches from memory or disk, in a background thread, one chunk or more ahead.
Mapped over devices, the payload's `in_axes` is `feeder.payload_axis` and `part` is the device's index in the batch
axis.
"""

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorejax.data.dataset import Dataset
from scorejax.data.lazy import Converted, Examples, blocks
from scorejax.data.permutation import indices, indices_on_host
from scorejax.data.space import GrayLevels, Space

RESIDENT_BYTES = 2 * 2**30


class Sent(NamedTuple):
    """A data set as it is sent to the device.

    Attributes:
        examples: as the space of a model encodes them.
        labels: theirs, or None.
    """

    examples: Examples
    labels: np.ndarray | None


def sent(data: Dataset, space: Space) -> Sent:
    """Return a data set whose examples are encoded on their way to the device; gray levels are sent as they are."""
    if isinstance(space, GrayLevels):
        return Sent(data.examples, data.labels)
    return Sent(Converted(data.examples, space.encode), data.labels)


class Payload(NamedTuple):
    """The arrays that one compiled chunk of training steps is called with.

    Attributes:
        examples: the whole set `[N, ...]`, or the chunk's batches `[count, B, ...]`.
        labels: the same for labels; None without.
        first: the chunk's first step, uint32; unused by `Resident`.
    """

    examples: np.ndarray | jax.Array
    labels: np.ndarray | jax.Array | None
    first: np.uint32 | jax.Array


@dataclass(frozen=True, eq=False)
class Resident:
    """The whole set on the device; batches are drawn inside the compiled step.

    Attributes:
        data: the set.
        batch_size: examples per batch, over all devices.
        seed: of the stream of epochs.
        parts: number of devices that share a batch.
        sharding: where the set lives; for several devices a replicated one, or every call copies it.
    """

    data: Dataset | Sent
    batch_size: int
    seed: int
    parts: int = 1
    sharding: jax.sharding.Sharding | None = None
    _payload: Payload = field(init=False, repr=False)

    def __post_init__(self) -> None:
        arrays = Payload(_in_memory(self.data.examples), self.data.labels, np.uint32(0))
        put = jax.tree.map(lambda leaf: jax.device_put(np.ascontiguousarray(leaf), self.sharding), arrays)
        object.__setattr__(self, "_payload", put)

    @property
    def payload_axis(self) -> int | None:
        """None, since every device is given the same payload."""
        return None

    def payload(self, step: int, count: int) -> Payload:
        """Return the whole set, always the same arrays."""
        return self._payload

    def draw(
        self, payload: Payload, step: int | jax.Array, part: int | jax.Array = 0
    ) -> tuple[jax.Array, jax.Array | None]:
        """Return examples `[B / parts, ...]` and labels of slice `part` of batch `step`; both may be traced."""
        chosen = indices(self.seed, step, self.batch_size, len(self.data.examples), part=part, parts=self.parts)
        examples, labels = jnp.asarray(payload.examples)[chosen], payload.labels
        return examples, None if labels is None else jnp.asarray(labels)[chosen]

    def close(self) -> None:
        """Do nothing: there is nothing to stop."""


@dataclass(frozen=True, eq=False)
class Streamed:
    """Batches read chunk by chunk, ahead of time, from an array that need not fit in memory.

    Attributes:
        data: the set; memory-mapped examples are read from disk as they are needed.
        batch_size: examples per batch, over all devices of all processes.
        seed: of the stream of epochs.
        parts: number of devices, over all processes, that share a batch.
        local: which of the parts this process reads, one per local device; they are stacked on a leading axis
            of the payload, to map over. None: the whole batch, no such axis (then `parts` must be 1).
        ahead: chunks to prepare in advance.
    """

    data: Dataset | Sent
    batch_size: int
    seed: int
    parts: int = 1
    local: tuple[int, ...] | None = None
    ahead: int = 1
    _worker: ThreadPoolExecutor = field(init=False, repr=False)
    _pending: OrderedDict[tuple[int, int], Future] = field(init=False, repr=False, default_factory=OrderedDict)

    def __post_init__(self) -> None:
        if self.local is None and self.parts != 1:
            raise ValueError(f"parts = {self.parts} with local = None; name the parts that this process reads.")
        if self.local is not None and not all(0 <= p < self.parts for p in self.local):
            raise ValueError(f"local = {self.local}; with parts = {self.parts} each must lie in 0..{self.parts - 1}.")
        object.__setattr__(self, "_worker", ThreadPoolExecutor(1, "scorejax-data"))

    @property
    def payload_axis(self) -> int | None:
        """Axis of the payload that runs over local devices."""
        return None if self.local is None else 0

    def payload(self, step: int, count: int) -> Payload:
        """Return batches `step ... step + count - 1`: numpy `[count, B / parts, ...]`, per local part.

        The `ahead` chunks that follow are then prepared in the background. Any other chunk may be asked for
        (after resuming, say); that only costs the wait.
        """
        wanted = [(step + i * count, count) for i in range(self.ahead + 1)]
        # after a jump, by resuming for instance, what was read ahead is of no use
        for stale in [chunk for chunk in self._pending if chunk not in wanted]:
            self._pending.pop(stale).cancel()
        for chunk in wanted:
            if chunk not in self._pending:
                self._pending[chunk] = self._worker.submit(self._read, *chunk)
        return self._pending.pop(wanted[0]).result()

    def _read(self, step: int, count: int) -> Payload:
        if self.local is None:
            return self._read_part(step, count, 0)
        return jax.tree.map(lambda *leaves: np.stack(leaves), *[self._read_part(step, count, p) for p in self.local])

    def _read_part(self, step: int, count: int, part: int) -> Payload:
        steps = np.arange(step, step + count, dtype=np.uint32)
        chosen = indices_on_host(
            self.seed, steps, self.batch_size, len(self.data.examples), part=part, parts=self.parts
        )
        labels = self.data.labels
        examples = np.asarray(self.data.examples[chosen])
        return Payload(examples, None if labels is None else labels[chosen], np.uint32(step))

    def draw(
        self, payload: Payload, step: int | jax.Array, part: int | jax.Array = 0
    ) -> tuple[jax.Array, jax.Array | None]:
        """Return batch `step` from the payload of one device; `part` was chosen when the payload was made."""
        at = jnp.asarray(step).astype(jnp.uint32) - payload.first
        return payload.examples[at], None if payload.labels is None else payload.labels[at]

    def close(self) -> None:
        """Stop reading ahead."""
        self._worker.shutdown(wait=True, cancel_futures=True)


def _in_memory(examples: Examples) -> np.ndarray:
    """All rows, each read once."""
    if isinstance(examples, np.ndarray):
        return examples
    found = np.empty(examples.shape, examples.dtype)
    first = 0
    for block in blocks(examples):
        found[first : first + len(block)] = block
        first += len(block)
    return found


def feed(
    data: Dataset | Sent,
    batch_size: int,
    seed: int,
    *,
    parts: int = 1,
    local: tuple[int, ...] | None = None,
    sharding: jax.sharding.Sharding | None = None,
    budget_bytes: int = RESIDENT_BYTES,
) -> Resident | Streamed:
    """Return a `Resident` if the examples fit into `budget_bytes` of device memory, else a `Streamed`: same batches."""
    labels = 0 if data.labels is None else data.labels.nbytes
    if data.examples.nbytes + labels <= budget_bytes:
        return Resident(data, batch_size, seed, parts, sharding)
    return Streamed(data, batch_size, seed, parts, local)
