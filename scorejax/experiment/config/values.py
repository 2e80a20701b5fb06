"""The values of settings: their types, and the conversion of command-line text to them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any, TypeAlias

from scorejax.runtime.errors import ConfigError

Value: TypeAlias = Any
"""The value of a setting: a bool, int, float, str, tuple or None; which of them, its `Kind` says."""
Values: TypeAlias = dict[str, Any]
"""Values by key; those of a section are nested."""
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Kind:
    """What values a setting takes.

    Attributes:
        types: those it takes, of `bool, int, float, tuple, str`; `type` stands for a number format by its name.
        optional: whether it may be None.
        words: whether a tuple holds words instead of numbers.
    """

    types: tuple[type, ...]
    optional: bool = False
    words: bool = False

    def __str__(self) -> str:
        return " or ".join(dict.fromkeys(_NAMES[kind] if not self.words else _WORDS for kind in self.types))


def kind_of(default: Value) -> Kind:
    """The kind of a setting by its default; a bare type is a setting that is unset by default."""
    if isinstance(default, type):
        return Kind((default,), optional=True)
    return Kind((type(default),), words=isinstance(default, tuple) and any(isinstance(v, str) for v in default))


def convert(key: str, text: str, kind: Kind) -> Value:
    """The value that a text stands for; `none` is None where the setting may be unset.

    Raises:
        ConfigError: the text is not of this kind.
    """
    if kind.optional and text.lower() == "none":
        return None
    if kind.words:
        return tuple(word.strip(" '\"") for word in text.strip("()").split(",") if word.strip(" '\""))
    for option in kind.types:
        try:
            return _PARSERS[option](text)
        except (KeyError, ValueError, SyntaxError, TypeError):
            continue
    raise ConfigError(f"config key {key!r} takes {kind}, got {text!r}")


def check(key: str, value: Value, kind: Kind) -> Value:
    """Check a value given in Python and return it in the type of its setting (an int as a float, a list as a tuple).

    Raises:
        ConfigError: it is of another type.
    """
    if value is None:
        if kind.optional:
            return None
    elif type in kind.types:
        return _dtype(value if isinstance(value, str) else getattr(value, "__name__", str(value)))
    elif isinstance(value, bool):
        if bool in kind.types:
            return value
    elif isinstance(value, tuple | list) and tuple in kind.types:
        return tuple(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, kind.types):
            return value
        if float in kind.types:
            return float(value)
        if int in kind.types and value == int(value):
            return int(value)
    elif isinstance(value, kind.types) or (str in kind.types and callable(value)):
        return value
    raise ConfigError(f"config key {key!r} takes {kind}, got {value!r}")


def _bool(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _int(text: str) -> int:
    value = float(text) if "e" in text.lower() else int(text.replace("_", ""))
    if value != int(value):
        raise ValueError(text)
    return int(value)


def _tuple(text: str) -> tuple:
    value = ast.literal_eval(text)
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _dtype(text: str) -> str:
    if text not in DTYPES:
        raise ConfigError(f"unknown number format {text!r}; choose one of {', '.join(DTYPES)}")
    return text


_PARSERS = {bool: _bool, int: _int, float: float, str: str, tuple: _tuple, type: _dtype}
_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "numbers in parentheses, like (1,2,2)",
    type: f"one of {', '.join(DTYPES)}",
}
_WORDS = "words with commas between them"
