"""What a person should know about how data were read: each line is said once in a process."""

import functools
import os

from absl import logging


@functools.cache
def inform(message: str) -> None:
    """Log a line, the first time that it is asked for."""
    logging.info("%s", readable(message))


@functools.cache
def warn(message: str) -> None:
    """Log a warning, the first time that it is asked for."""
    logging.warning("%s", readable(message))


def readable(text: str) -> str:
    """Return a text that may hold names of files; bytes of these that are no UTF-8 become escapes such as `\\xe9`."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")
