"""What callers hand in, looked at where it enters the library: floating type, shape, finiteness, range of times.

Shapes and types are known while a program is traced, so that looking at them costs a compiled program nothing. Values
are looked at where they are numbers already, never inside a program: there they are not known yet.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from numbers import Integral
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from scorejax.numerics.trees import PyTree

ArrayLike: TypeAlias = Array | np.ndarray | list | tuple

_ROUNDING = 1e-6  # of the largest time: a few of the last digits of float32


def known(*values: PyTree) -> bool:
    """Return whether these are numbers by now, rather than what a JAX transformation stands in for them."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def evaluated(*values: PyTree) -> AbstractContextManager[None]:
    """Return a context in which what is computed from known numbers is known at once, also inside a compiled program.

    There JAX would else trace it, and a table that is made on the host could not read it. Where one of the values is
    traced, the context does nothing.
    """
    return jax.ensure_compile_time_eval() if known(*values) else nullcontext()


def points(x: ArrayLike, name: str = "x", *, shape: tuple[int, ...] | None = None, finite: bool = True) -> Array:
    """Return points of model space in the working float type: float32, or float64 where `jax.enable_x64` is on.

    Floating numbers of any width are converted. Integers are not: gray levels that were taken for points of model space
    would give a number, and a wrong one.

    Args:
        x: points `[B, ...]`: a JAX or NumPy array, or nested lists.
        name: what messages call it.
        shape: the shape that it must have, if there is one.
        finite: refuse NaN and infinity, where the numbers are known.

    Raises:
        ValueError: on another type, another shape, no examples, or a number that is not finite.
    """
    x = x if isinstance(x, Array) else np.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"{name} is {x.dtype}; points of model space are floating numbers. Give {name}.astype(float) if these are "
            "points; gray levels are measured by likelihood.dequantized_bits, or become points by "
            "likelihood.dequantize_uniform, which returns the unit interval"
        )
    if x.ndim == 0 or 0 in x.shape:
        raise ValueError(f"{name} must be a batch [B, ...] of at least one example, got shape {tuple(x.shape)}")
    if shape is not None and x.shape != tuple(shape):
        raise ValueError(f"{name} must have the shape {tuple(shape)}, got {tuple(x.shape)}")
    x = jnp.asarray(x, jnp.result_type(float))
    if finite:
        check_finite(x, name)
    return x


def check_finite(x: Array | np.ndarray, name: str) -> None:
    """Refuse NaN and infinity, where the numbers are known and lie on this machine.

    Raises:
        ValueError: with the place of the first.
    """
    if not known(x) or not getattr(x, "is_fully_addressable", True):
        return
    values = np.asarray(x)
    bad = ~np.isfinite(values)
    if np.any(bad):
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name} must be finite, got {values[first]} at {list(first)} ({int(bad.sum())} of {bad.size} numbers); "
            "remove these examples, or repair them"
        )


def batch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape `(B, ...)` of samples to be drawn.

    Raises:
        ValueError: if it is none, or holds no number.
    """
    sizes = tuple(shape) if isinstance(shape, tuple | list) or np.ndim(shape) == 1 else ()
    if not sizes or any(not isinstance(size, Integral) or size < 1 for size in sizes):
        raise ValueError(
            f"the shape of samples is (B, ...), whole numbers of at least 1, such as (16, 2) for 16 points of a plane, "
            f"got {shape!r}"
        )
    return sizes


def interval(bounds: ArrayLike, name: str) -> tuple[float, float]:
    """Return an interval `(low, high)`; numbers that are traced stay as they are.

    Raises:
        ValueError: unless these are two numbers, the first below the second.
    """
    many = not isinstance(bounds, tuple | list) and np.shape(bounds) != (2,)
    low, high = (None, None) if many or len(bounds) != 2 else bounds
    wish = f"{name} must be (low, high) with low < high"
    if low is None or high is None or np.ndim(low) or np.ndim(high):
        raise ValueError(f"{wish}, two numbers for all coordinates of the data, got {bounds}")
    if not known(low, high):
        return low, high
    if not low < high:
        raise ValueError(f"{wish}, got {bounds}")
    return float(low), float(high)


def field(x: Array, out: object, name: str = "a score") -> Array:
    """Return what a score or a network returned at `x`, in the working float type; it must have the shape of `x`.

    A network may compute in another floating type, such as bfloat16.

    Raises:
        ValueError: if either is no array of floating numbers, or on another shape, which might be broadcast silently.
    """
    x = points(x, finite=False)
    return _returned(out, x.shape, name, "one for each of x").astype(x.dtype)


def per_row(x: Array, out: object, name: str) -> Array:
    """Return what a density or an energy returned at `x [B, ...]`: it must be one number per example, `[B]`.

    Raises:
        ValueError: if it is no array of floating numbers, or has another shape.
    """
    return _returned(out, x.shape[:1], name, "one number per example")


def class_logits(x: Array, out: object) -> Array:
    """Return what a classifier returned at `x [B, ...]`: it must be `[B, K]`.

    Raises:
        ValueError: if it is no array of floating numbers, or has another shape.
    """
    classes = out.shape[-1] if isinstance(out, Array) and out.ndim else "K"
    return _returned(out, (x.shape[0], classes), "a classifier", "one number for each class")


def _returned(out: object, wanted: tuple, name: str, meaning: str) -> Array:
    shape = f"({', '.join(map(str, wanted))}{',' * (len(wanted) == 1)})"
    wish = f"{name} must return floating numbers, {meaning} {shape}"
    if not isinstance(out, Array | np.ndarray):
        raise ValueError(f"{wish}, got a {type(out).__name__}")
    if out.shape != wanted or not jnp.issubdtype(out.dtype, jnp.floating):
        raise ValueError(f"{wish}, got {tuple(out.shape)} of {out.dtype}")
    return jnp.asarray(out)


def times(
    t: ArrayLike | float,
    low: float,
    high: float,
    *,
    name: str = "t",
    rows: int | None = None,
    of: tuple[int, ...] | None = None,
) -> None:
    """Check times: a scalar or one per example, within the times of the process up to rounding.

    Args:
        t: the times.
        low: the first time of the process, next to the data.
        high: its last.
        name: what messages call them.
        rows: how many examples there are, if they must be one per example.
        of: the shape of the points at these times, if they may be a scalar too.

    Raises:
        ValueError: on another shape; where the numbers are known, on NaN or on a time outside.
    """
    if rows is not None and np.shape(t) != (rows,):
        raise ValueError(f"{name} must be one time per example, shape ({rows},), got {np.shape(t)}")
    if of is not None and np.shape(t) not in ((), (of[0],)):
        raise ValueError(
            f"{name} must be one number, or one per example: points of shape {tuple(of)} have times of shape () or "
            f"({of[0]},), got {np.shape(t)}"
        )
    if not known(t):
        return
    values, slack = np.asarray(t, np.float64), _ROUNDING * high
    inside = (low - slack <= values) & (values <= high + slack)  # false for NaN
    if not np.all(inside):
        got = values[~inside].flat[0]
        raise ValueError(
            f"{name}={got:.7g} lies outside the times of this process, which lie in [{low:.7g}, {high:.7g}]; "
            "scorejax.times has grids of them"
        )


def grid(t: ArrayLike, low: float, high: float, *, least: int = 2) -> None:
    """Check a time grid: a vector that decreases strictly, within the times of the process up to rounding.

    Args:
        t: the times `[n + 1]`.
        low: the last time allowed, next to the data.
        high: the first.
        least: fewest times.

    Raises:
        ValueError: if it is no vector or too short; where the numbers are known, if it does not decrease or leaves the
            times of the process.
    """
    if np.ndim(t) != 1 or np.shape(t)[0] < least:
        words = {1: "one time", 2: "two times"}[least]
        raise ValueError(f"times must be a vector of at least {words}, got shape {np.shape(t)}")
    if not known(t):
        return
    values = np.asarray(t, np.float64)
    falls = np.diff(values) < 0  # false for NaN
    if not np.all(falls):
        i = int(np.argmin(falls))
        raise ValueError(
            f"times must decrease strictly, got times[{i}]={values[i]:.7g} and times[{i + 1}]={values[i + 1]:.7g}"
        )
    times(values, low, high, name="times")
