"""One setting: what it takes, its default, and what it is for; declared in the schema, or read from a signature."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from scorejax.experiment.config.values import Kind, Place, Value
from scorejax.numerics import ranges
from scorejax.runtime.errors import ConfigError

Factory: TypeAlias = Callable[..., Any]
"""What makes a part: a function or a class."""
Hint: TypeAlias = Any
"""An annotation: a type, a union of types, `Literal`, or `Annotated` with a range or the parts that a text names."""
REQUIRED = inspect.Parameter.empty
_ORDER = (bool, int, float, tuple, str)  # in which a text is tried


@dataclass(frozen=True)
class Setting:
    """What a setting takes, its default, and what it is for.

    Attributes:
        hint: its annotation, or its kind where no annotation says it.
        default: its value if nothing is set; `REQUIRED` if something must be.
        about: a few words on it.
    """

    hint: Hint
    default: Value = REQUIRED
    about: str = ""

    @functools.cached_property
    def kind(self) -> Kind | Place:
        """What values it takes, or which parts."""
        return kind_of(self.hint, self.default)

    def described(self, key: str, value: Value) -> str:
        """The lines of `help`: the setting with a value, what it takes, and what it is for."""
        given = "" if value is REQUIRED else shown(value)
        takes = "a part" if isinstance(self.kind, Place) else self.kind
        about = f"\n      {self.about}" if self.about else ""
        return f"  {key}={given}\n      takes {takes}{about}"


def declared(value: Value) -> Setting:
    """A setting as a table declares it; a plain value is one of its type, without a range."""
    return value if isinstance(value, Setting) else Setting(type(value), value)


def settings_of(factory: Factory) -> dict[str, Setting]:
    """The keyword parameters of a factory; for a class, of its constructor."""
    factory = factory.func if isinstance(factory, functools.partial) else factory
    return (_settings_of if isinstance(factory, Hashable) else _settings_of.__wrapped__)(factory)


@functools.lru_cache(maxsize=512)
def _settings_of(factory: Factory) -> dict[str, Setting]:
    hints, about = _hints(factory), _explanations(factory)
    found = {}
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError as error:
        raise ConfigError(
            f"{factory!r} has no signature to read its settings from; write a function of your own"
        ) from error
    for name, parameter in parameters.items():
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        positional = parameter.default is REQUIRED and parameter.kind is not parameter.KEYWORD_ONLY
        if (
            variadic
            or (name in ("name", "parent") and "parent" in parameters)
            or (positional and not dataclasses.is_dataclass(factory))
        ):
            continue
        found[name] = Setting(hints.get(name, parameter.annotation), parameter.default, about.get(name, ""))
    return found


def kind_of(hint: Hint, default: Value = REQUIRED) -> Kind | Place:
    """What values a setting takes, by its annotation, or else by its default."""
    if isinstance(hint, Kind):
        return hint
    if default is not REQUIRED and (type(default).__name__ == "_ScalarMeta" or isinstance(default, type)):
        return Kind((type,))  # a number format
    options = list(_options(hint))
    for option in options:
        if isinstance(option, Place):
            return option
    found = [option for option in options if isinstance(option, Kind)]
    optional = default is None or any(option.optional for option in found)
    found = [option for option in found if option.types]
    if not found and default is not REQUIRED and default is not None:
        kind = type(default) if type(default) in _ORDER else str
        of = {type(value) for value in default} if isinstance(default, tuple) else set()
        found = [Kind((kind,), each=Kind((str,)) if of == {str} else None)]
    if not found:
        return Kind((str,), optional)
    every = {kind for option in found for kind in option.types}
    return Kind(
        tuple(kind for kind in _ORDER if kind in every),
        optional,
        limits=tuple(limit for option in found for limit in option.limits),
        choices=tuple(choice for option in found for choice in option.choices),
        each=next((option.each for option in found if option.each is not None), None),
    )


def _options(hint: Hint, *metadata: object) -> Iterator[Kind | Place]:
    """The kinds that an annotation allows; none for what no text stands for, such as a function."""
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is typing.Annotated:
        places = [extra for extra in hint.__metadata__ if isinstance(extra, Place)]
        yield from places or _options(hint.__origin__, *hint.__metadata__, *metadata)
    elif origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from _options(argument, *metadata)
    elif origin is typing.Literal:
        kinds = tuple(dict.fromkeys(type(choice) for choice in arguments))
        yield Kind(kinds, choices=arguments)
    elif origin in (bool, str):
        yield Kind((origin,))
    elif origin in (int, float):
        yield Kind((origin,), limits=ranges.unpacked(metadata))
    elif origin in (type(None), None):
        yield Kind((), optional=True)
    elif isinstance(origin, type) and issubclass(origin, tuple | list | Sequence):
        yield _of_tuple(arguments, ranges.unpacked(metadata))


def _of_tuple(arguments: Sequence[Hint], limits: tuple) -> Kind:
    """`tuple[int, ...]` of any length, `tuple[float, float]` of two, `Sequence[int]`, or a plain `tuple`."""
    if not arguments:
        return Kind((tuple,), limits=limits)
    if Ellipsis not in arguments and len(arguments) > 1:
        limits = (*limits, *ranges.unpacked([ranges.exactly(len(arguments))]))
    each = kind_of(arguments[0])
    # Words that name parts are kept as text: what is made of them is made by whoever reads the setting.
    return Kind((tuple,), limits=limits, each=each if isinstance(each, Kind) else Kind((str,), part=each))


def _hints(factory: Factory) -> dict[str, Hint]:
    subject: Any = factory
    if inspect.isclass(subject) and not dataclasses.is_dataclass(subject):
        subject = subject.__init__
    try:
        return typing.get_type_hints(subject, include_extras=True)
    except (NameError, TypeError, AttributeError):  # names that exist for type checkers alone
        return {}


def _explanations(factory: Factory) -> dict[str, str]:
    """What the docstring of a factory, or of a class that it is derived from, says of its parameters."""
    subjects = [*reversed(inspect.getmro(factory))] if inspect.isclass(factory) else [factory]
    found = {}
    for each in [part for subject in subjects for part in (subject, getattr(subject, "__init__", None))]:
        doc = inspect.cleandoc(getattr(each, "__doc__", None) or "")
        for block in re.findall(r"^(?:Args|Attributes):\n((?: +.*\n?|\n)+)", doc, re.MULTILINE):
            for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", block, re.MULTILINE):
                found[name] = " ".join(text.split())
    return found


def shown(default: Value) -> str:
    """A value, written as in a config."""
    return default.__name__ if hasattr(default, "__name__") else str(default)
