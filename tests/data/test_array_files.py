"""Files of arrays that are damaged, too large or of another kind: refused by name, before memory is taken."""

import io
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from scorejax.data import given, load

draw = np.random.default_rng(0)
IMAGES = draw.integers(0, 256, (40, 6, 5), dtype=np.uint8)
VECTORS = draw.normal(size=(40, 2))


def both(path):
    return load("npz", path=path), load("npz", "test", path=path)


def whole(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def promising(shape, dtype, content=b"", compression=zipfile.ZIP_STORED):
    """An `.npz` whose header promises an array of a shape; what follows is `content`."""
    member, out = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(out, "w", compression) as archive, archive.open("x.npy", "w", force_zip64=True) as file:
        file.write(member.getvalue())
        for part in [content] if isinstance(content, bytes) else content:
            file.write(part)
    return out.getvalue()


GOOD = whole(x=IMAGES)
BROKEN = bytearray(GOOD)
BROKEN[len(GOOD) // 2] ^= 1
DAMAGED = {
    "empty.npz": b"",
    "cut.npz": GOOD[: len(GOOD) // 2],
    "flipped.npz": bytes(BROKEN),
    "text.npz": b"hello",
    "header.npz": promising((10**15,), "<f8"),
    "cut.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", 4000),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_by_name(name, tmp_path):
    (tmp_path / name).write_bytes(DAMAGED[name])
    for door in (lambda: both(tmp_path / name), lambda: given(tmp_path / name, (6, 5, 1), 256)):
        with pytest.raises(ValueError, match=re.escape(str(tmp_path / name))) as error:
            door()
        assert "\n" not in str(error.value)


def test_a_header_is_held_against_the_bytes_that_follow(tmp_path):
    (tmp_path / "a.npz").write_bytes(promising((10, 1), "<f8", bytes(64)))
    np.save(tmp_path / "b.npy", VECTORS)
    (tmp_path / "b.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:-8])
    for name, words in (("a.npz", "80 bytes, but 64 are there"), ("b.npy", "640 bytes, but 632 are there")):
        with pytest.raises(ValueError, match=f"is damaged: 'x' should be float64 .*{words}"):
            both(tmp_path / name)


def test_a_flipped_byte_is_found_or_harmless(tmp_path):
    """Each byte of an `.npz` in turn: the arrays are those that were written, or the file is refused by name."""
    file, rng = tmp_path / "a.npz", np.random.default_rng(0)
    for place in rng.choice(len(GOOD), 150, replace=False):
        damaged = bytearray(GOOD)
        damaged[place] ^= 1 << rng.integers(8)
        file.write_bytes(bytes(damaged))
        try:
            found = np.concatenate([part.examples for part in both(file)])
        except ValueError as error:
            assert str(file) in str(error)
        else:
            assert np.array_equal(np.sort(found.ravel()), np.sort(IMAGES.ravel()))


def test_what_would_not_fit_into_memory_is_refused_before_it_is_taken(tmp_path, monkeypatch):
    """A small file that inflates a thousandfold, and one that is honest but larger than half of what is free."""
    zeros = promising((2**17, 8, 8), "|u1", bytes(2**23), zipfile.ZIP_DEFLATED)
    (tmp_path / "a.npz").write_bytes(zeros)
    np.savez(tmp_path / "b.npz", x=np.zeros((2048, 32, 32), np.uint8))
    monkeypatch.setattr("scorejax.numerics.array_files._free_memory", lambda: 3 * 2**20)
    monkeypatch.setattr("scorejax.numerics.array_files.LARGE", 2**20)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"'x' would grow from 0\.0 MiB on the disk to 8\.0 MiB, .* np\.savez"):
        load("npz", path=tmp_path / "a.npz")
    with pytest.raises(
        ValueError, match=r"holds 2\.0 MiB of arrays; no more than half of the free memory, now 1\.5 MiB"
    ):
        load("npz", path=tmp_path / "b.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("suffix", ["csv", "h5", "mat", "parquet"])
def test_files_of_other_kinds_are_converted_by_numpy(suffix, tmp_path):
    (tmp_path / f"a.{suffix}").write_bytes(b"1,2\n")
    with pytest.raises(ValueError, match=rf"a\.{suffix}' is no \.npz or \.npy file; .* np\.savez"):
        load("npz", path=tmp_path / f"a.{suffix}")
