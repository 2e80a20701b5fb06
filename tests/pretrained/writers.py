"""Writes files as other libraries do, for the tests of this folder."""

import json
import pickle
import struct
import zipfile

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage", "int64": "LongStorage"}
SAFETENSORS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "bool": "BOOL"}


class _Pickler(pickle._Pickler):  # pyright: ignore
    """Writes numpy arrays as torch writes tensors; their storages go beside the pickle."""

    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = []

    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, np.ndarray):
            return super().save(obj, save_persistent_id)
        key, storage = str(len(self.storages)), STORAGES[obj.dtype.name]
        self.storages.append(np.ascontiguousarray(obj))
        strides = tuple(s // obj.itemsize for s in self.storages[-1].reshape(obj.shape).strides)
        self.write(
            b"ctorch._utils\n_rebuild_tensor_v2\n((" + b"X\x07\x00\x00\x00storage" + f"ctorch\n{storage}\n".encode()
        )
        for part in (key, "cpu", obj.size):
            super().save(part)
        self.write(b"tQ")
        for part in (0, obj.shape, strides, False, None):
            super().save(part)
        self.write(b"tR")
        return None


def write_torch(path, saved):
    """A file of `torch.save` in the zip format; numpy arrays stand for tensors."""
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("archive/data.pkl", "w") as file:
            pickler = _Pickler(file)
            pickler.dump(saved)
        for key, storage in enumerate(pickler.storages):
            archive.writestr(f"archive/data/{key}", storage.tobytes())
    return path


def write_safetensors(path, tensors):
    """A safetensors file: length of the header, header, values."""
    header, values = {"__metadata__": {"format": "pt"}}, b""
    for name, value in tensors.items():
        ends = [len(values), len(values) + value.nbytes]
        header[name] = {"dtype": SAFETENSORS[value.dtype.name], "shape": list(value.shape), "data_offsets": ends}
        values += value.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + values)
    return path
