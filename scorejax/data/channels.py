"""Model space of numbers of any kind and rank: each channel by a map of its own, counted numbers dequantized first.

Floating numbers are mapped on the host, in float64, and sent to the device as they are in model space: a spread of
1e-3 around 1e5 is lost in float32 otherwise. Counted numbers are sent as the numbers `k` of their levels; on the device
`v = k + u`, with `u` uniform on (0, 1), is what the map takes. A log density of model space becomes one of the user's
units, or of the levels, by the slope of the map at every number,

    log p(user) = log p(model) + sum_i ln |d model_i / d user_i|.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.data.encoding import Levels
from scorejax.data.maps import ChannelMap
from scorejax.data.space import Space
from scorejax.numerics import keys as keys_lib

_BITS = 22  # of the 24 of a float32: what is left for the place within a level, and for the rounding of the map


@dataclass(frozen=True)
class Channels(Space):
    """Numbers of any kind, mapped channel by channel.

    Attributes:
        map: from the user's units, or from those of levels, to model space.
        levels: of counted numbers; None for floating ones.
        dtype: the type of the user's numbers, in which samples are given back.
        dequantize: `to_model` draws the place within a level instead of taking the middle.
    """

    map: ChannelMap = field(default_factory=ChannelMap)
    levels: Levels | None = None
    dtype: str = "float32"
    dequantize: bool = True

    @property
    def interval(self) -> tuple[float, float] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """[-1, 1] if all levels were brought there; floating numbers have no bounds."""
        whole = self.levels is not None and self.map.affine and self.map.mode == "range"
        return (-1.0, 1.0) if whole else None

    def encode(self, examples: np.ndarray, what: str = "x") -> np.ndarray:
        if self.levels is not None:
            return self.levels.index(examples, what)
        return np.asarray(self.map.forward(np.asarray(examples, np.float64)), np.float32)

    def encode_traced(self, examples: Array) -> Array:
        if self.levels is not None:
            return jnp.round((examples - self.levels.lo) / self.levels.quantum).astype(jnp.int32)
        return self.map.forward(examples)

    def to_model(self, keys: Array | None, raw: Array) -> Array:
        if self.levels is None:
            return raw
        if not self.dequantize:
            return self.middle(raw)
        if keys is None:
            raise ValueError("counted numbers need keys [B], one per example, to be dequantized; got None.")
        return self._mapped(raw, self._place(keys, raw.shape))

    def middle(self, raw: Array) -> Array:
        return raw if self.levels is None else self._mapped(raw, 0.5)

    def to_host(self, x: Array) -> Array:
        """Return points of model space as they are: what the user is given is made in float64, by `decode`."""
        return x

    def decode(self, found: np.ndarray) -> np.ndarray:
        values = self.map.inverse(np.asarray(found, np.float64))
        if self.levels is None:
            return values.astype(np.dtype(self.dtype))
        if not self._counted:
            values = (values - self.levels.lo) / self.levels.quantum
        index = np.clip(np.nan_to_num(np.floor(values)), 0, self.levels.count - 1)
        return self.levels.values(index.astype(np.int64), np.dtype(self.dtype))

    def from_model(self, x: Array) -> Array:
        values = self.map.inverse(jnp.asarray(x))
        if self.levels is None:
            return values
        if not self._counted:
            values = (values - self.levels.lo) / self.levels.quantum
        index = jnp.clip(jnp.nan_to_num(jnp.floor(values)), 0, self.levels.count - 1)
        return self.levels.lo + self.levels.quantum * index

    def log_volumes(self, x: Array) -> Array:
        slopes = self.map.log_slope(x)
        if self.levels is not None and not self._counted:
            slopes = slopes + math.log(self.levels.quantum)
        # what is missing has no volume
        slopes = jnp.where(jnp.isnan(x), 0.0, slopes)
        return jnp.sum(slopes.reshape(len(x), -1), axis=1)

    def log_volume(self, dimension: int) -> float:
        if not self.map.affine:
            raise ValueError(
                f"data.normalize = {self.map.mode} with data.transform = {self.map.transform} has another slope at "
                "every number; set data.normalize=standard and data.transform=none for this"
            )
        each = dimension // len(self.map.scale)
        return -each * math.fsum(np.log(np.asarray(self.map.scale, np.float64)))

    @property
    def _counted(self) -> bool:
        """Whether the map takes numbers in the units of their levels."""
        return self.levels is not None and self.map.transform == "none"

    def _place(self, keys: Array, shape: tuple[int, ...]) -> Array:
        """Where in its level a number lies: as many places as float32 can tell apart next to the number of a level."""
        assert self.levels is not None
        bits = min(15, max(0, _BITS - (self.levels.count - 1).bit_length()))
        each = keys_lib.per_example(keys, shape[0])
        drawn = jax.vmap(lambda key: jax.random.bits(key, shape[1:], jnp.uint16))(each)
        return ((drawn >> (16 - bits)).astype(jnp.float32) + 0.5) / 2**bits if bits else jnp.full(shape, 0.5)

    def _mapped(self, raw: Array, place: Array | float) -> Array:
        """Counted numbers in model space, by the place within their levels."""
        assert self.levels is not None
        levels = raw.astype(jnp.float32) + place
        if not self._counted:
            levels = self.levels.lo + self.levels.quantum * levels
        return self.map.forward(levels)
