"""Names of a config, checked against a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from scorejax.runtime.errors import ConfigError

Entry = TypeVar("Entry")


def pick(what: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """Look a name up in a table, with an error that lists the names.

    Raises:
        ConfigError: no such entry.
    """
    if name not in table:
        raise ConfigError(f"unknown {what} {name!r}; choose one of {', '.join(table)}")
    return table[name]
