"""Parts of the user's own: what `package.module:NAME` names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

from scorejax.experiment.config.settings import Factory
from scorejax.runtime.errors import ConfigError


def imported(noun: str, name: str) -> Factory:
    """Import `package.module:NAME`, from the working directory or from what is installed.

    Args:
        noun: what is wanted, for messages.
        name: where it stands.

    Raises:
        ConfigError: it cannot be imported, is not there, or cannot be called.
    """
    module, _, attribute = name.partition(":")
    _look_here()
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"{noun} {name!r}: {module!r} is no name of a module; write package.module:NAME")
    try:
        found_in = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{noun} {name!r}: module {module!r} cannot be imported ({error}); it must lie in the working directory or "
            "be installed"
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{noun} {name!r}: module {module!r} raised {type(error).__name__}: {error}") from error
    found = getattr(found_in, attribute, None)
    if found is None:
        there = [key for key, value in vars(found_in).items() if callable(value) and _is_of(value, module)]
        raise ConfigError(
            f"{noun} {name!r}: module {module!r} has no {attribute!r}; it has {', '.join(there) or 'no functions'}"
        )
    if not callable(found):
        raise ConfigError(
            f"{noun} {name!r} is {type(found).__name__}, which cannot be called; name a function or class"
        )
    return found


def _is_of(value: object, module: str) -> bool:
    """Whether something was made in a module, and not imported into it."""
    return getattr(value, "__module__", None) == module and not getattr(value, "__name__", "_").startswith("_")


def is_importable(name: str) -> bool:
    """Whether a name is `package.module:NAME` of a module that can be found."""
    module = name.partition(":")[0]
    if ":" not in name:
        return False
    _look_here()
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _look_here() -> None:
    """Modules of the working directory can be imported, whichever way the program was started."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
