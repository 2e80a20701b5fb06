"""What a person should know about how data were read: each line is said once in a process."""

import functools

from absl import logging


@functools.cache
def inform(message: str) -> None:
    """Log a line, the first time that it is asked for."""
    logging.info("%s", message)


@functools.cache
def warn(message: str) -> None:
    """Log a warning, the first time that it is asked for."""
    logging.warning("%s", message)
