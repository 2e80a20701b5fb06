"""The values of settings: what a setting takes, and the conversion of command-line text to it."""

from __future__ import annotations

import ast
import math
import numbers
import os
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from annotated_types import BaseMetadata

from scorejax.numerics import ranges
from scorejax.runtime.errors import ConfigError

Value: TypeAlias = Any
"""The value of a setting: a bool, int, float, str, tuple or None; which of them, its `Kind` says."""
Values: TypeAlias = dict[str, Any]
"""Values by key; those of a section are nested."""
DTYPES = ("float32", "bfloat16")


class Place:
    """What takes a named part, see `parts.Seam`; in an annotation, it says which parts."""

    def check(self, where: str, text: str) -> None:
        """Refuse a text that names no part, by a `ConfigError` that begins with the place."""
        raise NotImplementedError


@dataclass(frozen=True)
class Kind:
    """What values a setting takes.

    Attributes:
        types: those it takes, of `bool, int, float, tuple, str`; `type` stands for a number format by its name.
        optional: whether it may be None.
        limits: of its numbers; of a tuple those of its length.
        choices: all that it takes of the types of these.
        each: of a tuple, what each of its values is; None: anything.
        part: of a text, the parts that it names.
    """

    types: tuple[type, ...]
    optional: bool = False
    limits: tuple[BaseMetadata, ...] = ()
    choices: tuple[Value, ...] = ()
    each: Kind | None = None
    part: Place | None = None

    def __str__(self) -> str:
        chosen = [f"one of {', '.join(map(str, self.choices))}"] if self.choices else []
        free = [kind for kind in self.types if kind not in {type(choice) for choice in self.choices}]
        if {int, float} <= set(free):
            free.remove(int)
        return " or ".join([*chosen, *map(self._named, free), *["none"] * self.optional])

    def _named(self, kind: type) -> str:
        if kind is tuple:
            of = "numbers" if self.each is None else self.each.plural()
            example = "like a,b" if self.each is not None and self.each.types == (str,) else "like (1,2,2)"
            return f"{of} with commas between them, {example}{ranges.lengths_described(self.limits)}"
        if kind in (int, float):
            return ("a whole number" if kind is int else "a number") + ranges.described(self.limits)
        return _NAMES[kind]

    def plural(self) -> str:
        """The kind as the values of a tuple."""
        if self.choices:
            return f"words of {', '.join(map(str, self.choices))}"
        noun = {(int,): "whole numbers", (str,): "words"}.get(self.types, "numbers")
        return noun + ranges.described(self.limits)


def convert(key: str, text: str, kind: Kind) -> Value:
    """The value that a text stands for; `none` is None where the setting may be unset.

    Raises:
        ConfigError: the text is not of this kind, or out of its range.
    """
    if kind.optional and text.lower() == "none":
        return None
    for option in kind.types:
        try:
            return _accept(key, _parse(option, text, kind), kind)
        except (KeyError, ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError) as error:
            if isinstance(error, ConfigError):  # of a part that a word names
                raise
    raise _refused(key, text, kind)


def check(key: str, value: Value, kind: Kind) -> Value:
    """Check a value given in Python and return it in the type of its setting (an int as a float, a list as a tuple).

    Raises:
        ConfigError: it is of another type, or out of its range.
    """
    try:
        return _accept(key, value, kind)
    except ConfigError:
        raise
    except (ValueError, OverflowError):
        raise _refused(key, value, kind) from None


def _refused(key: str, got: Value, kind: Kind) -> ConfigError:
    shown = repr(got)
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
    not_finite = ", which is not finite" if _is_not_finite(got) and float in kind.types else ""
    return ConfigError(f"config key {key!r} takes {kind}, got {shown}{not_finite}")


def _is_not_finite(value: Value) -> bool:
    try:
        return not math.isfinite(float(value))
    except (ValueError, TypeError, OverflowError):
        return False


def _accept(key: str, value: Value, kind: Kind) -> Value:
    """Raise a plain `ValueError` if the value is not of this kind."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()  # a scalar of NumPy or JAX
    if value is None and kind.optional:
        return None
    if type in kind.types and value is not None:
        return _dtype(value if isinstance(value, str) else getattr(value, "__name__", str(value)))
    if isinstance(value, bool):
        wanted = bool in kind.types
    elif isinstance(value, numbers.Real):
        value, wanted = _number(value, kind), True
        wanted = ranges.holds(kind.limits, value)
    elif isinstance(value, tuple | list):
        wanted = tuple in kind.types and ranges.lengths_hold(kind.limits, len(value))
        value = tuple(value) if kind.each is None or not wanted else tuple(_accept(key, v, kind.each) for v in value)
    else:
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        # A function may stand in for its name in Python; an empty text says nothing.
        wanted = str in kind.types and ((isinstance(value, str) and value != "") or callable(value))
    if not wanted or (kind.choices and type(value) in {type(c) for c in kind.choices} and value not in kind.choices):
        raise ValueError(value)
    if kind.part is not None and isinstance(value, str):
        kind.part.check(key, value)
    return value


def _number(value: Any, kind: Kind) -> int | float:
    """A number in the type of its setting; one with a fraction is no whole number."""
    if isinstance(value, numbers.Integral) and int in kind.types:
        return int(value)
    if float in kind.types:
        return float(value)
    if int in kind.types and math.isfinite(value) and value == int(value):
        return int(value)
    raise ValueError(value)


def _parse(option: type, text: str, kind: Kind) -> Value:
    if option is not tuple:
        return _PARSERS[option](text)
    if kind.each is not None and kind.each.types == (str,):
        words = re.split(r",(?![^(]*\))", text[1:-1] if text.startswith("(") and text.endswith(")") else text)
        return tuple(word.strip(" '\"") for word in words if word.strip(" '\""))
    value = ast.literal_eval(text)
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _bool(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _int(text: str) -> int:
    value = float(text) if "e" in text.lower() else int(text.replace("_", ""))
    if value != int(value):
        raise ValueError(text)
    return int(value)


def _dtype(text: str) -> str:
    if text not in DTYPES:
        raise ValueError(text)
    return text


_LONGEST = 200  # characters of a value in a message
_PARSERS = {bool: _bool, int: _int, float: float, str: str, type: _dtype}
_NAMES = {
    bool: "true or false",
    str: "text",
    type: f"one of {', '.join(DTYPES)}",
}
