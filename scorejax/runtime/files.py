"""Files that are either whole or not there, and a reader that names the file that is damaged and what to do."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

import numpy as np

from scorejax.runtime.errors import RunError, os_errors

T = TypeVar("T")
Json: TypeAlias = dict[str, Any]


class DamagedError(RunError, ValueError):
    """A file does not hold what its name promises."""

    def __init__(self, path: str | Path, reason: str, remedy: str) -> None:
        super().__init__(f"{path} is damaged: {' '.join(reason.split())[:200]}; {remedy}")


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to; what was written takes the place of `path` at once when all went well, else it is deleted.

    Raises:
        RunError: the folder or the file cannot be written: which, why, and what to do.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{path.name}")  # with the ending of the path: some writers go by it
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())  # else a machine that fails may keep the new name of an empty file
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


def reserve(file: IO[bytes], size: int) -> None:
    """Make a file as long as this, with room for all of it: a disk that is too small shows now, not after hours.

    In a map of a file with holes it would show as a signal that ends the process.

    Raises:
        OSError: there is no room.
    """
    file.flush()
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:  # macOS
        pass
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # of file systems that cannot reserve
            raise
    os.truncate(file.fileno(), size)


def write_json(path: str | Path, values: object) -> None:
    """Write JSON, whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(json.dumps(values, indent=2, default=str) + "\n")


def read_json(path: str | Path, kind: type[T], remedy: str) -> T:
    """Read JSON whose outermost value is of this kind.

    Args:
        path: of the file.
        kind: `dict`, say.
        remedy: what to do about a damaged file, as the message puts it.

    Raises:
        DamagedError: it is not JSON, or of another kind.
        RunError: it cannot be read.
    """
    with os_errors(path):
        content = Path(path).read_bytes()
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:  # a wrong encoding is a ValueError too
        raise DamagedError(path, str(error) if content.strip() else "it is empty", remedy) from error
    if not isinstance(values, kind) or isinstance(values, bool):
        raise DamagedError(path, f"it holds {type(values).__name__} where {kind.__name__} is wanted", remedy)
    return values


def set_aside(path: Path) -> Path:
    """Give a file another name, under which nothing is looked for, and return it."""
    where = path.with_name(f"{path.name}.damaged")
    with os_errors(path):
        os.replace(path, where)
    return where


def checksum(content: np.ndarray, before: int = 0) -> int:
    """The CRC-32 of the bytes of an array, going on from that of what stands before it."""
    return zlib.crc32(memoryview(np.ascontiguousarray(content).reshape(-1).view(np.uint8)), before)  # pyright: ignore
