"""Decoded examples kept on disk as `.npy`, under a name that changes when the data set changes."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from absl import logging
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike

from scorejax.runtime.files import reserve

Allocate = Callable[[tuple[int, ...], DTypeLike], np.ndarray]


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder for decoded arrays: `cache_dir`, else $SCOREJAX_CACHE, else ~/.cache/scorejax."""
    return Path(cache_dir or os.environ.get("SCOREJAX_CACHE") or "~/.cache/scorejax").expanduser()


def fingerprint(files: Iterable[Path], settings: tuple) -> str:
    """Return a digest of the settings and of each file's path, size and time of change: new data, new digest."""
    digest = hashlib.sha256(repr(settings).encode())
    for file in files:
        stat = file.stat()
        digest.update(os.fsencode(file.resolve()) + f"\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def cached(
    decode: Callable[[Allocate], None],
    name: str,
    files: Iterable[Path],
    settings: tuple,
    *,
    cache_dir: str | Path | None = None,
) -> np.ndarray:
    """Return a memory-mapped array, decoded only if these files and settings were not decoded before.

    The file appears under its name only when complete: interrupted or parallel runs leave no broken array.

    Args:
        decode: calls its argument once with the shape and type of the array, and fills what it returns; that
            lies on disk, so a data set may be larger than memory.
        name: start of the file's name.
        files: what the array is decoded from.
        settings: all else that the array depends on.
        cache_dir: see `cache_folder`.
    """
    target = cache_folder(cache_dir) / f"{name}-{fingerprint(files, settings)}.npy"
    if target.exists():
        try:
            return np.load(target, mmap_mode="r")
        except (ValueError, OSError, EOFError) as error:
            logging.warning("%s is damaged (%s); it is made again", target, error)
    logging.info("decoding %s once into %s", name, target)
    partial = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A name that nobody else has, unlike that of `runtime.files.replacing`: several processes may decode one set.
        handle, partial = tempfile.mkstemp(dir=target.parent, prefix=target.stem, suffix=".partial")
        os.close(handle)  # the name is all that is wanted: numpy opens the file itself
        decode(lambda shape, dtype: _reserved(partial, shape, dtype))
        os.replace(partial, target)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"{error.filename or target} cannot be read or written: {error.strerror or error}; make room, or set "
            "SCOREJAX_CACHE to a folder for decoded data."
        ) from error
    finally:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
    return np.load(target, mmap_mode="r")


def _reserved(path: str, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """A new array on the disk, with room for all of it."""
    array = open_memmap(path, "w+", dtype=np.dtype(dtype), shape=shape)
    with open(path, "r+b") as file:
        reserve(file, os.path.getsize(path))
    return array
