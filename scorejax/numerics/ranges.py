"""Ranges of numbers, for annotations: what a setting may be is read from the signature that it stands in.

A range is one of `annotated_types`, so that `Annotated[float, Gt(0)]` says the same as `Positive`. No number of a
setting may be NaN; infinity is one only where the range ends there and holds its end: `Le(math.inf)`.
"""

import math
from collections.abc import Iterable
from typing import Annotated, TypeAlias

from annotated_types import BaseMetadata, Ge, GroupedMetadata, Gt, Interval, Le, Len, Lt, MaxLen, MinLen, MultipleOf

Count: TypeAlias = Annotated[int, Ge(1)]
"""At least one."""
Natural: TypeAlias = Annotated[int, Ge(0)]
"""None or more."""
Seed: TypeAlias = Annotated[int, Interval(ge=0, lt=2**32)]
"""A seed of random numbers: 32 bits."""
Positive: TypeAlias = Annotated[float, Gt(0)]
"""Above zero."""
NonNegative: TypeAlias = Annotated[float, Ge(0)]
"""Zero or above."""
Share: TypeAlias = Annotated[float, Interval(ge=0, le=1)]
"""A part of a whole, both ends included."""
Below1: TypeAlias = Annotated[float, Interval(ge=0, lt=1)]
"""A part of a whole that is never all of it: dropout, the decay of an average."""
Inside01: TypeAlias = Annotated[float, Interval(gt=0, lt=1)]
"""A part of a whole, neither none nor all of it."""

LARGEST_INT = 2**31 - 1  # of JAX's int32, for whole numbers whose range has no end of its own
LARGEST_FLOAT = 3.4028234e38  # of float32


def unpacked(metadata: Iterable[object]) -> tuple[BaseMetadata, ...]:
    """Return the single limits in the metadata of an annotation: `Interval(ge=0, lt=1)` is `Ge(0)` and `Lt(1)`."""
    found: list[BaseMetadata] = []
    for each in metadata:
        if isinstance(each, GroupedMetadata):
            found += unpacked(each)
        elif isinstance(each, BaseMetadata):
            found.append(each)
    return tuple(found)


def exactly(count: int) -> Len:
    """Return the limit of the length of a tuple of so many values."""
    return Len(count, count)


def holds(limits: Iterable[BaseMetadata], value: float) -> bool:
    """Return whether a number lies within all limits; NaN lies nowhere, infinity where it is an end of the range."""
    limits = tuple(limits)
    if math.isnan(value):
        return False
    if isinstance(value, int):
        if abs(value) > LARGEST_INT and not any(isinstance(limit, Lt | Le) for limit in limits):
            return False
    elif abs(value) > LARGEST_FLOAT:
        ends = [limit.le for limit in limits if isinstance(limit, Le)]
        ends += [limit.ge for limit in limits if isinstance(limit, Ge)]
        if value not in ends:
            return False
    return all(_holds(limit, value) for limit in limits)


def endless(limits: Iterable[BaseMetadata]) -> bool:
    """Return whether infinity lies within the limits."""
    return any(holds(limits, end) for end in (math.inf, -math.inf))


def lengths_hold(limits: Iterable[BaseMetadata], count: int) -> bool:
    """Return whether so many values are as many as the limits of lengths allow."""
    for limit in limits:
        if isinstance(limit, MinLen) and count < limit.min_length:
            return False
        if isinstance(limit, MaxLen) and count > limit.max_length:
            return False
    return True


def described(limits: Iterable[BaseMetadata]) -> str:
    """Return limits in words that follow a noun: " of at least 0 and below 1"; empty where there are none."""
    words = [_word(limit) for limit in limits if not isinstance(limit, MinLen | MaxLen)]
    return " of " * bool(words) + " and ".join(words)


def lengths_described(limits: Iterable[BaseMetadata]) -> str:
    """Return limits of lengths in words that follow a list: ", at least 1 of them"."""
    least = max((limit.min_length for limit in limits if isinstance(limit, MinLen)), default=0)
    most = min((limit.max_length for limit in limits if isinstance(limit, MaxLen)), default=None)
    if most is not None:
        return f", {least} of them" if least == most else f", {least} to {most} of them"
    return f", at least {least} of them" if least else ""


def _holds(limit: BaseMetadata, value: float) -> bool:
    match limit:
        case Gt():
            return value > limit.gt  # type: ignore[operator]
        case Ge():
            return value >= limit.ge  # type: ignore[operator]
        case Lt():
            return value < limit.lt  # type: ignore[operator]
        case Le():
            return value <= limit.le  # type: ignore[operator]
        case MultipleOf():
            return value % limit.multiple_of == 0  # type: ignore[operator]
    return True


def _word(limit: BaseMetadata) -> str:
    match limit:
        case Gt():
            return f"more than {limit.gt}"
        case Ge():
            return f"at least {limit.ge}"
        case Lt():
            return f"less than {limit.lt}"
        case Le():
            return f"at most {limit.le}"
        case MultipleOf():
            return f"a multiple of {limit.multiple_of}"
    return str(limit)
