"""Named parts: factories whose keyword parameters, with their types and defaults, are the settings of a config.

A part is written `NAME`, `NAME:key=value:key=value`, or `package.module:NAME:key=value` for one of the user's own; a
word that is no identifier is the value of the first setting (`superresolution:2`). The signatures are the only list of
settings: a new part is a new factory in the table of its room.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from scorejax.experiment.config import names
from scorejax.experiment.config import values as values_lib
from scorejax.experiment.config.importing import imported, is_importable
from scorejax.experiment.config.settings import REQUIRED, Factory, Setting, settings_of, shown
from scorejax.experiment.config.values import Kind, Place, Value
from scorejax.runtime.errors import ConfigError, user_errors

AUTO = "auto"
"""What a number is set to that is to be read off the training data."""
_USER_ERRORS = (ValueError, TypeError, KeyError, FileNotFoundError)  # what `user_errors` explains


@dataclass(frozen=True, eq=False)
class Seam(Place):
    """A place in a config that takes a named part.

    Attributes:
        table: its parts, a mapping from names to factories, or where such a one stands: `package.module:TABLE`, which
            is imported when a part is looked up, so that configs import no room of the house.
        noun: what its parts are called in messages.
        default: the part that is taken if none is named; a text like any.
        supplied: parameters of its parts that the program fills in, which are therefore no settings.
        common: settings that every part has here; a plain value is the default of one without a range.
        fallback: the entry that takes a name which is not in the table as the value of its first setting.
        makes: the class of what its parts make, `package.module:CLASS`; None: anything.
        closed: whether it takes no parts but those of its table.
        nested: settings of its parts that name parts themselves, by the name of the setting, for rooms that know no
            configs; it holds for settings that take any text.
        by_data: settings of its parts, `part.setting`, that may be `auto`: read off the training data before a run.
    """

    table: str | Mapping[str, Factory]
    noun: str
    default: str
    supplied: frozenset[str] = frozenset()
    common: Mapping[str, Value] = field(default_factory=dict)
    fallback: str | None = None
    makes: str | None = None
    closed: bool = False
    nested: Mapping[str, Seam] = field(default_factory=dict)
    by_data: frozenset[str] = frozenset()

    def entries(self) -> Mapping[str, Factory]:
        """The parts by name."""
        if not isinstance(self.table, str):
            return self.table
        module, _, name = self.table.partition(":")
        return getattr(importlib.import_module(module), name)

    def find(self, name: str) -> Factory:
        """The factory of a name of the table, of `package.module:NAME`, or the fallback on this name.

        Raises:
            ConfigError: there is none.
        """
        table = self.entries()
        if name in table:
            return table[name]
        if self.fallback is not None and name and not is_importable(name):
            return functools.partial(table[self.fallback], **{self._first(): name})
        if ":" in name and not self.closed:
            return imported(self.noun, name)
        own = "" if self.closed else ", or package.module:NAME of your own"
        raise ConfigError(
            f"unknown {self.noun} {name!r}; choose one of {', '.join(table)}{own}{names.hint(name, table)}"
        )

    def settings(self, name: str) -> dict[str, Setting]:
        """The settings of a part: its keyword parameters but for those that the program supplies."""
        factory = self.find(name)
        filled = self.supplied | (factory.keywords.keys() if isinstance(factory, functools.partial) else set())
        own = {key: value for key, value in settings_of(factory).items() if key not in filled}
        own |= {key: self._below(key, own[key]) for key in self.nested if key in own}
        return {key: _by_data(value) if f"{name}.{key}" in self.by_data else value for key, value in own.items()}

    def _below(self, key: str, setting: Setting) -> Setting:
        """A setting that names a part of its own, if it is a text without choices."""
        kind = setting.kind
        is_text = isinstance(kind, Kind) and str in kind.types and not kind.choices
        return replace(setting, hint=Annotated[str, self.nested[key]]) if is_text else setting

    def parse(self, text: str) -> tuple[str, dict[str, str]]:
        """The name and the settings, still as text, of `NAME:key=value:...`.

        Raises:
            ConfigError: no such part.
        """
        words, count = text.split(":"), 1
        if words[0] not in self.entries():
            if len(words) > 1 and words[1].isidentifier():
                count = 2  # module:NAME
            if self.fallback is not None and not is_importable(":".join(words[:count])):
                # A name of the fallback may hold colons, as `mnist:3.0.1` does.
                count = next((i for i, word in enumerate(words) if "=" in word), len(words))
        name, rest = ":".join(words[:count]), words[count:]
        given: dict[str, str] = {}
        settings = self.settings(name)
        first = next(iter(settings), None)
        for word in rest:
            key, equals, value = word.partition("=") if "=" in word else (first or "", "", word)
            key = key.strip()
            if not value.strip():
                raise ConfigError(f"{self.noun} {text!r} has an empty setting; write {name}:key=value")
            # A bare value stands right after the name; further on it would be the end of a value that holds a colon.
            if not equals and (first is None or given or not _is_value(word, settings[first].kind)):
                raise ConfigError(
                    f"{self.noun} {text!r}: {word!r} is no setting; write {name}:key=value with keys among "
                    f"{', '.join(settings) or 'none'}; a value that holds a colon is set by its own key"
                )
            if key in given:
                raise ConfigError(f"{self.noun} {text!r} sets {key} twice")
            given[key] = value
        return name, given

    def check(self, where: str, text: str) -> None:
        """Refuse a text that names no part, or one with settings that it does not take.

        Raises:
            ConfigError: it does.
        """
        try:
            name, given = self.parse(text)
        except ConfigError as error:
            raise ConfigError(f"config key {where!r}: {error}") from None
        settings = self.settings(name)
        for key, value in given.items():
            if key not in settings:
                raise reject(where, self.noun, name, key, settings)
            kind = settings[key].kind
            if isinstance(kind, Kind):
                values_lib.convert(f"{where}: {name}:{key}", value, kind)

    def describe(self) -> str:
        """The parts with their settings and the first lines of their docstrings, for `help`."""
        lines = []
        for name, factory in self.entries().items():
            settings = ", ".join(
                key if setting.default is REQUIRED else f"{key}={shown(setting.default)}"
                for key, setting in self.settings(name).items()
            )
            doc = (inspect.getdoc(factory) or "").partition("\n")[0]
            lines.append(f"  {name:<26}{doc}\n{'':28}{settings or 'no settings'}")
        lines.append(f"  {'package.module:NAME':<26}Your own {self.noun}.")
        return "\n".join(lines)

    def _first(self) -> str:
        """The parameter of the fallback that takes a name."""
        return next(iter(settings_of(self.entries()[self.fallback or ""])))


def make(
    seam: Seam, name: str, given: Mapping[str, Value], supplied: Mapping[str, object], where: str, *positional: object
) -> Any:
    """Call the factory of a part with its settings, and with those of the supplied arguments that it takes.

    Raises:
        ConfigError: a setting is missing, or the factory refuses its arguments.
    """
    factory = seam.find(name)
    settings = seam.settings(name)
    missing = [key for key, setting in settings.items() if setting.default is REQUIRED and key not in given]
    if missing:
        raise ConfigError(f"{where}: {name} needs {', '.join(missing)}; set --config.{where}.{missing[0]}=VALUE")
    taken = inspect.signature(factory).parameters
    if asked := [key for key, value in given.items() if f"{name}.{key}" in seam.by_data and value == AUTO]:
        raise ConfigError(
            f"{where}.{asked[0]} = {AUTO} is read off the training data, which was not done yet: take the config that "
            "scorejax.experiment.by_data.settled(config) returns, or give a number"
        )
    extra = {key: value for key, value in supplied.items() if key in taken}
    # Of the package's own parts other errors than these are faults of the package, and keep their traceback.
    foreign = (Exception,) if ":" in name and name not in seam.entries() else ()
    with user_errors(f"section {where}"):
        try:
            made = factory(*positional, **{**extra, **given})
        except (ConfigError, *_USER_ERRORS):
            raise
        except foreign as error:
            raise ConfigError(f"{where} = {name!r} raised {type(error).__name__}: {error}") from error
    if seam.makes is not None:
        module, _, kind = seam.makes.partition(":")
        expected = getattr(importlib.import_module(module), kind)
        if not isinstance(made, expected) and not (made is None and name == "none"):
            raise ConfigError(
                f"{where} = {name!r} makes a {type(made).__name__}, but a {seam.noun} is a {kind}; see "
                "docs/extending.md"
            )
    return made


def _by_data(setting: Setting) -> Setting:
    """A number that may be read off the data."""
    return replace(setting, hint=setting.hint | Literal["auto"])


def _is_value(word: str, kind: Kind | Place) -> bool:
    """Whether a word without a key can be the value of a setting: text may be any, a number is no identifier."""
    return isinstance(kind, Kind) and (str in kind.types or not word.isidentifier())


def takes(factory: Factory) -> frozenset[str]:
    """The names of a factory's parameters."""
    return frozenset(inspect.signature(factory).parameters)


def reject(where: str, noun: str, name: str, key: str, settings: Iterable[str]) -> ConfigError:
    """The error for a setting that a part does not have."""
    path, known = f"{where}.{key}", list(settings)
    return names.UnknownKey(
        names.renamed(path)
        or f"config key {path!r} does not belong to {noun} {name!r}, which takes: {', '.join(known) or 'nothing'}"
        f"{names.hint(key, known)}"
    )
