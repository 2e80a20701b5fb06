"""Folders as people have them: splits and classes by the names of folders, and much that is no data."""

import logging
import os

import numpy as np
import pytest
from image_files import png

from scorejax.data import compare, load, notice

SIDE = 4


def picture(value, side=SIDE, color=False):
    levels = np.full((side, side, 3) if color else (side, side), value)
    return png(levels, 8, 2 if color else 0)


def many(count, pattern="{}.png", **how):
    return {pattern.format(i): picture(i, **how) for i in range(count)}


def tree(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            (root / name).mkdir()
        elif isinstance(content, str):
            (root / name).symlink_to(root / content)
        else:
            (root / name).write_bytes(content)
    return root


SPLITS = {**many(6, "train/{}.png")}
READ = {  # name -> (files, split -> (values, classes), what is said of them)
    "train and test": (
        {**SPLITS, **many(2, "test/{}.png")},
        {"train": (range(6), None), "test": (range(2), None)},
        None,
    ),
    **{
        f"train and {name}": (
            {**SPLITS, **many(3, name + "/{}.png")},
            {"train": (range(6), None), "test": (range(3), None), name.lower(): (range(3), None)},
            f"its folder '{name}' serves as the test split",
        )
        for name in ("val", "valid", "Validation", "validate", "dev", "eval", "Evaluation")
    },
    "training and testing": (
        {**many(6, "Training/{}.png"), **many(2, "testing/{}.png"), **many(3, "dev/{}.png")},
        {"train": (range(6), None), "test": (range(2), None), "dev": (range(3), None)},
        None,
    ),
    "a lonely training": ({**many(30, "training/b/{}.png")}, {"both": (range(30), [0] * 30)}, None),
    **{
        f"a class called {name}": (
            {**many(30, f"{name}/{{}}.png"), **many(30, "zebra/{}.png")},
            {"both": ([*range(30)] * 2, [0] * 30 + [1] * 30)},
            f"taken for classes, not splits: {name}; folders of splits are called train and test",
        )
        for name in ("train", "valid", "training_set", "test-tubes", "dev2")
    },
    "classes that begin like splits": (
        {**many(30, "trainer/{}.png"), **many(30, "valley/{}.png")},
        {"both": ([*range(30)] * 2, [0] * 30 + [1] * 30)},
        None,
    ),
    "all three": (
        {**SPLITS, **many(2, "test/{}.png"), **many(3, "val/{}.png")},
        {"train": (range(6), None), "test": (range(2), None), "val": (range(3), None)},
        None,
    ),
    "upper case": ({**many(6, "Train/{}.png"), **many(2, "TEST/{}.png")}, {"test": (range(2), None)}, None),
    "a folder that is no split": (
        {**SPLITS, **many(2, "test/{}.png"), **many(2, "more/{}.png")},
        {"train": (range(6), None)},
        "its other folders are not read: more",
    ),
    "classes of splits": (
        {**many(3, "train/b/{}.png"), **many(2, "train/a/{}.png"), **many(2, "test/b/{}.png")},
        {"train": ([0, 1, 0, 1, 2], [0, 0, 1, 1, 1]), "test": ([0, 1], [1, 1])},
        None,
    ),
    "hidden": (
        {
            **many(30, "a/{}.png"),
            **many(9, ".cache/{}.png"),
            **many(9, "__MACOSX/{}.png"),
            "a/.DS_Store": b"x",
            "a/.hidden.png": picture(200),
        },
        {"both": (range(30), [0] * 30)},
        None,
    ),
    "foreign": (
        {**many(30), "._0.png": b"\0\5\x16\7\0", "notes.pdf": b"%PDF", "labels.csv": b"1", "Thumbs.db": b"x"},
        {"both": (range(30), None)},
        "4 files under .* are no pictures and were skipped: ._0.png, Thumbs.db, labels.csv, ...",
    ),
    "links": (
        {**many(30, "a/{}.png"), "b": "a", "a/up": ".", "gone.png": "nowhere"},
        {"both": ([*range(30)] * 2, [0] * 30 + [1] * 30)},
        "1 files under .* are no pictures and were skipped: gone.png",
    ),
    "links to themselves": (
        {**many(30, "a/{}.png"), "self": "self", "round.png": "about.png", "about.png": "round.png"},
        {"both": (range(30), [0] * 30)},
        "3 files under .* are no pictures and were skipped: about.png, round.png, self",
    ),
    "names in other codes": (
        {**many(30, os.fsdecode(b"caf\xe9/{}\xff.png"))},
        {"both": (range(30), [0] * 30)},
        None,
    ),
    "images of and without a class": (
        {**many(30), **many(30, "a/{}.png")},
        {"both": ([*range(30)] * 2, None)},
        "30 images lie directly in .*: these are not taken for classes",
    ),
    "an empty class": (
        {**many(30, "b/{}.png"), "a": None},
        {"both": (range(30), [0] * 30)},
        "folders without an image are no classes: a",
    ),
    "one color": (
        {**many(60), "60.png": picture(60, color=True)},
        {"both": (range(61), None)},
        None,
    ),
    "a lonely train": (
        {**many(30, "train/b/{}.png"), **many(30, "train/a/{}.png")},
        {"both": ([*range(30)] * 2, [0] * 30 + [1] * 30)},
        None,
    ),
}


@pytest.mark.parametrize("name", READ)
def test_folders_are_read_as_people_name_them(name, tmp_path, caplog):
    files, wanted, said = READ[name]
    root = tree(tmp_path / "root", files)
    with caplog.at_level(logging.INFO, logger="absl"):
        found = {s: load("folder", s, path=root, cache_dir=tmp_path / "c") for s in ("train", "test")}
        compare(found["train"], found["test"])
        for split, (values, classes) in wanted.items():
            parts = (
                [found["train"], found["test"]]
                if split == "both"
                else [load("folder", split, path=root, cache_dir=tmp_path / "c")]
            )
            seen = np.concatenate([part.examples[:, 0, 0, 0] for part in parts])
            assert sorted(seen.tolist()) == sorted(values)
            if classes is None:
                assert all(part.labels is None for part in parts)
            else:
                labels = np.concatenate([part.labels for part in parts])
                assert sorted(zip(labels, seen, strict=True)) == sorted(zip(classes, values, strict=True))
    lines = [r.getMessage() for r in caplog.records if str(root) in r.getMessage() and "decoding" not in r.getMessage()]
    assert len(lines) == (said is not None)
    if said is not None:
        import re

        assert re.search(said, lines[0])


REFUSED = {
    "five": (many(5), {}, r"5 images: none is left for the test split; put some into a folder named test .*test_frac"),
    "all for testing": (many(2), {"test_fraction": 0.99}, "2 images: none is left for the train split"),
    "a share": (many(5), {"test_fraction": 1.0}, "test_fraction = 1.0; it is a share"),
    "no size": (many(30), {"size": 0}, "size = 0; it is a number of pixels, at least 1"),
    "no crop": (many(30), {"crop": -1}, "crop = -1; it is a number of pixels"),
    "nothing": ({"notes.txt": b"x"}, {}, "no image that can be read lies under"),
    "nothing in test": ({**SPLITS, "test": None}, {}, "no image that can be read lies under .*test"),
    "cut off": ({**many(30), "7.png": picture(7)[:50]}, {}, r"7\.png is damaged"),
    "no picture inside": ({**many(30), "7.png": b"hello"}, {}, r"7\.png is no picture that can be read"),
    "sizes": ({**many(30), "7.png": picture(7, 5)}, {}, r"differ in size: .* size=N"),
    "sizes of splits": (
        {**SPLITS, **many(2, "test/{}.png", side=5)},
        {},
        "'train' are .* 4x4x1 .* 'test' are .* 5x5x1",
    ),
    "colors of splits": ({**SPLITS, **many(2, "test/{}.png", color=True)}, {}, "4x4x1 .* 4x4x3"),
    "two of a name": ({**SPLITS, **many(2, "test/{}.png"), **many(2, "Test/{}.png")}, {}, "both 'Test' and 'test'"),
    "two words for a split": (
        {**SPLITS, **many(2, "testing/{}.png"), **many(2, "test/{}.png")},
        {},
        "both 'test.* keep",
    ),
    **{
        " and ".join(names): (
            {name: content for folder in names for name, content in many(30, folder + "/{}.png").items()},
            {},
            f"holds folders named .*{names[-1]}.* taken for classes, .* call the folders of splits train and test",
        )
        for names in (
            ("test",),
            ("Testing",),
            ("val",),
            ("a", "test"),
            ("train2017", "val2017"),
            ("trainA", "testA"),
            ("images_train", "images_test"),
            ("train", "test_images"),
            ("training set", "evaluation set"),
        )
    },
    "transparent": ({**many(30), "7.png": png(np.full((4, 4, 2), 9), 8, 4)}, {}, r"7\.png has transparent pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_folders_that_cannot_be_read_rightly_are_refused(name, tmp_path):
    files, settings, words = REFUSED[name]
    root = tree(tmp_path / "root", files)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        compare(*(load("folder", s, path=root, cache_dir=tmp_path / "c", **settings) for s in ("train", "test")))


def test_names_in_other_codes_can_be_shown(tmp_path):
    """Bytes that are no UTF-8 become escapes, in the name of the data, of a class, and in what is said of a file."""
    root = tree(tmp_path / os.fsdecode(b"\xfc"), many(30, os.fsdecode(b"caf\xe9/{}\xff.png")))
    found = load("folder", path=root, cache_dir=tmp_path / "c")
    assert (found.name, found.label_names) == (r"\xfc", (r"caf\xe9",))
    tree(root, {os.fsdecode(b"caf\xe9/\xfe.png"): b"hello"})
    with pytest.raises(ValueError, match=r"caf\\xe9/\\xfe\.png is no picture"):
        load("folder", path=root, cache_dir=tmp_path / "c")


def test_a_rule_for_alpha_makes_an_array_of_its_own(tmp_path):
    """White and black of one folder, each decoded once: the cache knows the rule."""
    root = tree(tmp_path / "root", {s: png(np.full((4, 4, 2), 0), 8, 4) for s in ("train/a.png", "test/a.png")})
    seen = [load("folder", path=root, alpha=a, cache_dir=tmp_path / "c").examples[0, 0, 0] for a in ("white", "black")]
    assert [value.tolist() for value in seen] == [[255], [0]]
    assert load("folder", path=root, alpha="keep", cache_dir=tmp_path / "c").shape == (4, 4, 2)


def test_the_depth_of_pictures_is_mentioned_once_whether_they_are_decoded_or_cached(tmp_path, caplog):
    deep = png(np.full((4, 4), 65535), 16)
    root = tree(tmp_path / "root", {f"{split}/{i}.png": deep for split in ("train", "test") for i in range(3)})
    for _ in range(2):
        notice.inform.cache_clear()
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="absl"):
            assert (load("folder", path=root, cache_dir=tmp_path / "c").examples == 255).all()
        said = [r.getMessage() for r in caplog.records if "16-bit" in r.getMessage()]
        rule = "round(v * 255 / 65535); data.depth=full keeps them"
        assert said == [f"16-bit pictures in {root}/train are read as 8-bit ones, {rule}"]


def test_a_damaged_cache_is_made_again_and_one_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    root = tree(tmp_path / "root", {**SPLITS, **many(2, "test/{}.png")})
    first = np.array(load("folder", path=root, cache_dir=tmp_path / "c").examples)
    [kept] = (tmp_path / "c").iterdir()
    for content in (kept.read_bytes()[:-20], b""):
        kept.write_bytes(content)
        np.testing.assert_array_equal(load("folder", path=root, cache_dir=tmp_path / "c").examples, first)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match=r"file.* cannot be read or written: .*SCOREJAX_CACHE"):
        load("folder", path=root, cache_dir=tmp_path / "file" / "c")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(ValueError, match="No space left on device; make room, or set SCOREJAX_CACHE"):
        load("folder", path=root, cache_dir=tmp_path / "d")
    assert not list((tmp_path / "d").iterdir())
