"""What a person at a terminal sees: errors in one line, and a log without the chatter of libraries."""

import contextlib
import logging as standard
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import flags, logging

_PACKAGE = str(Path(__file__).parents[1])  # scorejax, with all its rooms


class RunError(Exception):
    """A run cannot go on. The message says what was wrong, what was got, what to do, and the choices."""


class ConfigError(RunError, ValueError):
    """The configuration asks for something that does not exist or does not fit together."""


class CheckpointError(RunError):
    """Checkpoints are missing, unreadable, or cannot be written."""


class DivergedError(RunError):
    """Training produced a number that is not finite."""


@contextlib.contextmanager
def user_errors(what: str) -> Iterator[None]:
    """Turn what a constructor refuses inside into a `ConfigError` of one line that says which part of the config it is.

    Args:
        what: the part, which begins the message: "section data", "config key 'eval.stats'".

    Raises:
        ConfigError: a `ValueError`, `TypeError`, `KeyError` or `FileNotFoundError` was raised inside.
    """
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError, KeyError, FileNotFoundError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise ConfigError(f"{what}: {' '.join(str(message).split())}") from error


def show_log() -> None:
    """Show the log of this package; of the libraries that share it, warnings alone, and one line each."""
    flags.FLAGS.mark_as_parsed()  # absl would complain that there are none
    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    handler = logging.get_absl_handler()
    handler.setFormatter(standard.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.addFilter(_relevant)
    sys.unraisablehook = _unraisable


def _relevant(record: standard.LogRecord) -> bool:
    if record.pathname.startswith(_PACKAGE):
        return True
    record.exc_info = None
    return record.levelno > standard.INFO


def _unraisable(error: "sys.UnraisableHookArgs") -> None:
    # After a failed write tensorstore's threads call into an event loop that is closed already, once per array.
    if str(error.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(error)
