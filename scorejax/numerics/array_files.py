"""The one reader of `.npz` and `.npy` files: what their headers promise is checked before memory is taken for it."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

SUFFIXES = (".npz", ".npy")
MEMORY_SHARE = 0.5  # of the memory that is free now: what is read may take no more
# Deflate makes a run of zeros a thousand times smaller. A file that grows so much, and to so much, was not meant so.
MOST_GROWTH, LARGE = 100, 2**30
MAPPED = 64 * 2**20  # bytes above which an array stays in its file
_MAGIC = b"\x93NUMPY"


class Header(NamedTuple):
    """What an `.npy` file or a member of an `.npz` file says of its array.

    Attributes:
        shape: of the array.
        dtype: of its numbers.
        stored: bytes that hold it on the disk, header and all.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    stored: int

    @property
    def nbytes(self) -> int:
        """Bytes of the array in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


def headers(path: str | Path) -> dict[str, Header]:
    """Return what the file says of its arrays by name, reading none of them; that of an `.npy` file is called `x`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or a damaged one; the message names it.
    """
    where = Path(path)
    if not where.is_file():
        there = "" if where.is_absolute() else f" in {Path.cwd()}"
        raise FileNotFoundError(
            f"{str(where)!r} is not a file{there}; give the .npz or .npy file that holds the arrays."
        )
    with _explained(where), where.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            file.seek(0)
            return {"x": _header(where, "x", file, where.stat().st_size, where.stat().st_size)}
        found = {}
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if not entry.filename.endswith(".npy"):
                    continue
                name = entry.filename.removesuffix(".npy")
                with archive.open(entry) as member:
                    found[name] = _header(where, name, member, entry.file_size, entry.compress_size)
        return found


def read(path: str | Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Return arrays of the file by name, all that are in it for None.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as of `headers`; or more memory is needed than `MEMORY_SHARE` of what is free.
    """
    where = Path(path)
    found = headers(where)
    wanted = [name for name in found if names is None or name in names]
    _check_contents(where, {name: found[name] for name in wanted})
    with _explained(where):
        loaded = np.load(where, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded:
            return {name: loaded[name] for name in wanted}


def mapped(path: str | Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Return arrays of the file by name; large ones that are not compressed are mapped from it, not read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as of `read`.
    """
    where = Path(path)
    places = _places(where, names)
    found = read(where, set(names) - places.keys()) if set(names) - places.keys() else {}
    for name, (offset, header, fortran) in places.items():
        found[name] = np.memmap(where, header.dtype, "r", offset, header.shape, "F" if fortran else "C")
    return found


def _places(where: Path, names: Collection[str]) -> dict[str, tuple[int, Header, bool]]:
    """Where large arrays begin in the file, if their numbers lie there as they are."""
    large = {k: h for k, h in headers(where).items() if k in names and h.nbytes > MAPPED and not h.dtype.hasobject}
    if not large:
        return {}
    found = {}
    with _explained(where), where.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            begins = {"x": 0}
        else:
            with zipfile.ZipFile(file) as archive:
                stored = [e for e in archive.infolist() if e.compress_type == zipfile.ZIP_STORED]
                begins = {e.filename.removesuffix(".npy"): _content(file, e.header_offset) for e in stored}
        for name, header in large.items():
            if name in begins:
                file.seek(begins[name])
                version = np.lib.format.read_magic(file)
                _, fortran, _ = _reader(version)(file)
                found[name] = (file.tell(), header, fortran)
    return found


def _content(file: IO[bytes], header: int) -> int:
    """Where the bytes of a member of a zip file begin: behind its local header, whose last two numbers are lengths."""
    file.seek(header + 26)
    return header + 30 + sum(struct.unpack("<HH", file.read(4)))


def _reader(version: tuple[int, int]) -> Any:
    return np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0


def _header(where: Path, name: str, file: IO[bytes], size: int, stored: int) -> Header:
    """Read the header of one array, and hold it against the number of bytes that follow."""
    version = np.lib.format.read_magic(file)
    shape, _, dtype = _reader(version)(file)
    header = Header(shape, dtype, stored)
    if not dtype.hasobject and size - file.tell() != header.nbytes:
        raise ValueError(
            f"{where} is damaged: {name!r} should be {dtype} of shape {shape}, {header.nbytes:,} bytes, but "
            f"{size - file.tell():,} are there; write it again."
        )
    return header


def _check_contents(where: Path, wanted: dict[str, Header]) -> None:
    for name, header in wanted.items():
        if header.dtype.hasobject:
            raise ValueError(
                f"{where}: {name!r} holds Python objects, which only a pickle could carry; save numbers, such as "
                "np.asarray(x, np.float32), or texts as np.array(labels, str)."
            )
        if header.nbytes > max(LARGE, MOST_GROWTH * header.stored):
            raise ValueError(
                f"{where}: {name!r} would grow from {_shown(header.stored)} on the disk to {_shown(header.nbytes)}, "
                f"more than {MOST_GROWTH}-fold; if that is meant, write it by np.savez, not np.savez_compressed."
            )
    total, free = sum(header.nbytes for header in wanted.values()), _free_memory()
    if total > MEMORY_SHARE * free:
        raise ValueError(
            f"{where} holds {_shown(total)} of arrays; no more than half of the free memory, now "
            f"{_shown(MEMORY_SHARE * free)}, is taken for them. Write them by np.savez, not np.savez_compressed, or as "
            "an .npy file: then they are read from the disk."
        )


def _free_memory() -> int:
    """Bytes of memory that can be had without swapping; where the system does not say, those that the machine has."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _shown(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


@contextmanager
def _explained(where: Path) -> Iterator[None]:
    """Say what a damaged file raises in one line that names it."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(str(where)):
            raise
        raise _damaged(where, error) from error
    # A damaged archive raises errors of zlib, struct, zipfile, the parser of headers, ...
    except Exception as error:
        raise _damaged(where, error) from error


def _damaged(where: Path, error: Exception) -> ValueError:
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return ValueError(f"{where} cannot be read as an .npz or .npy file: {said}; write it again by np.savez.")
