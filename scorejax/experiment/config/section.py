"""What all places of a config share: fixed keys that are attributes too, changes that happen whole or not at all, and
messages. The only file of the package that knows ml_collections.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ml_collections import config_dict

from scorejax.experiment.config import names
from scorejax.experiment.config.settings import REQUIRED, Setting, shown
from scorejax.experiment.config.values import Kind, Value
from scorejax.runtime.errors import ConfigError


class Help(ConfigError):
    """What was asked for with `help`: what a seam offers, a setting takes, all settings, or the shipped configs."""


class Section(config_dict.ConfigDict):
    """Fixed keys; those that are missing or misspelled are refused, whether they are set or read."""

    def __init__(self, schema: Mapping[str, Value], path: str) -> None:
        """No key is set yet.

        Args:
            schema: what each key takes.
            path: the dotted key of this section.
        """
        super().__init__(type_safe=False, sort_keys=False)
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_schema", schema)

    def put(self, key: str, value: Value) -> None:
        """Set a key, unchecked."""
        self._fields[key] = value

    def __setattr__(self, key: str, value: Value) -> None:
        self[key] = value

    def __getitem__(self, key: str) -> Value:
        if key not in self._fields:
            raise self.unknown(key)
        return self._fields[key]

    def __getattr__(self, key: str) -> Value:
        if key.startswith("_"):
            raise AttributeError(key)
        return self[key]

    def paths(self) -> list[str]:
        """The dotted keys of all settings."""
        below = {key: self._fields[key] for key in self._schema}
        return [path for key, v in below.items() for path in (v.paths() if isinstance(v, Section) else [self.at(key)])]

    # ---- What is refused, and how ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Put everything back if an error is raised inside."""
        before = self._saved()
        try:
            yield
        except BaseException:
            self._restore(before)
            raise

    def _saved(self) -> dict[str, tuple[Value, Any]]:
        return {k: (v, v._saved() if isinstance(v, Section) else None) for k, v in self._fields.items()}

    def _restore(self, saved: dict[str, tuple[Value, Any]]) -> None:
        self._fields.clear()
        for key, (value, below) in saved.items():
            self.put(key, value)
            if below is not None:
                value._restore(below)

    def checked(self, how: Callable[[str, Any, Kind], Value], key: str, given: Value, setting: Setting) -> Value:
        """What `convert` or `check` makes of a value, or an error with the default and the value that is kept."""
        assert isinstance(setting.kind, Kind)
        try:
            return how(self.at(key), given, setting.kind)
        except Help:
            raise
        except ConfigError as error:
            value = self[key]
            if setting.default is REQUIRED or value is None:
                raise
            here = "" if value == setting.default else f", and here it is {shown(value)}"
            default = "none" if setting.default is None else shown(setting.default)
            raise ConfigError(f"{error}; its default is {default}{here}") from None

    def described(self, key: str, setting: Setting) -> str:
        """A setting with its value, what it takes and what it is for, for `help`."""
        return setting.described(key, self[key])

    def at(self, key: str) -> str:
        """The dotted key of a key of this section."""
        return f"{self._path}.{key}" if self._path else key

    def is_section(self, key: str) -> ConfigError:
        """The error for a section that is set to a value."""
        listed = ", ".join(self._fields[key])
        return ConfigError(f"config key {self.at(key)!r} is a section; give one of its keys: {listed}")

    def nothing_below(self, key: str) -> ConfigError:
        """The error for a dotted key below a setting that is no section."""
        return ConfigError(f"unknown config key {self.at(key)!r}; {key.partition('.')[0]} has nothing below it")

    def unknown(self, key: str, full: str | None = None) -> ConfigError:
        """The error for a key that is not there; `full` has what was written below it."""
        path = self.at(full or key)
        where = f"section {self._path!r}" if self._path else "the config"
        meaning = key.replace("_", " ")
        meant = [k for k, d in self._schema.items() if isinstance(d, Setting) and d.about.startswith(meaning)]
        known = self._schema if self._path else [*self._schema, *self.paths()]
        near = names.hint(full or key, known, meant)
        listed = f"{where} has: {', '.join(self._schema)}{near}"
        return names.UnknownKey(names.renamed(path) or f"unknown config key {path!r}; {listed}")

    def __reduce__(self) -> tuple:
        return _blank, (type(self),), dict(self.__dict__)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def _blank(kind: type[Section]) -> Section:
    """A section without anything, to be filled in by `__setstate__`."""
    return object.__new__(kind)
