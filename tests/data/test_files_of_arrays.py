"""The same arrays in files of every kind: equal batches bit for bit, read from the disk, split alike."""

import os
import zipfile

import numpy as np
import pytest

from scorejax.data import Channels, Dataset, Levels, feed, fit, load, sent
from scorejax.data.lazy import Lazy, blocks, chosen
from scorejax.data.remarks import mention_duplicates, mention_repeated
from scorejax.numerics import array_files

draw = np.random.default_rng(0)
SERIES = draw.normal(size=(60, 9, 2))
CLASSES = np.arange(60) % 4
GROUPS = np.repeat(np.arange(15), 4)


def write(kind, folder, **arrays):
    """Write arrays to a file of a kind; return the settings that read it."""
    path = folder / f"data.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "npy":
        np.save(path, arrays["x"])
    elif kind == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(f"run/{name}", data=array, chunks=(5, *array.shape[1:]))
        return {"name": "hdf5", "path": f"{path}:run"}
    else:
        zarr = pytest.importorskip("zarr")
        group = zarr.open_group(str(path), mode="w")
        for name, array in arrays.items():
            group.create_array(name, shape=array.shape, dtype=array.dtype)[:] = array
        return {"name": "zarr", "path": str(path)}
    return {"name": "npz", "path": path}


@pytest.mark.parametrize("kind", ["npy", "h5", "zarr"])
def test_batches_are_equal_bit_for_bit_from_files_of_every_kind_wherever_they_go_on(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "MAPPED", 100)  # so that small files are mapped too
    arrays = {"x": SERIES} if kind == "npy" else {"x": SERIES, "labels": CLASSES}
    expected, found = (
        load(settings.pop("name"), **settings)
        for settings in (write(each, tmp_path, **arrays) for each in ("npz", kind))
    )
    space = Channels(fit(expected.examples), None, "float64")
    assert fit(found.examples) == space.map
    feeders = [feed(sent(each, space), 8, 3, local=(0,), budget_bytes=budget) for each, budget in
               ((expected, 2**20), (found, 2**20), (found, 0))]  # fmt: skip
    for step in (0, 11):
        batches = []
        for feeder in feeders:
            payload = feeder.payload(step, 2)
            if feeder.payload_axis == 0:
                payload = payload._replace(
                    examples=payload.examples[0],
                    labels=None if payload.labels is None else payload.labels[0],
                    first=payload.first[0],
                )
            batches.append(
                [np.asarray(part) for i in range(2) for part in feeder.draw(payload, step + i) if part is not None]
            )
        for other in batches[1:]:
            for ours, theirs in zip(batches[0], other, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    for feeder in feeders:
        feeder.close()


def test_a_large_array_of_an_npz_file_is_mapped_at_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "MAPPED", 100)
    np.savez(tmp_path / "a.npz", labels=CLASSES, x=np.asfortranarray(SERIES), small=np.arange(3))
    found = array_files.mapped(tmp_path / "a.npz", ["x", "labels", "small"])
    assert isinstance(found["x"], np.memmap) and not isinstance(found["small"], np.memmap)
    np.testing.assert_array_equal(found["x"], SERIES)
    np.testing.assert_array_equal(found["labels"], CLASSES)
    with zipfile.ZipFile(tmp_path / "a.npz") as file:
        assert file.getinfo("x.npy").compress_type == zipfile.ZIP_STORED
    np.savez_compressed(tmp_path / "b.npz", x=SERIES)
    assert not isinstance(array_files.mapped(tmp_path / "b.npz", ["x"])["x"], np.memmap)
    train = load("npz", path=tmp_path / "a.npz")
    assert isinstance(train.examples, Lazy) and train.examples.nbytes == 54 * 9 * 2 * 8
    np.testing.assert_array_equal(train.examples[np.array([3, 0, 3])], SERIES[[3, 0, 3]])
    np.testing.assert_array_equal(np.concatenate(list(blocks(train.examples, 7))), SERIES[np.arange(60) % 10 != 9])


def test_examples_of_one_group_stay_together_and_the_last_ones_may_be_held_out(tmp_path):
    np.savez(tmp_path / "a.npz", x=SERIES, scene=GROUPS)
    for settings, held in (
        ({"groups": "scene"}, GROUPS == 9),
        ({"groups": "scene", "held_out": "last", "test_fraction": 0.2}, GROUPS >= 12),
        ({"held_out": "last"}, np.arange(60) >= 54),
        ({}, np.arange(60) % 10 == 9),
    ):
        train, test = (load("npz", split, path=tmp_path / "a.npz", **settings) for split in ("train", "test"))
        np.testing.assert_array_equal(test.examples, SERIES[held])
        np.testing.assert_array_equal(train.examples, SERIES[~held])
    for settings, words in (
        ({"groups": "scenes"}, r"holds \['scene', 'x'\]; data.groups = 'scenes' names an array next to 'x'"),
        ({"groups": "scene", "test_fraction": 0.05}, "'x' holds 15 groups: none is left for the test split"),
    ):
        with pytest.raises(ValueError, match=words):
            load("npz", path=tmp_path / "a.npz", **settings)
    np.savez(tmp_path / "b.npz", x=SERIES, scene=GROUPS[:7])
    with pytest.raises(
        ValueError, match=r"'scene' is int64 of shape \(7,\); groups are .* one for each of 60 examples"
    ):
        load("npz", path=tmp_path / "b.npz", groups="scene")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_text_is_read_by_the_names_of_its_columns(delimiter, tmp_path):
    path = tmp_path / "a.csv"
    rows = [
        ["mass", "count", "kind", "site"],
        *([f"{i / 8}", f"{i % 5}", "ab"[i % 2], f"s{i // 10}"] for i in range(40)),
    ]
    path.write_text("\n".join(delimiter.join(row) for row in rows), "utf-8")
    train = load("csv", path=path, labels="kind", groups="site", held_out="last", test_fraction=0.25)
    assert (train.shape, train.label_names, train.levels, len(train)) == ((2,), ("a", "b"), None, 30)
    np.testing.assert_array_equal(train.examples[:, 0], np.arange(30) / 8)
    counted = load("csv", path=path, columns=("count",))
    assert counted.levels == Levels(0.0, 5) and counted.examples.dtype == np.int64
    assert load("csv", path=path, columns=("mass",), quantum=0.125).levels == Levels(0.0, 40, 0.125)


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("a,b\n1,x\n2,y", {}, "column 'b' holds the text 'x' in line 2; leave it out by data.columns"),
        ("a,b\n1,2\n2,NA\n", {}, "column 'b' has 1 values that are missing or not finite, the first in line 3"),
        ("1,2\n3,4", {}, "its first line begins with numbers; it must give each column a name"),
        ("a,a\n3,4", {}, "names a column twice"),
        ("a,b\n3", {}, "line 2 has 1 fields, the header 2"),
        ("a,b\n", {}, "holds no rows below its header"),
        ("a,b\n1,2", {"columns": ("c",)}, "data.columns names 'c'; its columns are a, b"),
        ("a\n1", {"labels": "a"}, "no column is left for the examples"),
    ],
)
def test_tables_that_cannot_be_read_rightly_are_refused_by_column_and_line(text, settings, words, tmp_path):
    (tmp_path / "a.csv").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=words):
        load("csv", path=tmp_path / "a.csv", **settings)


class Elements:
    """As a set of Grain goes: a length, and elements by number."""

    def __init__(self, keys):
        self.keys = keys

    def __len__(self):
        return 60

    def __getitem__(self, i):
        element = {"x": SERIES[i], "labels": CLASSES[i]}
        return {key: element[key] for key in self.keys} if self.keys else SERIES[i]


from collections.abc import Sequence  # noqa: E402 - next to what it is for

Sequence.register(Elements)


def arrays(split, n=60):
    return {"x": SERIES[:n], "labels": CLASSES[:n]}


def whole(n=60):
    return SERIES[:n]


def grain(split):
    return Elements(("x", "labels"))


def bare():
    return Elements(())


def stream(split):
    return iter(SERIES)


def test_loaders_of_ones_own_return_arrays_or_elements_by_number():
    for loader, count, labels in ((arrays, 60, True), (whole, 54, False), (grain, 60, True), (bare, 54, False)):
        found = load(loader)
        assert len(found) == count and (found.labels is not None) == labels
        rows = np.array([5, 2, 5])
        np.testing.assert_array_equal(
            found.examples[rows], SERIES[np.arange(60) % 10 != 9][rows] if count == 54 else SERIES[rows]
        )
    assert len(load(arrays, n=20)) == 20
    with pytest.raises(ValueError, match=r"'stream' returned .*iterator, which can only be read in its own order"):
        load(stream)
    for returned, words in (
        (lambda split: {"y": SERIES}, r"returned the keys \['y'\]; return"),
        (lambda split: {"x": SERIES, "z": 1}, "returned the keys z too"),
        (lambda split: 7, r"returned int; return \{'x'"),
        (lambda split: {"x": np.full((3, 2), np.nan)}, "column 0 is nan"),
    ):
        with pytest.raises(ValueError, match=words):
            load(returned)


def test_what_is_read_later_is_indexed_as_an_array_is(tmp_path):
    np.save(tmp_path / "a.npy", SERIES)
    later = chosen(np.load(tmp_path / "a.npy", mmap_mode="r"), np.arange(60) % 3 == 0)
    now = SERIES[::3]
    assert (later.shape, later.ndim, later.size) == (now.shape, now.ndim, now.size)
    for index in (3, slice(2, 9, 2), np.array([7, 7, 1]), np.arange(20) > 5, slice(0, 0)):
        np.testing.assert_array_equal(later[index], now[index])
    np.testing.assert_array_equal(np.asarray(later), now)


def test_copies_across_splits_and_repeated_values_are_mentioned(caplog):
    train, test = Dataset("copied", SERIES[:50]), Dataset("copied", SERIES[45:])
    mention_duplicates(train, test)
    assert "5 of 15 examples of split 'test' are also in 'train', such as example 0, number 45 there" in caplog.text
    mention_repeated(Dataset("rounded", np.round(SERIES, 1)))
    assert "of the values of channel 0 are repeated, with gaps down to 0.1" in caplog.text
    caplog.clear()
    mention_duplicates(Dataset("fresh", SERIES[:50]), Dataset("fresh", SERIES[50:]))
    mention_repeated(Dataset("fresh", SERIES))
    assert not caplog.records


def test_a_library_that_is_not_there_is_named_with_its_command(tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__
    from scorejax.data import optional

    monkeypatch.setattr(optional.importlib, "import_module", lambda name: real("no_such_" + name))
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"data = hdf5 needs h5py, which is not installed: pip install h5py, or scorejax\[hdf5\]"
    ):
        load("hdf5", path=os.fspath(tmp_path / "a.h5"))
