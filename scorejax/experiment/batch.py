"""What one device is given of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from scorejax.models.dropout import DropoutKeys
from scorejax.runtime import parallel

_DROPOUT = 1  # stream of the key of a whole batch


class Batch(NamedTuple):
    """One device's part of a batch.

    Attributes:
        x: examples in model space, `[b, ...]`, mirrored and dequantized as section `data` says.
        raw: the same as they were sent to the device, mirrored: numbers of levels, or floats of model space.
        labels: theirs, `[b, ...]`, or None.
        step: optimizer steps taken before, int32.
        device_key: a key of this step and this device.
        whole_key: a key of this step that all devices share.
        part: which part of the whole batch this is.
        parts: of how many.
    """

    x: Array
    raw: Array
    labels: Array | None
    step: Array
    device_key: Array
    whole_key: Array
    part: Array
    parts: int

    @property
    def dropout(self) -> DropoutKeys:
        """What networks draw from, by the places of these examples in the whole batch."""
        count = len(self.x)
        return DropoutKeys(jax.random.fold_in(self.whole_key, _DROPOUT), self.part * count + jnp.arange(count))

    def whole(self, draw: Callable[[Array, int], Array]) -> Array:
        """This device's part of what `draw(key, n) -> [n, ...]` gives for the whole batch, such as stratified times."""
        count = len(self.x)
        return lax.dynamic_slice_in_dim(draw(self.whole_key, count * self.parts), self.part * count, count)

    def gather(self, values: Array) -> Array:
        """The `values [b, ...]` of all devices in the order of their parts, `[n, ...]`."""
        return parallel.gather(values)
