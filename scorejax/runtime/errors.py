"""What a person at a terminal sees: errors in one line, and a log without the chatter of libraries."""

import contextlib
import errno
import logging as standard
import os
import re
import sys
import traceback
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


REMEDIES = {
    errno.ENOSPC: "make room there or choose another --workdir, then give the same command again",
    errno.EDQUOT: "delete what you do not need there or choose another --workdir, then give the same command again",
    errno.EROFS: "nothing can be written there: choose another --workdir",
    errno.EACCES: "ask for the right to use it, or choose another --workdir",
    errno.EPERM: "ask for the right to use it, or choose another --workdir",
    errno.ENOTDIR: "a part of that path is a file, not a folder: choose another path",
    errno.EISDIR: "that is a folder, and a file is wanted: choose another path",
    errno.ENOENT: "there is no such file or folder: look at the spelling of the path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the disk or its connection fails: copy the folder to another disk, and go on there",
}
_LONGEST = 400  # letters of a message that a library wrote


def explained(error: OSError, where: str | Path | None = None) -> str:
    """What an error of the operating system means: where, what, and what to do."""
    # Libraries that write a part of a file forget its name, and nobody looks for a partial file.
    if where is None or (error.filename and not Path(str(error.filename)).name.startswith(".partial-")):
        where = error.filename
    what = os.strerror(error.errno) if error.errno else str(error)
    remedy = REMEDIES.get(error.errno or 0)
    return (f"{where}: " if where else "") + what + (f"; {remedy}" if remedy else "")


@contextlib.contextmanager
def os_errors(where: str | Path) -> Iterator[None]:
    """Turn errors of the operating system inside into one line that says where, what, and what to do.

    Raises:
        RunError: an `OSError` was raised inside.
    """
    try:
        yield
    except OSError as error:
        raise RunError(explained(error, where)) from error


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


@contextlib.contextmanager
def asked_by(key: str, value: object) -> Iterator[None]:
    """Say of a `ConfigError` which setting asked for what it is about.

    Raises:
        ConfigError: there was one inside.
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{key} = {value!r}: {error}") from error


def in_one_line(error: BaseException) -> str:
    """What an error says, on one line; of one that nobody foresaw also its type and where it was raised."""
    said = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    if isinstance(error, RunError):
        return said.rstrip(".;")
    said = (said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ...").rstrip(".;")
    if isinstance(error, ValueError | OSError) and said:
        return said
    # The last line that is no library's is the one to look at.
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {said}".rstrip(": ") + where


def reason(error: BaseException) -> str:
    """The first line of what went wrong, of the innermost cause."""
    if code := _code(error):
        return os.strerror(code)
    return (str(_innermost(error)).strip() or type(error).__name__).splitlines()[0][:200]


def advice(error: BaseException) -> str:
    """What to do about it, in brackets; empty if that is not known."""
    remedy = REMEDIES.get(_code(error) or 0)
    return f" ({remedy})" if remedy else ""


def _code(error: BaseException) -> int | None:
    """The number that the operating system gave the innermost cause, if that was it."""
    error = _innermost(error)
    if isinstance(error, OSError):
        return error.errno
    code = re.search(r"os_error_code='(\d+)'", str(error))  # as tensorstore words it
    return int(code[1]) if code else None


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


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
