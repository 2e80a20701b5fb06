"""Pickles of EDM, read without running anything: their objects become records, their code is never looked at.

Such a file is `{"ema": network, ...}`, whose objects carry the source of their class and ask for a function that runs
it. Here that name stands for an inert record, and every name that is not listed is refused.
"""

from __future__ import annotations

import collections
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scorejax.models.pretrained import torch_file
from scorejax.runtime.errors import CheckpointError

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
VERSION = 6
PICKLE_MAGIC = b"\x80"


class Record:
    """An object of the file: the name of its class and its attributes; it has no methods of the file's.

    Attributes:
        kind: name of its class.
        state: its attributes.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        """Take the attributes that the pickle sets (opcode BUILD), into a dict of their own."""
        if isinstance(state, tuple) and len(state) == 2:
            state = state[0] or state[1]
        if isinstance(state, Mapping):
            self.state.update(state)

    def __setitem__(self, key: object, value: object) -> None:
        """Take an entry of a dictionary (opcode SETITEM)."""
        self.state[str(key)] = value

    def children(self, group: str) -> Mapping[str, Any]:
        """Its modules, parameters or buffers by name: `_modules`, `_parameters` or `_buffers`."""
        found = self.state.get(group) or {}
        return found if isinstance(found, Mapping) else {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The arguments that its class was called with."""
        found = self.state.get("_init_kwargs") or {}
        return found.state if isinstance(found, Record) else found


def load(path: str | Path) -> Record:
    """Return the averaged network of a pickle of EDM.

    Raises:
        CheckpointError: it cannot be read, is none, or asks for anything but containers, numbers and tensors; the
            error names it.
    """
    torch_file.check_regular(path)
    try:
        with Path(path).open("rb") as file:
            saved = _Unpickler(file).load()
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # pickle and numpy raise all kinds for damaged files
        raise CheckpointError(f"{path}: damaged pickle: {type(error).__name__}: {error}") from error
    if isinstance(saved, Record):
        saved = saved.state
    network = saved.get("ema") if isinstance(saved, Mapping) else None
    if not isinstance(network, Record):
        held = ", ".join(map(str, list(saved)[:5])) if isinstance(saved, Mapping) else type(saved).__name__
        raise CheckpointError(f"{path}: a pickle, but not one of EDM, which holds a network 'ema'; it holds {held}")
    return network


def is_pickle(path: str | Path) -> bool:
    """Whether a file begins as a pickle of protocol 2 or later; the rest of it is not looked at."""
    torch_file.check_regular(path)
    with Path(path).open("rb") as file:
        head = file.read(16)
    return head[:1] == PICKLE_MAGIC and head[1:2] in b"\x02\x03\x04\x05" and torch_file.LEGACY_MAGIC not in head


def tensors(record: Record, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Parameters and buffers by their names in a state dict."""
    for group in ("_parameters", "_buffers"):
        for name, value in record.children(group).items():
            if value is not None:
                yield prefix + name, np.asarray(value)
    for name, child in record.children("_modules").items():
        if isinstance(child, Record):
            yield from tensors(child, f"{prefix}{name}.")


class _Unpickler(torch_file.Unpickler):
    """Knows the names of torch's files, and these."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(file, _no_storage)
        self._known |= {
            # builtins, bound methods and classes of this file alone: a pickle that sets attributes cannot change them
            PERSISTENT: self._persistent,
            "torch.storage._load_from_bytes": self._storage_of_bytes,
            "builtins.set": set,
            "copyreg._reconstructor": self._reconstructed,
            "builtins.object": "object",
            "builtins.dict": "dict",
            "dnnlib.util.EasyDict": _factory("EasyDict"),
            "torch.nn.modules.container.ModuleDict": _factory("ModuleDict"),
            "collections.OrderedDict": collections.OrderedDict,
        }

    def find_class(self, module_name: str, global_name: str, /) -> object:
        name = f"{module_name}.{global_name}".replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")
        if name not in self._known:
            raise CheckpointError(
                f"the pickle asks for {name}, which is neither a container nor a tensor: it was not run; files of EDM "
                "do not ask for it"
            )
        return self._known[name]

    def _reconstructed(self, kind: object, base: object, state: object) -> Record:
        """An object without a constructor (`copyreg`): a record, of the few classes that are known."""
        made = kind("") if isinstance(kind, type) and issubclass(kind, Record) else Record(str(kind))
        made.__setstate__(state)
        return made

    def _persistent(self, meta: Any) -> Record:
        """An object that carries its source: its class by name, and its attributes; `module_src` is not looked at."""
        found = meta.state if isinstance(meta, Record) else meta
        if found.get("type") != "class" or found.get("version") != VERSION:
            raise CheckpointError(
                f"a persistent {found.get('type')} of version {found.get('version')}; only classes of version "
                f"{VERSION} can be read"
            )
        record = Record(str(found["class_name"]))
        record.__setstate__(found.get("state") or {})
        return record

    def _storage_of_bytes(self, content: bytes) -> Any:
        """A storage or tensor within the pickle, in the format of torch before 1.6."""
        return torch_file.load_legacy(io.BytesIO(content))


def _no_storage(*about: object) -> np.ndarray:
    raise CheckpointError("the pickle asks for a storage beside it; files of EDM hold theirs within")


def _factory(kind: str) -> type[Record]:
    """A class of records, made anew so that a pickle which changes it (opcode BUILD) changes nothing else."""

    class Made(Record):
        def __init__(self, *ignored: object) -> None:
            super().__init__(kind)

    return Made
