"""The tree of a run's settings.

A tree has sections with keys of their own, and nodes that name a part (`config.sde = "vp:beta_max=10"`). A node holds
what was set; what was not is read from the signature of its part, so that every default stands in one place. A new
part (`config.sde = "ve"`) begins at its defaults; a new name (`config.sde.name = "subvp"`) keeps the settings that the
part of that name has too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scorejax.experiment.config import values as values_lib
from scorejax.experiment.config.parts import AUTO, Seam, make, reject
from scorejax.experiment.config.section import Help, Section
from scorejax.experiment.config.settings import REQUIRED, Factory, Setting, declared, shown
from scorejax.experiment.config.values import Kind, Value, Values
from scorejax.runtime.errors import ConfigError

HELP = "help"


class Config(Section):
    """A section: fixed keys, each with a default, a section, or a node of its own."""

    def __init__(self, schema: Mapping[str, Value], path: str = "") -> None:
        """Every setting of the schema at its default.

        Args:
            schema: by key a `Setting`, a plain default value, a mapping (a section), or a `Seam`.
            path: the dotted key of this section.
        """
        super().__init__(schema, path)
        for key, declaration in schema.items():
            self.put(key, self._default(key, declaration))

    def _default(self, key: str, declaration: Value) -> Value:
        path = self.at(key)
        if isinstance(declaration, Seam):
            return Part(declaration, path)
        return Config(declaration, path) if isinstance(declaration, Mapping) else declared(declaration).default

    def __setitem__(self, key: str, value: Value) -> None:
        if key not in self._schema:
            raise self.unknown(key)
        there = self._fields[key]
        if isinstance(there, Part):
            there.choose(value)
        elif isinstance(there, Config):
            if not isinstance(value, Mapping):
                raise self.is_section(key)
            there.update(value)
        else:
            self.put(key, self.checked(values_lib.check, key, value, declared(self._schema[key])))

    def update(self, *given: Mapping[str, Value], **more: Value) -> None:
        """Set several keys, or none if one is refused; of a node its name first, which decides the others it has."""
        with self.all_or_nothing():
            for changes in (*given, more):
                for key in sorted(changes, key=lambda key: key != "name"):
                    self[key] = changes[key]

    def set_text(self, key: str, text: str) -> None:
        """Set a key from the command line, dotted below this section.

        Raises:
            ConfigError: no such key, or a text that it does not take.
            Help: the text is `help`.
        """
        first, _, rest = key.partition(".")
        if first not in self._schema:
            raise self.unknown(first, key)
        there = self._fields[first]
        if rest and not isinstance(there, Config):
            raise self.nothing_below(key)
        if rest:
            there.set_text(rest, text)
        elif isinstance(there, Part):
            there.choose_text(text)
        elif isinstance(there, Config):
            raise Help(there.describe()) if text == HELP else self.is_section(first)
        else:
            setting = declared(self._schema[first])
            if text == HELP:
                raise Help(self.described(first, setting))
            self.put(first, self.checked(values_lib.convert, first, text, setting))

    def to_dict(self) -> Values:
        """Nested plain values, ready for JSON."""
        return {key: value.to_dict() if isinstance(value, Config) else value for key, value in self._fields.items()}

    def lines(self, *more: str) -> list[str]:
        """Every setting, one a line, as the command line takes it; of parts also those at their defaults."""
        found = []
        for key in (*self._schema, *more):
            value, path = self[key], self.at(key)
            found += value.lines() if isinstance(value, Config) else [f"--config.{path}={shown(value)}"]
        return found

    def describe(self) -> str:
        """The settings of this section with their values, what they take, and what they are for, for `help`."""
        found = [f"--config.{self._path}.KEY=VALUE sets one of these, which now are"]
        for key, declaration in self._schema.items():
            if isinstance(declaration, Seam):
                found.append(f"  {key}={self[key].name}\n      takes a {declaration.noun}; {key}={HELP} lists them")
            elif not isinstance(declaration, Mapping):
                found.append(self.described(key, declared(declaration)))
        return "\n".join(found)


class Part(Config):
    """A node that names a part; its keys are the settings of that part, and those that every part has here."""

    def __init__(self, seam: Seam, path: str, text: str | None = None) -> None:
        """The default part of the seam, or the one of a text."""
        super().__init__(seam.common, path)
        object.__setattr__(self, "_seam", seam)
        self.put("name", "")
        self.choose_text(seam.default if text is None else text)

    # ---- What it names ------------------------------------------------------------------------------------------

    def choose_text(self, text: str) -> None:
        """Name another part, as text: `NAME:key=value:...`. Its own settings begin at their defaults.

        Raises:
            ConfigError: no such part, or a setting that it does not have.
            Help: the text is `help`.
        """
        if text == HELP:
            head = f"--config.{self._path}=NAME[:key=value...] takes"
            raise Help(f"{head}\n{self._seam.describe()}\n\n{self.describe()}")
        try:
            name, given = self._seam.parse(text)
        except ConfigError as error:
            raise ConfigError(f"config key {self._path!r}: {error}") from error.__cause__
        with self.all_or_nothing():
            self._rename(name)
            for key, value in given.items():
                self.set_text(key, value)

    def choose(self, value: Value) -> None:
        """Name another part: a text, a mapping with `name` and settings, or None for the default part.

        Raises:
            ConfigError: no such part, or a setting that it does not have.
        """
        if isinstance(value, str) and value != HELP:
            self.choose_text(value)
        elif value is None:
            self.choose_text(self._seam.default)
        elif isinstance(value, Mapping):
            self.update(value)
        else:
            raise ConfigError(f"config key {self._path!r} takes the name of a {self._seam.noun}, got {value!r}")

    def _rename(self, name: str, *, keep: bool = False) -> None:
        """Name another part; with `keep` it takes over the settings that it has too."""
        before = {key: self._fields.pop(key) for key in self._own_keys()}
        self.put("name", name)
        for key, setting in self._settings().items():
            if isinstance(setting.kind, Seam):
                self.put(key, Part(setting.kind, self.at(key)))
            elif keep and key in before and not isinstance(before[key], Part):
                self[key] = before[key]

    def _named(self, name: Value) -> None:
        """Name another part, which takes over the settings that it has too."""
        if not isinstance(name, str):
            raise ConfigError(f"config key {self.at('name')!r} takes the name of a {self._seam.noun}, got {name!r}")
        try:
            self._seam.find(name)
        except ConfigError as error:
            raise ConfigError(f"config key {self._path!r}: {error}") from error.__cause__
        with self.all_or_nothing():
            self._rename(name, keep=True)

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
                self._named(value)
        elif key in self._schema:
            super().__setitem__(key, value)
        else:
            setting = self._setting(key)
            if isinstance(setting.kind, Seam):
                self._fields[key].choose(value)
            elif value is None and isinstance(setting.kind, Kind) and not setting.kind.optional:
                self._fields.pop(key, None)  # back to its default
            else:
                self._set(key, setting, self.checked(values_lib.check, key, value, setting))

    def set_text(self, key: str, text: str) -> None:
        first, _, rest = key.partition(".")
        if key == "name":
            return self._named(text)
        if first in self._schema:
            return super().set_text(key, text)
        setting = self._setting(first)
        if isinstance(setting.kind, Seam):
            return self._fields[first].set_text(rest, text) if rest else self._fields[first].choose_text(text)
        if rest:
            raise self.nothing_below(key)
        if text == HELP:
            raise Help(self.described(first, setting))
        return self._set(first, setting, self.checked(values_lib.convert, first, text, setting))

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

    def _set(self, key: str, setting: Setting, value: Value) -> None:
        # A default that is set once more is no difference between two configs; number formats are set by their names.
        default = shown(setting.default) if key == "dtype" else setting.default
        if default is not REQUIRED and value == default and type(value) is type(default):
            self._fields.pop(key, None)
        else:
            self.put(key, value)

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

    def by_data(self) -> list[str]:
        """The settings that are to be read off the data, and were not yet."""
        name = self._fields["name"]
        known = [key for key in self._own_keys() if f"{name}.{key}" in self._seam.by_data]
        return [key for key in known if self._fields[key] == AUTO]

    def factory(self) -> Factory:
        """The part as a function of what the program supplies."""

        def chosen(*positional: object, **supplied: object) -> Any:
            return self.make(*positional, **supplied)

        chosen.__name__ = self._fields["name"]
        return chosen

    def find(self) -> Factory:
        """The factory itself."""
        return self._seam.find(self._fields["name"])

    def describe(self) -> str:
        """The settings of the part that is named, with what they take and what they are for."""
        settings = {**self._settings(), **{key: declared(value) for key, value in self._schema.items()}}
        head = f"--config.{self._path}.KEY=VALUE sets one of {self._fields['name']}, which now has"
        head = head if settings else f"{self._fields['name']} has no settings"
        return "\n".join([head, *(self.described(key, setting) for key, setting in settings.items())])


def _format(value: Value) -> Value:
    import jax.numpy as jnp

    return {"float32": jnp.float32, "bfloat16": jnp.bfloat16}[value] if isinstance(value, str) else value
