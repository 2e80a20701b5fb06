"""Safetensors files: eight bytes of length, a JSON header of that length, and the values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import ml_dtypes
import numpy as np

from scorejax.models.pretrained.torch_file import check_regular
from scorejax.runtime.errors import CheckpointError

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    **{f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits // 8}") for kind in "IU" for bits in (8, 16, 32, 64)},
    "BOOL": np.bool_,
}


LONGEST_HEADER = 100_000_000
"""Bytes, as the format has it."""


def load(path: str | Path) -> dict[str, np.ndarray]:
    """Tensors by name, mapped into memory: what is not used is not read from the disk.

    Raises:
        CheckpointError: the file cannot be read, or is not a whole safetensors file.
    """
    check_regular(path)
    try:
        content = np.memmap(path, np.uint8, "r").view(np.ndarray)
        start = 8 + int.from_bytes(content[:8].tobytes(), "little")
        if start > 8 + LONGEST_HEADER:
            raise CheckpointError(f"a header of {start - 8} bytes; safetensors allows {LONGEST_HEADER}")
        header = json.loads(content[8:start].tobytes())
        header.pop("__metadata__", None)
        return {name: _tensor(content[start:], name, **entry) for name, entry in header.items()}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # RecursionError: brackets in brackets
        raise CheckpointError(f"{path}: not a safetensors file, or a damaged one: {error}") from error


def is_safetensors_file(path: str | Path) -> bool:
    """Whether a file begins as a safetensors file does: with the length of a JSON object, and that object."""
    check_regular(path)
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def _tensor(values: np.ndarray, name: str, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    if dtype not in _DTYPES:
        raise CheckpointError(f"{name} is of type {dtype}; these can be read: {', '.join(_DTYPES)}")
    first, end = data_offsets
    wanted = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if end - first != wanted or not 0 <= first <= end <= values.size:
        raise CheckpointError(f"{name} of shape {shape} is in bytes {first} to {end} of {values.size}: damaged file")
    return values[first:end].view(_DTYPES[dtype]).reshape(shape)
