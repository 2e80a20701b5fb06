"""Ranges of numbers, for annotations: what a setting may be is read from the signature that it stands in.

A range is one of `annotated_types`, so that `Annotated[float, Gt(0)]` says the same as `Positive`. No number of a
setting may be NaN; infinity is one only where the range ends there and holds its end: `Le(math.inf)`.
"""

import math
import operator
from collections.abc import Callable, Iterable
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
RelativeLength: TypeAlias = Annotated[float, Interval(gt=0, le=0.288)]
"""The standard deviation of a power function of time on `[0, 1]`, which is `sqrt(1/12) = 0.2887` for the constant."""

Finite: TypeAlias = Annotated[float, Interval(gt=-math.inf, lt=math.inf)]
"""Any number."""
Limitless: TypeAlias = Annotated[float, Interval(ge=-math.inf, le=math.inf)]
"""Any number, or infinity."""

_RELATIONS: dict[type, tuple[str, Callable[[float, float], bool], str]] = {
    Gt: ("gt", operator.gt, "more than"),
    Ge: ("ge", operator.ge, "at least"),
    Lt: ("lt", operator.lt, "less than"),
    Le: ("le", operator.le, "at most"),
    MultipleOf: ("multiple_of", lambda value, unit: value % unit == 0, "a multiple of"),
}
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
    relations = _relations(limits)
    if isinstance(value, int):
        bounded = any(relation in (operator.lt, operator.le) for relation, _, _ in relations)
        inside = bounded or abs(value) <= LARGEST_INT
    else:  # of NaN no comparison is true
        inside = abs(value) <= LARGEST_FLOAT or value in [bound for _, bound, _ in relations]
    return inside and all(relation(value, bound) for relation, bound, _ in relations)


def lengths_hold(limits: Iterable[BaseMetadata], count: int) -> bool:
    """Return whether so many values are as many as the limits of lengths allow."""
    for limit in limits:
        if isinstance(limit, MinLen) and count < limit.min_length:
            return False
        if isinstance(limit, MaxLen) and count > limit.max_length:
            return False
    return True


def described(limits: Iterable[BaseMetadata]) -> str:
    """Return limits in words that follow a noun: " of at least 0 and less than 1"; empty where there are none."""
    words = [f"{words} {bound}" for _, bound, words in _relations(limits) if math.isfinite(bound)]
    return " of " * bool(words) + " and ".join(words)


def lengths_described(limits: Iterable[BaseMetadata]) -> str:
    """Return limits of lengths in words that follow a list: ", at least 1 of them"."""
    least = max((limit.min_length for limit in limits if isinstance(limit, MinLen)), default=0)
    most = min((limit.max_length for limit in limits if isinstance(limit, MaxLen)), default=None)
    if most is not None:
        return f", {least} of them" if least == most else f", {least} to {most} of them"
    return f", at least {least} of them" if least else ""


def _relations(limits: Iterable[BaseMetadata]) -> list[tuple[Callable[[float, float], bool], float, str]]:
    """Each limit of a number as a relation, the bound that the number has it to, and the relation in words."""
    found = []
    for limit in limits:
        if type(limit) in _RELATIONS:
            name, relation, words = _RELATIONS[type(limit)]
            found.append((relation, getattr(limit, name), words))
    return found
