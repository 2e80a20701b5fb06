"""Writes pickles as EDM does, by hand: persistent objects with their source, and tensors with their bytes within."""

import io
import pickle
import struct

import numpy as np
from writers import STORAGES

from scorejax.models.pretrained.torch_file import LEGACY_PROTOCOL


class Persistent:
    """An object of EDM: class, attributes, and source, which nobody may run."""

    def __init__(self, kind, state, source="raise RuntimeError('module_src was run')", *, version=6):
        self.meta = {"type": "class", "version": version, "module_src": source, "class_name": kind, "state": state}


class Call:
    """A function by its name, and what the pickle calls it with."""

    def __init__(self, module, name, *args):
        self.module, self.name, self.args = module, name, args


def legacy(array):
    """What torch.save wrote before 1.6, of one storage."""
    file = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, LEGACY_PROTOCOL, {"little_endian": True}):
        pickle.dump(value, file, protocol=2)
    body = _Pickler(file)
    body.write(
        pickle.PROTO + b"\x02" + b"(X\x07\x00\x00\x00storage" + f"ctorch\n{STORAGES[array.dtype.name]}\n".encode()
    )
    for part in ("0", "cpu", array.size, None):
        body.save(part)
    body.write(b"tQ.")
    pickle.dump(["0"], file, protocol=2)
    file.write(struct.pack("<q", array.size) + np.ascontiguousarray(array).tobytes())
    return file.getvalue()


class _Pickler(pickle._Pickler):  # pyright: ignore
    def __init__(self, file):
        super().__init__(file, protocol=4)

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Persistent):
            obj = Call("torch_utils.persistence", "_reconstruct_persistent_obj", obj.meta)
        if isinstance(obj, np.ndarray):
            strides = tuple(s // obj.itemsize for s in np.ascontiguousarray(obj).reshape(obj.shape).strides)
            storage = Call("torch.storage", "_load_from_bytes", legacy(obj))
            obj = Call("torch._utils", "_rebuild_tensor_v2", storage, 0, obj.shape, strides, False, {})
        if isinstance(obj, Call):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode() + b"(")
            for part in obj.args:
                self.save(part)
            return self.write(b"tR")
        return super().save(obj, save_persistent_id)


def write(path, saved):
    """A pickle."""
    with path.open("wb") as file:
        _Pickler(file).dump(saved)
    return path


def module(kind, tensors, children=(), *, settings=None, **attributes):
    """A module of torch with these tensors and modules by name."""
    state = {"_parameters": dict(tensors), "_buffers": {}, "_modules": dict(children)} | attributes
    return Persistent(kind, state | {"_init_args": [], "_init_kwargs": settings or {}})


def tree(kind, state, settings):
    """Modules nested by the names of the tensors; those below `enc` and `dec` by what follows the first dot."""

    def nested(state, kind="Module", **more):
        groups = {}
        for name, value in state.items():
            head, _, rest = name.partition(".")
            groups.setdefault(head, {})[rest] = value
        tensors = {name: inside[""] for name, inside in groups.items() if "" in inside}
        return module(kind, tensors, {n: nested(i) for n, i in groups.items() if "" not in i}, **more)

    return nested(state, kind, settings=settings)


def network(precond, kind, state, settings, **about):
    """What EDM saves of a network under a preconditioning."""
    outer = module(precond, {}, {"model": tree(kind, state, settings)}, settings=about)
    return {
        "ema": outer,
        "loss_fn": Persistent("EDMLoss", {"P_mean": -1.2}),
        "augment_pipe": None,
        "dataset_kwargs": {},
    }
