"""Libraries that only some data need."""

from __future__ import annotations

import importlib
from types import ModuleType


def needed(name: str, what: str, extra: str | None = None) -> ModuleType:
    """Return a library.

    Args:
        name: of its module and of its package.
        what: what needs it, for the message.
        extra: the optional part of this package that installs it.

    Raises:
        ValueError: it is not installed; the message has the command.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        how = f"pip install {name}" + (f", or scorejax[{extra}]" if extra else "")
        raise ValueError(f"{what} needs {name}, which is not installed: {how}.") from error
