"""Files that `torch.save` writes, read into numpy arrays: without torch, and without running what a pickle asks for.

A pickle is a program. This one may build containers, numbers, arrays and tensors, and nothing else: a name that is
not listed here is refused before anything of it is imported.
"""

from __future__ import annotations

import collections
import math
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from scorejax.runtime.errors import CheckpointError

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # as it stands within the first pickle of the file
LEGACY_PROTOCOL = 1001
MOST_INFLATED = 20  # times the size of a zip file that its content may have
SMALL = 2**24  # bytes that any file may have

View = tuple[str, int, int]  # name, first element and length of a part of a storage

_DTYPES: dict[str, type[np.generic]] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "complex128": np.complex128,
    "complex64": np.complex64,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint64": np.uint64,
    "uint32": np.uint32,
    "uint16": np.uint16,
    "uint8": np.uint8,
    "bool": np.bool_,
}
_STORAGES: dict[str, type[np.generic]] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "ComplexDoubleStorage": np.complex128,
    "ComplexFloatStorage": np.complex64,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "UntypedStorage": np.uint8,
}


def load(path: str | Path) -> Any:
    """Read what `torch.save` wrote, in the zip format or in the older one (torch < 1.6).

    Zip files are mapped into memory: a tensor that is not used is not read from the disk.

    Args:
        path: of the file.

    Returns:
        the saved object: dicts, lists, numbers, strings; tensors and parameters as numpy arrays (read-only for zip
        files; bfloat16 and float8 of `ml_dtypes`), `torch.Size` as tuple, devices and dtypes as their names.

    Raises:
        CheckpointError: there is no such file, it is not one of `torch.save`, it is damaged, or it holds objects
            other than these; the error names the first.
    """
    path = Path(path)
    check_regular(path)
    try:
        with path.open("rb") as file:
            if is_torch_file(path):
                return _load_zip(path) if file.read(len(ZIP_MAGIC)) == ZIP_MAGIC else load_legacy(file)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # pickle, zipfile and numpy raise all kinds for damaged files
        raise CheckpointError(f"{path}: damaged file of torch.save: {type(error).__name__}: {error}") from error
    raise CheckpointError(
        f"{path}: not a file of torch.save, neither of its zip format nor of the one before torch 1.6"
    )


def check_regular(path: str | Path) -> None:
    """Refuse what is no file of bytes on a disk: reading from a pipe or a device may never end.

    Raises:
        CheckpointError: it is one of these.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise CheckpointError(f"{path}: no regular file but a folder, a pipe or a device; give a file of weights")


def is_torch_file(path: str | Path) -> bool:
    """Whether a file begins as those of `torch.save` do; the rest of it is not looked at."""
    check_regular(path)
    with Path(path).open("rb") as file:
        head = file.read(16)
    return head.startswith(ZIP_MAGIC) or LEGACY_MAGIC in head


def _load_zip(path: Path) -> object:
    """Zip format: the object in `NAME/data.pkl`, its storages in `NAME/data/KEY`, uncompressed."""
    everything = np.memmap(path, np.uint8, "r").view(np.ndarray)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        inflated, size = sum(info.file_size for info in members.values()), path.stat().st_size
        if inflated > size * MOST_INFLATED + SMALL:
            raise CheckpointError(
                f"a zip file of {size} bytes that inflates to {inflated}: weights hardly compress, and torch.save does "
                "not; save them again with torch.save"
            )
        roots = [name.removesuffix("data.pkl") for name in members if re.fullmatch("[^/]*/data.pkl", name)]
        if len(roots) != 1:
            raise CheckpointError("a zip file, but not one of torch.save: there is no data.pkl in it")
        root = roots[0]
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
            raise CheckpointError("written on a big-endian machine; save it again on a little-endian one")

        def storage(dtype: np.dtype, key: str, count: int, view: View | None) -> np.ndarray:
            info = members[f"{root}data/{key}"]
            if info.compress_type == zipfile.ZIP_STORED:
                # A header of 30 bytes, that ends in the lengths of a name and of an extra field, and these two.
                lengths = struct.unpack("<HH", everything[info.header_offset + 26 : info.header_offset + 30].tobytes())
                start = info.header_offset + 30 + sum(lengths)
                content = everything[start : start + info.file_size]
            else:
                content = np.frombuffer(archive.read(info), np.uint8)
            if content.size != count * dtype.itemsize:
                raise CheckpointError(
                    f"storage {key} has {content.size} bytes, {count} {dtype} have {count * dtype.itemsize}"
                )
            return content.view(dtype)

        with archive.open(f"{root}data.pkl") as file:
            return Unpickler(file, storage).load()


def load_legacy(file: IO[bytes]) -> object:
    """The format before torch 1.6: four pickles (magic, protocol, system, object), the storages' keys, their bytes."""
    file.seek(0, 2)
    total = file.tell()
    file.seek(0)
    storages: dict[str, np.ndarray] = {}

    def storage(dtype: np.dtype, key: str, count: int, view: View | None) -> np.ndarray:
        if count * dtype.itemsize > total:
            raise CheckpointError(f"storage {key} of {count} {dtype} does not fit into a file of {total} bytes")
        whole = storages.setdefault(key, np.empty(count, dtype))  # to be filled below: its bytes come last
        return whole if view is None else whole[view[1] : view[1] + view[2]]

    _, protocol, system = (Unpickler(file, storage).load() for _ in range(3))
    if protocol != LEGACY_PROTOCOL or not system["little_endian"]:
        raise CheckpointError(f"protocol {protocol} of {system}; only {LEGACY_PROTOCOL}, little-endian, can be read")
    saved = Unpickler(file, storage).load()
    for key in Unpickler(file, storage).load():
        content = storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != content.size or file.readinto(content.view(np.uint8)) != content.nbytes:  # pyright: ignore
            raise CheckpointError(f"storage {key} of {content.size} {content.dtype} is cut off")
    return saved


class Unpickler(pickle.Unpickler):
    """Knows the names below, and no other.

    What a name stands for is a builtin or a bound method, which a pickle that sets attributes (opcode BUILD) cannot
    change.
    """

    def __init__(self, file: IO[bytes], storage: Callable[[np.dtype, str, int, View | None], np.ndarray]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage
        self._known: dict[str, object] = {
            "collections.OrderedDict": collections.OrderedDict,
            "_codecs.encode": self._encode,
            "torch.Size": tuple,
            "torch.device": self._device,
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_tensor_v3": self._tensor_of_type,
            "torch._utils._rebuild_parameter": self._parameter,
            "torch.storage.UntypedStorage": "UntypedStorage",
            **{f"torch.{name}": name for name in (*_STORAGES, *_DTYPES)},
            "numpy.dtype": self._dtype,
            "numpy.ndarray": "ndarray",
            **{f"numpy.{core}.multiarray.scalar": self._scalar for core in ("core", "_core")},
            **{f"numpy.{core}.multiarray._reconstruct": self._array for core in ("core", "_core")},
        }

    def find_class(self, module_name: str, global_name: str, /) -> object:
        name = f"{module_name}.{global_name}"
        if name not in self._known:
            raise CheckpointError(
                f"the file asks for {name}, which is neither a container nor a tensor: it was not run; save the "
                "weights alone (a state dict) with torch.save"
            )
        return self._known[name]

    def persistent_load(self, pid: Any, /) -> np.ndarray:
        kind, storage_type, key, _, count, *view = pid
        if kind != "storage" or storage_type not in _STORAGES:
            raise CheckpointError(f"the file asks for a {kind} of type {storage_type}; only storages can be read")
        return self._storage(np.dtype(_STORAGES[storage_type]), key, count, view[0] if view else None)

    def _tensor(
        self, storage: np.ndarray, offset: int, shape: Sequence[int], strides: Sequence[int], *options: object
    ) -> np.ndarray:
        """A tensor: a view of a storage; options are requires_grad, hooks, metadata."""
        if len(options) > 2 and options[2]:
            raise CheckpointError(f"a tensor has {options[2]}, which is not supported: save it resolved")
        if min((offset, *shape, *strides), default=0) < 0 or len(shape) != len(strides):
            raise CheckpointError(f"a tensor has offset {offset}, shape {shape} and strides {strides}")
        used = offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if math.prod(shape) else 0
        if used > storage.size:
            raise CheckpointError(f"a tensor of shape {shape} reaches element {used} of a storage of {storage.size}")
        steps = [s * storage.itemsize for s in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=storage.flags.writeable)

    def _tensor_of_type(
        self,
        storage: np.ndarray,
        offset: int,
        shape: Sequence[int],
        strides: Sequence[int],
        requires_grad: bool,
        hooks: object,
        dtype: str,
        *metadata: object,
    ) -> np.ndarray:
        """The same of an untyped storage; the type is the option after the hooks."""
        return self._tensor(storage.view(_DTYPES[dtype]), offset, shape, strides, requires_grad, hooks, *metadata)

    def _parameter(self, data: np.ndarray, requires_grad: bool, hooks: object) -> np.ndarray:
        return data

    def _device(self, kind: str, index: int | None = None) -> str:
        return kind if index is None else f"{kind}:{index}"

    def _encode(self, text: str, encoding: str) -> bytes:
        """How protocol 2 writes bytes."""
        if encoding not in ("latin1", "latin-1"):
            raise CheckpointError(f"bytes in the encoding {encoding}; only latin1 is written by pickle")
        return text.encode("latin1")

    def _dtype(self, name: str, *options: object) -> _Dtype:
        dtype = np.dtype(name)
        if dtype.kind not in "biufcSU":
            raise CheckpointError(f"the file holds a numpy array of {dtype}; only numbers and text can be read")
        return _Dtype(dtype)

    def _scalar(self, dtype: _Dtype, content: bytes = b"") -> np.generic:
        return np.frombuffer(content, dtype.value, 1)[0]

    def _array(self, kind: str, shape: object, code: object) -> np.ndarray:
        return _Array(0, np.int8)


class _Dtype:
    """A numpy type in the making: the pickle creates it, then sets its state (opcode BUILD)."""

    def __init__(self, value: np.dtype) -> None:
        self.value = value

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, *parts = state
        if any(parts[:3]):  # subarray, names, fields
            raise CheckpointError(f"the file holds a numpy array of a type with parts {parts[:3]}")
        self.value = self.value.newbyteorder(order)


class _Array(np.ndarray):
    """A numpy array in the making."""

    def __setstate__(self, state: tuple[Any, ...], /) -> None:
        _, shape, dtype, is_fortran, content = state
        super().__setstate__((1, shape, dtype.value, is_fortran, content))
