"""Files of torch.save: every value of them, and nothing that they ask to be run.

The files in `tests/golden/torch_files` were written by torch 2.13; `zip.pt` and `legacy.pt` hold the same values.
"""

import os
import pickle
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from scorejax.models import NCSNpp
from scorejax.models.pretrained import load, safetensors_file, torch_file
from scorejax.runtime.errors import CheckpointError

FILES = Path(__file__).parents[1] / "golden" / "torch_files"
GRID = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ROW = np.arange(10, dtype=np.float32)
TYPES = {
    np.dtype(t).name: np.dtype(t)
    for t in ("?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8", ml_dtypes.bfloat16)
}


class Call:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def write_zip(path, data, root="archive", **members):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", data)
        for name, content in members.items():
            archive.writestr(f"{root}/{name}", content)
    return path


def same(got, wanted):
    return got.dtype == wanted.dtype and got.shape == wanted.shape and np.array_equal(got, wanted)


@pytest.fixture(scope="module", params=["zip", "legacy"])
def saved(request):
    return torch_file.load(FILES / f"{request.param}.pt")


def test_state_dicts_keep_names_and_order(saved):
    assert list(saved["model"]) == ["module.weight", "module.bias"]
    assert same(saved["model"]["module.weight"], GRID)


def test_views_of_one_storage_are_what_their_strides_say(saved):
    assert same(saved["transposed"], GRID.transpose(2, 0, 1))
    assert same(saved["strided"], ROW[1::3])
    assert same(saved["model"]["module.bias"], ROW[2:5])
    assert same(saved["shared"], ROW)
    assert same(saved["expanded"], np.repeat(np.arange(3, dtype=np.float32)[:, None], 2, axis=1))
    assert np.shares_memory(saved["shared"], saved["strided"])


def test_tensors_without_dimensions_or_elements_and_parameters(saved):
    assert same(saved["scalar"], np.float32(2.5))
    assert same(saved["empty"], np.zeros((0, 3), np.float32))
    assert same(saved["parameter"], np.float32([7, 7]))


def test_every_type_keeps_its_values(saved):
    assert set(saved["types"]) == set(TYPES)
    for name, dtype in TYPES.items():
        assert same(saved["types"][name], np.array([0, 1, 1]).astype(dtype)), name


def test_what_is_no_tensor_is_plain_python(saved):
    assert saved["size"] == (2, 3, 4)
    assert saved["device"] == "cuda:0"
    assert saved["dtype"] == "float32"
    assert same(saved["numpy"], np.arange(6, dtype=np.int32).reshape(2, 3))
    assert saved["number"] == 0.25 and saved["step"] == 12
    assert saved["list"] == [1, "two", None, b"\xff\x00"]


def test_types_that_have_no_storage_class_of_their_own():
    saved = torch_file.load(FILES / "new_types.pt")
    assert same(saved["uint16"], np.uint16([0, 65535]))
    assert same(saved["float8"], np.array([0.5, 1], ml_dtypes.float8_e4m3fn))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda path: Call(os.system, f"touch {path}"), r"posix\.system"),
        (lambda path: Call(eval, f"open({str(path)!r}, 'w')"), r"(__builtin__|builtins)\.eval"),
        (lambda path: Call(np.save, path, np.zeros(1)), r"numpy\.save"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_calls_is_refused_by_name_and_not_run(tmp_path, call, name, protocol):
    target = tmp_path / "was_run.npy"
    path = write_zip(tmp_path / "evil.pt", pickle.dumps({"model": call(target)}, protocol))
    with pytest.raises(CheckpointError, match=rf"{name}\b.*not run"):
        torch_file.load(path)
    assert not target.exists()


def test_a_class_that_is_not_listed_is_refused_by_name_and_not_imported(tmp_path):
    (tmp_path / "surprise.py").write_text("raise SystemExit('imported')")
    path = write_zip(tmp_path / "evil.pt", b"\x80\x02csurprise\nThing\n)R.")
    with pytest.raises(CheckpointError, match=r"surprise\.Thing"):
        torch_file.load(path)
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        torch_file.load(FILES / "module.pt")


def test_listed_names_cannot_be_changed_by_the_file(tmp_path):
    # opcodes: a listed name, then BUILD with attributes to set
    for name in ("torch._utils\n_rebuild_parameter", "collections\nOrderedDict", "numpy\ndtype"):
        write_zip(tmp_path / "evil.pt", f"\x80\x02c{name}\n}}}}S'__name__'\nS'changed'\ns\x86b.".encode("latin1"))
        with pytest.raises(CheckpointError, match="damaged"):
            torch_file.load(tmp_path / "evil.pt")


def test_tensors_stay_within_their_storage(tmp_path):
    data = (FILES / "legacy.pt").read_bytes()
    strides = b"K\x0cK\x04K\x01\x87"  # of the first tensor
    assert data.count(strides) == 1
    path = tmp_path / "far.pt"
    path.write_bytes(data.replace(strides, b"K\xfcK\x04K\x01\x87"))
    with pytest.raises(CheckpointError, match="reaches element 264 of a storage of 24"):
        torch_file.load(path)


def test_storages_have_the_size_that_the_pickle_says(tmp_path):
    path = tmp_path / "short.pt"
    with zipfile.ZipFile(FILES / "zip.pt") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[: 40 if name.endswith("data/0") else None])
    with pytest.raises(CheckpointError, match="storage 0 has 40 bytes, 24 float32 have 96"):
        torch_file.load(path)


@pytest.mark.parametrize("order", "<>F")
def test_numpy_arrays_of_any_order_keep_their_values(tmp_path, order):
    grid = np.asfortranarray(GRID) if order == "F" else GRID.astype(f"{order}f4")
    path = write_zip(tmp_path / "arrays.pt", pickle.dumps([grid, np.array(["a", "bc"]), grid[0, 0, 1]], 2))
    got, text, number = torch_file.load(path)
    assert np.array_equal(got, GRID) and list(text) == ["a", "bc"] and number == 1


def test_numpy_arrays_of_objects_are_refused(tmp_path):
    for array in (np.array([None, 1], object), np.zeros(1, [("a", "f4")])):
        with pytest.raises(CheckpointError, match="only numbers and text"):
            torch_file.load(write_zip(tmp_path / "objects.pt", pickle.dumps(array, 2)))


@pytest.mark.parametrize("kind", ["zip", "legacy"])
@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(tmp_path, kind, part):
    data = (FILES / f"{kind}.pt").read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(CheckpointError, match=r"cut\.pt: "):
        torch_file.load(path)


def test_other_files_are_refused(tmp_path):
    for content in (b"", b"hello", pickle.dumps({"a": 1}), b"\x93NUMPY\x01\x00"):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"not a file of torch\.save"):
            torch_file.load(tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"none\.pt: cannot be read: No such file"):
        torch_file.load(tmp_path / "none.pt")
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    with pytest.raises(CheckpointError, match=r"no data\.pkl"):
        torch_file.load(tmp_path / "other.npz")
    with pytest.raises(CheckpointError, match="conj"):
        torch_file.load(FILES / "conjugate.pt")


def test_compressed_archives_are_read_too(tmp_path):
    path = tmp_path / "small.pt"
    with zipfile.ZipFile(FILES / "zip.pt") as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert same(torch_file.load(path)["model"]["module.weight"], GRID)


def test_a_small_file_that_inflates_without_bound_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(2**26))
    with pytest.raises(CheckpointError, match=r"bomb\.pt: a zip file of \d+ bytes that inflates to 67108\d+"):
        torch_file.load(path)


@pytest.mark.parametrize("kind", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path, kind):
    kind(tmp_path / "odd")
    for read in (torch_file.load, safetensors_file.load):
        with pytest.raises(CheckpointError, match="odd: no regular file but a folder, a pipe or a device"):
            read(tmp_path / "odd")
    if kind is os.mkfifo:
        with pytest.raises(CheckpointError, match="no regular file"):
            load(tmp_path / "odd", NCSNpp(features=8), 8)


@pytest.mark.parametrize("header", [b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe"])
def test_a_header_that_is_no_json_is_refused(tmp_path, header):
    path = tmp_path / "deep.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match=r"deep\.safetensors: not a safetensors file, or a damaged one"):
        safetensors_file.load(path)


def test_a_header_longer_than_the_format_allows_is_refused(tmp_path):
    path = tmp_path / "long.safetensors"
    path.write_bytes((10**12).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="a header of 1000000000000 bytes"):
        safetensors_file.load(path)
