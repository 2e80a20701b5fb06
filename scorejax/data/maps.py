"""How numbers are brought to the units of a model, channel by channel: `y = n_c(T(x))`, with its slope and inverse.

`T` is the logarithm or nothing, `n_c` shifts and scales (`standard`, `range`), or makes a normal law of the training
data (`quantile`: `n_c = Phi^-1 o F_c`, with `F_c` piecewise linear between quantiles and exponential beyond them).
On the host all of it is float64; the same formulas serve arrays of JAX in their own type.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax import Array

Normalization: TypeAlias = Literal["auto", "standard", "range", "quantile", "none"]
"""How data are brought to model space, see `scorejax.data.fitting`."""
Transform: TypeAlias = Literal["none", "log", "log1p", "asinh"]
"""What is taken of every number before that."""
Numbers: TypeAlias = Array | np.ndarray


class _Kind(NamedTuple):
    """A transform: itself, its inverse, and the log of its slope as a function of what it returns."""

    forward: Callable[[Any, Any], Any]
    inverse: Callable[[Any, Any], Any]
    log_slope: Callable[[Any, Any], Any]


_TRANSFORMS: dict[str, _Kind] = {
    "none": _Kind(lambda xp, x: x, lambda xp, z: z, lambda xp, z: 0.0 * z),
    "log": _Kind(lambda xp, x: xp.log(x), lambda xp, z: xp.exp(z), lambda xp, z: -z),
    "log1p": _Kind(lambda xp, x: xp.log1p(x), lambda xp, z: xp.expm1(z), lambda xp, z: -z),
    # d asinh(x) / dx = 1 / cosh(z)
    "asinh": _Kind(
        lambda xp, x: xp.arcsinh(x), lambda xp, z: xp.sinh(z), lambda xp, z: math.log(2.0) - xp.logaddexp(z, -z)
    ),
}


def transformed(name: str, x: np.ndarray) -> np.ndarray:
    """Return `T(x)` on the host."""
    return _TRANSFORMS[name].forward(np, x)


@dataclass(frozen=True)
class ChannelMap:
    """A map of every number, by rules of its channel.

    Attributes:
        mode: how it was fitted.
        transform: what is taken first.
        shift: of each channel, or one for all: `(T(x) - shift) / scale`.
        scale: of each channel, or one for all, above zero.
        knots: of `quantile`, the places where `F` is known, ascending, for each channel or one for all.
        shares: the values of `F` there.
    """

    mode: Normalization = "none"
    transform: Transform = "none"
    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    knots: tuple[tuple[float, ...], ...] = ()
    shares: tuple[tuple[float, ...], ...] = ()

    @property
    def affine(self) -> bool:
        """Whether the slope is the same everywhere in a channel."""
        return self.transform == "none" and not self.knots

    def forward(self, x: Numbers) -> Any:
        """Return numbers `[..., C]` in the units of the model."""
        xp, x = _working(x)
        z = _TRANSFORMS[self.transform].forward(xp, x)
        if not self.knots:
            return (z - xp.asarray(self.shift, z.dtype)) / xp.asarray(self.scale, z.dtype)
        return self._by_channel(xp, z, _to_normal)

    def inverse(self, y: Numbers) -> Any:
        """Return numbers `[..., C]` of the model in the user's units."""
        xp, y = _working(y)
        return _TRANSFORMS[self.transform].inverse(xp, self._transformed(xp, y))

    def log_slope(self, y: Numbers) -> Any:
        """Return `ln |dy / dx|` of every number `[..., C]`, as a function of the number in the units of the model."""
        xp, y = _working(y)
        if self.knots:
            of_map = self._by_channel(xp, y, _log_slope)
        else:
            of_map = xp.broadcast_to(-xp.log(xp.asarray(self.scale, y.dtype)), y.shape)
        if self.transform == "none":
            return of_map
        return of_map + _TRANSFORMS[self.transform].log_slope(xp, self._transformed(xp, y))

    def _transformed(self, xp: Any, y: Any) -> Any:
        """`T(x)` of numbers of the model."""
        if self.knots:
            return self._by_channel(xp, y, _from_normal)
        return y * xp.asarray(self.scale, y.dtype) + xp.asarray(self.shift, y.dtype)

    def _by_channel(self, xp: Any, x: Any, fn: Callable[..., Any]) -> Any:
        """Apply a function of (xp, table, numbers [C, M]) to numbers `[..., C]`."""
        table = _table(xp, x.dtype, self.knots, self.shares)
        if len(self.knots) == 1:
            return fn(xp, table, x.reshape(1, -1)).reshape(x.shape)
        moved = xp.moveaxis(x, -1, 0)
        found = fn(xp, table, moved.reshape(len(self.knots), -1)).reshape(moved.shape)
        return xp.moveaxis(found, 0, -1)


class _Table(NamedTuple):
    """`F` of each channel `[C, K]`: places, values, slopes `[C, K - 1]`, and lengths of the tails `[C, 1]`."""

    z: Any
    p: Any
    y: Any
    slope: Any
    low: Any
    high: Any
    special: Any


def _table(xp: Any, dtype: Any, knots: tuple, shares: tuple) -> _Table:
    """The numbers in float64, then in the type of the arrays."""
    z, p = np.asarray(knots, np.float64), np.asarray(shares, np.float64)
    slope = np.diff(p) / np.diff(z)
    arrays = (
        z, p, scipy.special.ndtri(p), slope, p[:, :1] / slope[:, :1], (1 - p[:, -1:]) / slope[:, -1:],
    )  # fmt: skip
    special = scipy.special if xp is np else jax.scipy.special
    z, p, y, slope, low, high = (xp.asarray(array, dtype) for array in arrays)
    return _Table(z, p, y, slope, low, high, special)


def _segments(xp: Any, knots: Any, x: Any) -> tuple[Any, Any]:
    """Of every number `[C, M]` how many knots `[C, K]` lie at or below it, and its segment."""
    if xp is np:
        above = np.stack([np.searchsorted(k, v, side="right") for k, v in zip(knots, x, strict=True)])
    else:
        above = jax.vmap(lambda k, v: jnp.searchsorted(k, v, side="right"))(knots, x)
    return above, xp.clip(above - 1, 0, knots.shape[1] - 2)


def _at(xp: Any, table: Any, segment: Any) -> Any:
    return xp.take_along_axis(table, segment, axis=1)


def _to_normal(xp: Any, t: _Table, z: Any) -> Any:
    above, segment = _segments(xp, t.z, z)
    p = _at(xp, t.p, segment) + _at(xp, t.slope, segment) * (z - _at(xp, t.z, segment))
    least = xp.finfo(z.dtype).tiny
    below = xp.maximum(t.p[:, :1] * xp.exp(xp.minimum(z - t.z[:, :1], 0) / t.low), least)
    beyond = xp.maximum((1 - t.p[:, -1:]) * xp.exp(xp.minimum(t.z[:, -1:] - z, 0) / t.high), least)
    p = xp.where(above == 0, below, xp.clip(p, least, 1 - xp.finfo(z.dtype).eps))
    y = t.special.ndtri(p)
    return xp.where(above == t.z.shape[1], -t.special.ndtri(beyond), y)


def _from_normal(xp: Any, t: _Table, y: Any) -> Any:
    above, segment = _segments(xp, t.y, y)
    inside = _at(xp, t.z, segment) + (t.special.ndtr(y) - _at(xp, t.p, segment)) / _at(xp, t.slope, segment)
    below = t.z[:, :1] + t.low * (t.special.log_ndtr(y) - xp.log(t.p[:, :1]))
    beyond = t.z[:, -1:] - t.high * (t.special.log_ndtr(-y) - xp.log(1 - t.p[:, -1:]))
    return xp.where(above == 0, below, xp.where(above == t.y.shape[1], beyond, inside))


def _log_slope(xp: Any, t: _Table, y: Any) -> Any:
    """`ln F'(z) - ln phi(y)`."""
    above, segment = _segments(xp, t.y, y)
    density = xp.log(_at(xp, t.slope, segment))
    density = xp.where(above == 0, t.special.log_ndtr(y) - xp.log(t.low), density)
    density = xp.where(above == t.y.shape[1], t.special.log_ndtr(-y) - xp.log(t.high), density)
    return density + 0.5 * y**2 + 0.5 * math.log(2 * math.pi)


def _working(x: Numbers) -> tuple[Any, Any]:
    """The library of an array, and the array as floating numbers: float64 on the host."""
    if isinstance(x, jax.Array):
        return jnp, x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))
    return np, np.asarray(x, np.float64)
