"""The tree of a run's settings: the only file of the package that knows ml_collections.

A tree has sections with keys of their own, and nodes that name a part (`config.sde = "vp:beta_max=10"`). A node holds
what was set; what was not is read from the signature of its part, so that every default stands in one place. A new
part (`config.sde = "ve"`) begins at its defaults; a new name (`config.sde.name = "subvp"`) keeps the settings that the
part of that name has too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from scorejax.experiment.config import values as values_lib
from scorejax.experiment.config.parts import REQUIRED, Factory, Seam, Setting, make, reject, shown
from scorejax.experiment.config.values import Value, Values
from scorejax.runtime.errors import ConfigError

HELP = "help"


class Help(ConfigError):
    """What was asked for with `help`: what a seam offers, all settings, or the shipped configs."""


class Config(config_dict.ConfigDict):
    """A section: fixed keys, each with a default, a section, or a node of its own."""

    def __init__(self, schema: Mapping[str, Value], path: str = "") -> None:
        """Every setting of the schema at its default.

        Args:
            schema: by key a default value, a bare type (unset by default), a mapping (a section), or a `Seam`.
            path: the dotted key of this section.
        """
        super().__init__(type_safe=False, sort_keys=False)
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_schema", schema)
        for key, default in schema.items():
            self._put(key, self._default(key, default))

    def _default(self, key: str, default: Value) -> Value:
        path = _join(self._path, key)
        if isinstance(default, Seam):
            return Part(default, path)
        if isinstance(default, Mapping):
            return Config(default, path)
        return None if isinstance(default, type) else default

    def _put(self, key: str, value: Value) -> None:
        self._fields[key] = value

    def __setitem__(self, key: str, value: Value) -> None:
        if key not in self._schema:
            raise self._unknown(key)
        there = self._fields[key]
        if isinstance(there, Part):
            there.choose(value)
        elif isinstance(there, Config):
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"config key {_join(self._path, key)!r} is a section; give one of its keys: {', '.join(there)}"
                )
            there.update(value)
        else:
            kind = values_lib.kind_of(self._schema[key])
            self._put(key, values_lib.check(_join(self._path, key), value, kind))

    def __setattr__(self, key: str, value: Value) -> None:
        self[key] = value

    def __getitem__(self, key: str) -> Value:
        if key not in self._fields:
            raise self._unknown(key)
        return self._fields[key]

    def __getattr__(self, key: str) -> Value:
        if key.startswith("_"):
            raise AttributeError(key)
        try:
            return self[key]
        except ConfigError as error:
            raise AttributeError(str(error)) from None

    def update(self, *given: Mapping[str, Value], **more: Value) -> None:
        """Set several keys; of a node its name first, since that decides which others it has."""
        for changes in (*given, more):
            for key in sorted(changes, key=lambda key: key != "name"):
                self[key] = changes[key]

    def set_text(self, key: str, text: str) -> None:
        """Set a key from the command line, dotted below this section.

        Raises:
            ConfigError: no such key, or a text that it does not take.
            Help: the text is `help`, and the key is that of a node.
        """
        first, _, rest = key.partition(".")
        if first not in self._schema:
            raise self._unknown(first, key)
        there = self._fields[first]
        if rest and not isinstance(there, Config):
            raise ConfigError(f"unknown config key {_join(self._path, key)!r}; {first} has nothing below it")
        if rest:
            there.set_text(rest, text)
        elif isinstance(there, Part):
            there.choose_text(text)
        elif isinstance(there, Config):
            listed = ", ".join(there)
            raise ConfigError(f"config key {_join(self._path, key)!r} is a section; give one of its keys: {listed}")
        else:
            path, default = _join(self._path, key), self._schema[first]
            try:
                self._put(first, values_lib.convert(path, text, values_lib.kind_of(default)))
            except ConfigError as error:
                raise ConfigError(
                    f"{error}; its default is {default!r}" if default is not None else str(error)
                ) from None

    def to_dict(self) -> Values:
        """Nested plain values, ready for JSON."""
        return {key: value.to_dict() if isinstance(value, Config) else value for key, value in self._fields.items()}

    def lines(self, *more: str) -> list[str]:
        """Every setting, one a line, as the command line takes it; of parts also those at their defaults."""
        found = []
        for key in (*self._schema, *more):
            value, path = self[key], _join(self._path, key)
            found += value.lines() if isinstance(value, Config) else [f"--config.{path}={shown(value)}"]
        return found

    def _unknown(self, key: str, full: str | None = None) -> ConfigError:
        where = f"section {self._path!r}" if self._path else "the config"
        return ConfigError(
            f"unknown config key {_join(self._path, full or key)!r}; {where} has: {', '.join(self._schema)}"
        )


class Part(Config):
    """A node that names a part; its keys are the settings of that part, and those that every part has here."""

    def __init__(self, seam: Seam, path: str, text: str | None = None) -> None:
        """The default part of the seam, or the one of a text."""
        super().__init__(seam.common, path)
        object.__setattr__(self, "_seam", seam)
        self._put("name", "")
        self.choose_text(seam.default if text is None else text)

    # ---- What it names ------------------------------------------------------------------------------------------

    def choose_text(self, text: str) -> None:
        """Name another part, as text: `NAME:key=value:...`. Its own settings begin at their defaults.

        Raises:
            ConfigError: no such part, or a setting that it does not have.
            Help: the text is `help`.
        """
        if text == HELP:
            raise Help(f"--config.{self._path}=NAME[:key=value...] takes\n{self._seam.describe()}{self._common_help()}")
        name, given = self._seam.parse(text)
        self._rename(name)
        for key, value in given.items():
            self.set_text(key, value)

    def choose(self, value: Value) -> None:
        """Name another part: a text, a mapping with `name` and settings, or None for the default part.

        Raises:
            ConfigError: no such part, or a setting that it does not have.
        """
        if isinstance(value, str):
            self.choose_text(value)
        elif value is None:
            self.choose_text(self._seam.default)
        elif isinstance(value, Mapping):
            self.update(value)
        else:
            raise ConfigError(f"config key {self._path!r} takes the name of a {self._seam.noun}, got {value!r}")

    def _rename(self, name: str, *, keep: bool = False) -> None:
        """Name another part; with `keep` it takes over the settings that it has too."""
        self._seam.find(name)
        before = {key: self._fields.pop(key) for key in self._own_keys()}
        self._put("name", name)
        for key, setting in self._settings().items():
            if isinstance(setting.kind, Seam):
                self._put(key, Part(setting.kind, _join(self._path, key)))
            elif keep and key in before and not isinstance(before[key], Part):
                self[key] = before[key]

    def lines(self, *more: str) -> list[str]:
        return [f"--config.{self._path}={self._fields['name']}", *super().lines(*self._settings(), *more)]

    def _own_keys(self) -> list[str]:
        return [key for key in self._fields if key != "name" and key not in self._schema]

    def _settings(self) -> dict[str, Setting]:
        common = self._schema
        return {k: s for k, s in self._seam.settings(self._fields["name"]).items() if k not in common}

    # ---- Its settings -------------------------------------------------------------------------------------------

    def __setitem__(self, key: str, value: Value) -> None:
        if key == "name":
            if value != self._fields["name"]:
                self._rename(value, keep=True)
        elif key in self._schema:
            super().__setitem__(key, value)
        else:
            setting = self._setting(key)
            if isinstance(setting.kind, Seam):
                self._fields[key].choose(value)
            elif value is None and not setting.kind.optional:
                self._fields.pop(key, None)  # back to its default
            else:
                self._set(setting, values_lib.check(_join(self._path, key), value, setting.kind))

    def set_text(self, key: str, text: str) -> None:
        first, _, rest = key.partition(".")
        if key == "name":
            return self._rename(text, keep=True)
        if first in self._schema:
            return super().set_text(key, text)
        setting = self._setting(first)
        if isinstance(setting.kind, Seam):
            return self._fields[first].set_text(rest, text) if rest else self._fields[first].choose_text(text)
        if rest:
            raise ConfigError(f"unknown config key {_join(self._path, key)!r}; {first} has nothing below it")
        try:
            self._set(setting, values_lib.convert(_join(self._path, key), text, setting.kind))
        except ConfigError as error:
            known = "" if setting.default is REQUIRED else f"; its default is {shown(setting.default)}"
            raise ConfigError(f"{error}{known}") from None
        return None

    def __getitem__(self, key: str) -> Value:
        if key in self._fields:
            return self._fields[key]
        default = self._setting(key).default
        return None if default is REQUIRED else default

    def _setting(self, key: str) -> Setting:
        settings = self._settings()
        if key not in settings:
            known = (*settings, *self._schema)
            raise reject(self._path, self._seam.noun, self._fields["name"], key, known)
        return settings[key]

    def _set(self, setting: Setting, value: Value) -> None:
        # A default that is set once more is no difference between two configs; number formats are set by their names.
        default = shown(setting.default) if setting.name == "dtype" else setting.default
        if default is not REQUIRED and value == default and type(value) is type(default):
            self._fields.pop(setting.name, None)
        else:
            self._put(setting.name, value)

    def own(self) -> Values:
        """What was set of the part's own settings; nodes below as partly called factories."""
        fields = {key: self._fields[key] for key in self._own_keys()}
        return {key: value.factory() if isinstance(value, Part) else value for key, value in fields.items()}

    def make(self, *positional: object, **supplied: object) -> Any:
        """Call the part's factory: with positional arguments, its settings, and what it takes of the supplied.

        Raises:
            ConfigError: a setting is missing, or the factory refuses its arguments.
        """
        given = {key: _format(value) if key == "dtype" else value for key, value in self.own().items()}
        return make(self._seam, self._fields["name"], given, supplied, self._path, *positional)

    def factory(self) -> Factory:
        """The part as a function of what the program supplies."""

        def chosen(*positional: object, **supplied: object) -> Any:
            return self.make(*positional, **supplied)

        chosen.__name__ = self._fields["name"]
        return chosen

    def find(self) -> Factory:
        """The factory itself."""
        return self._seam.find(self._fields["name"])

    def _common_help(self) -> str:
        if not self._schema:
            return ""
        shown = ", ".join(f"{key}={'none' if isinstance(v, type) else v}" for key, v in self._schema.items())
        return f"\nand with each of them: {shown}"


def _format(value: Value) -> Value:
    import jax.numpy as jnp

    return {"float32": jnp.float32, "bfloat16": jnp.bfloat16}[value] if isinstance(value, str) else value


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
