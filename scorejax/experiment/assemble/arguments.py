"""Names and settings of a config, checked against what they are for."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from scorejax.experiment.config import Config
from scorejax.experiment.config.settings import DEFAULTS, choices
from scorejax.runtime.errors import ConfigError


def pick(section: str, name: str, table: dict[str, Any]) -> Any:
    """The entry of a table by name.

    Raises:
      ConfigError: no such entry.
    """
    if name not in table:
        raise ConfigError(f"unknown {section} {name!r}; choose one of {choices(table)}")
    return table[name]


def options(config: Config, section: str, factory: Callable[..., Any], keys: Sequence[str]) -> dict[str, Any]:
    """The settings among `keys` that were set, as keyword arguments of a factory, which must take them all."""
    given = {key: config[section][key] for key in keys if config[section][key] is not None}
    fields = (
        [f.name for f in dataclasses.fields(factory)]
        if isinstance(factory, type)
        else inspect.signature(factory).parameters
    )
    takes = [key for key in keys if key in fields]
    for key in given:
        if key not in takes:
            name = factory.__name__
            raise ConfigError(
                f"config key '{section}.{key}' = {given[key]!r} does not belong to {name}, which takes: "
                f"{', '.join(takes) or 'nothing'}"
            )
    return given


def unset(section: str) -> list[str]:
    """The keys of a section that have no default of their own."""
    return [key for key, default in DEFAULTS[section].items() if isinstance(default, type)]
