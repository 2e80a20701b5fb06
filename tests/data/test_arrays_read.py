"""Arrays of the user's own: read rightly, or refused with the file, the key and what to do, before memory is taken."""

import logging
import re

import numpy as np
import pytest

from scorejax.data import compare, given, load

N = 40
draw = np.random.default_rng(0)
IMAGES = draw.integers(0, 256, (N, 6, 5), dtype=np.uint8)
COLORS = draw.integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)
VECTORS = draw.normal(size=(N, 2))
CLASSES = np.arange(N) % 3
HOLES = np.where((np.arange(N)[:, None] == 19) & (np.arange(2) == 1), np.nan, VECTORS)


def both(path, **settings):
    found = load("npz", path=path, **settings), load("npz", "test", path=path, **settings)
    compare(*found)
    return found


READ = {  # name -> (arrays, settings, examples, labels, gray levels, names of classes, what is said)
    "gray images": ({"x": IMAGES}, {}, IMAGES[..., None], None, 256, (), None),
    "channels last": ({"x": COLORS}, {}, COLORS, None, 256, (), None),
    "channels first": ({"x": COLORS.transpose(0, 3, 1, 2)}, {"axes": "NCHW"}, COLORS, None, 256, (), None),
    "two channels": ({"x": COLORS[..., :2]}, {}, COLORS[..., :2], None, 256, (), None),
    "channels last, said so": ({"x": COLORS[:, :3]}, {"axes": "NHWC"}, COLORS[:, :3], None, 256, (), None),
    "binary": ({"x": IMAGES // 128}, {}, IMAGES[..., None] // 128, None, 2, (), "have 2 gray levels"),
    "bool": ({"x": IMAGES > 127}, {}, IMAGES[..., None] // 128, None, 2, (), "have 2 gray levels"),
    "binary, said so": ({"x": IMAGES // 128}, {"gray_levels": 17}, IMAGES[..., None] // 128, None, 17, (), None),
    "black": ({"x": IMAGES * 0}, {}, IMAGES[..., None] * 0, None, 256, (), None),
    "vectors": ({"x": VECTORS}, {}, VECTORS, None, None, (), None),
    "vectors, far": ({"x": VECTORS + 1e9}, {}, VECTORS + 1e9, None, None, (), None),
    "a constant column": ({"x": VECTORS * [1, 0] + 0.1}, {}, VECTORS * [1, 0] + 0.1, None, None, (), None),
    "half precision": ({"x": np.float16(VECTORS)}, {}, np.float16(VECTORS), None, None, (), None),
    "of the other byte order": ({"x": VECTORS.astype(">f4")}, {}, np.float32(VECTORS), None, None, (), None),
    "a table of bytes": ({"x": IMAGES[:, 0]}, {}, IMAGES[:, 0], None, None, (), None),
    "a table of bools": ({"x": IMAGES[:, 0] > 99}, {}, IMAGES[:, 0] > 99, None, None, (), None),
    "whole vectors": ({"x": CLASSES[:, None]}, {}, CLASSES[:, None], None, None, (), None),
    "series": ({"x": VECTORS[:, :, None]}, {}, VECTORS[:, :, None], None, None, (), None),
    "series, channels first": (
        {"x": VECTORS.reshape(N, 1, 2)},
        {"axes": "NCL"},
        VECTORS[:, :, None],
        None,
        None,
        (),
        None,
    ),
    "series of one channel": ({"x": VECTORS}, {"axes": "NL"}, VECTORS[:, :, None], None, None, (), None),
    "series of bytes": ({"x": IMAGES}, {"axes": "nlc"}, IMAGES, None, 256, (), None),
    "volumes": ({"x": COLORS[..., None]}, {}, COLORS[..., None], None, 256, (), None),
    "volumes, channels first": (
        {"x": COLORS[:, None] * 1.0},
        {"axes": "NCDHW"},
        COLORS[..., None],
        None,
        None,
        (),
        None,
    ),
    "fields": ({"x": COLORS / 255}, {}, COLORS / 255, None, None, (), None),
    "sides in another order": (
        {"x": COLORS / 255},
        {"axes": "NWHC"},
        COLORS.transpose(0, 2, 1, 3) / 255,
        None,
        None,
        (),
        None,
    ),
    "16 bit": ({"x": IMAGES * np.uint16(257)}, {}, IMAGES[..., None] * np.uint16(257), None, None, (), "as images of"),
    "16 bit below 0": ({"x": COLORS - np.int16(99)}, {}, COLORS - np.int16(99), None, None, (), None),
    "classes": ({"x": IMAGES, "labels": CLASSES}, {}, IMAGES[..., None], CLASSES, 256, (), None),
    "a column": ({"x": IMAGES, "labels": CLASSES[:, None]}, {}, IMAGES[..., None], CLASSES, 256, (), None),
    "yes and no": ({"x": IMAGES, "labels": CLASSES > 0}, {}, IMAGES[..., None], CLASSES > 0, 256, (), None),
    "texts": (
        {"x": IMAGES, "labels": np.array(["eel", "cat", "dog"])[CLASSES]},
        {},
        IMAGES[..., None],
        np.array([2, 0, 1])[CLASSES],
        256,
        ("cat", "dog", "eel"),
        None,
    ),
    "bytes": (
        {"x": IMAGES, "labels": np.array([b"b", b"a", b"c"])[CLASSES][:, None]},
        {},
        IMAGES[..., None],
        np.array([1, 0, 2])[CLASSES],
        256,
        ("a", "b", "c"),
        None,
    ),
    "a number as condition": (
        {"x": IMAGES, "labels": VECTORS[:, :1]},
        {},
        IMAGES[..., None],
        VECTORS[:, :1].astype(np.float32),
        256,
        (),
        None,
    ),
    "whole numbers as condition": (
        {"x": IMAGES, "labels": CLASSES[:, None] == np.arange(3)},
        {},
        IMAGES[..., None],
        np.float32(CLASSES[:, None] == np.arange(3)),
        256,
        (),
        "'labels' of shape (40, 3) are taken for embeddings of 3 numbers, not for classes, which are whole numbers [N]",
    ),
    "from 1": (
        {"x": IMAGES, "labels": CLASSES + 1},
        {},
        IMAGES[..., None],
        CLASSES + 1,
        256,
        (),
        "the labels of split 'train' run from 1 to 3: class 0 has no example",
    ),
    "gaps": (
        {"x": IMAGES, "labels": CLASSES * 4},
        {},
        IMAGES[..., None],
        CLASSES * 4,
        256,
        (),
        "run from 0 to 8: classes 1, 2, 3, 5, 6, 7 have no example",
    ),
    "a class of the test split alone": (
        {"x": IMAGES, "labels": np.where(np.arange(N) == 9, "eel", np.array(["cat", "dog"])[CLASSES % 2])},
        {},
        IMAGES[..., None],
        np.where(np.arange(N) == 9, 2, CLASSES % 2),
        256,
        ("cat", "dog", "eel"),
        "run from 0 to 1: class 2 (eel) has no example",
    ),
    "a key more": (
        {"x": IMAGES, "y": CLASSES},
        {},
        IMAGES[..., None],
        None,
        256,
        (),
        "keys not read: y; examples are read from x, labels from labels",
    ),
}


@pytest.mark.parametrize("name", READ)
def test_arrays_are_read_as_people_store_them(name, tmp_path, caplog):
    stored, settings, examples, labels, levels, names, said = READ[name]
    np.savez(tmp_path / "a.npz", **stored)
    with caplog.at_level(logging.INFO, logger="absl"):
        train, test = both(tmp_path / "a.npz", **settings)
    in_test = np.arange(N) % 10 == 9
    for found, rows in ((train, ~in_test), (test, in_test)):
        np.testing.assert_array_equal(found.examples, examples[rows])
        assert (found.gray_levels, found.label_names) == (levels, names)
        if labels is None:
            assert found.labels is None
        else:
            np.testing.assert_array_equal(found.labels, labels[rows])
            assert found.num_classes == (0 if labels.dtype == np.float32 else labels.max() + 1)
    assert len(caplog.records) == (said is not None)
    assert said is None or said in caplog.text


def test_a_plain_npy_file_holds_examples(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    train, test = both(tmp_path / "a.npy")
    assert (len(train), len(test), train.shape) == (36, 4, (6, 5, 1))
    np.testing.assert_array_equal(given(tmp_path / "a.npy", (6, 5, 1), 256)[..., 0], IMAGES)


def test_validation_examples_serve_as_the_test_split_where_there_is_none(tmp_path, caplog):
    np.savez(tmp_path / "a.npz", Train=IMAGES, val=IMAGES[:7], Train_labels=CLASSES, val_labels=CLASSES[:7])
    with caplog.at_level(logging.INFO, logger="absl"):
        assert [len(part) for part in both(tmp_path / "a.npz")] == [N, 7]
    assert "its key 'val' serves as the test split" in caplog.text
    np.savez(tmp_path / "c.npz", training=IMAGES, dev=IMAGES[:7], training_labels=CLASSES, dev_labels=CLASSES[:7])
    assert [len(part) for part in both(tmp_path / "c.npz")] == [N, 7]
    np.savez(tmp_path / "b.npz", train=IMAGES, val=IMAGES[:7], test=IMAGES[:3])
    assert [len(load("npz", s, path=tmp_path / "b.npz")) for s in ("train", "val", "test")] == [N, 7, 3]


def test_gray_levels_and_classes_are_found_over_all_splits(tmp_path):
    arrays = {"train": IMAGES // 128, "test": IMAGES[:5], "train_labels": CLASSES, "test_labels": CLASSES[:5] * 0}
    np.savez(tmp_path / "a.npz", **arrays)
    train, test = both(tmp_path / "a.npz")
    assert train.gray_levels == test.gray_levels == 256 and train.num_classes == test.num_classes == 3


REFUSED = {
    "float labels": ({"x": IMAGES, "labels": VECTORS[:, 0]}, "'labels' is float64 .* store.* labels[:, None]"),
    "whole float labels": ({"x": IMAGES, "labels": CLASSES * 1.0}, "store labels.astype(int)"),
    "short labels": ({"x": IMAGES, "labels": CLASSES[:30]}, "'labels' holds 30 labels for 40 examples"),
    "one label": ({"x": IMAGES, "labels": np.int64(3)}, "'labels' holds one value for 40 examples"),
    "negative labels": ({"x": IMAGES, "labels": CLASSES - 1}, "run from -1 to 1"),
    "scattered labels": ({"x": IMAGES, "labels": CLASSES * 10**9}, "to 2000000000 for 40 .* return_inverse"),
    "complex labels": ({"x": IMAGES, "labels": CLASSES * 1j}, "'labels' is complex128"),
    "labels of no number": ({"x": IMAGES, "labels": VECTORS[:, :0]}, "labels are float32 of shape (36, 0)"),
    "sequences of no vector": ({"x": IMAGES, "labels": np.zeros((N, 0, 3))}, "labels are float32 of shape (36, 0, 3)"),
    "labels beyond float32": (
        {"x": IMAGES, "labels": np.where(np.isnan(HOLES), 1e300, HOLES)},
        "row 19 of 'labels', column 1 is inf",
    ),
    "holes in labels": ({"x": IMAGES, "labels": HOLES}, "row 19 of 'labels', column 1 is nan"),
    "labels of one split": ({"train": IMAGES, "test": IMAGES, "train_labels": CLASSES}, "but not 'test_labels'"),
    "labels of two kinds": (
        {"train": IMAGES, "test": IMAGES, "train_labels": CLASSES, "test_labels": VECTORS},
        "'train_labels' holds classes, 'test_labels' holds embeddings",
    ),
    "channels first": ({"x": COLORS.transpose(0, 3, 1, 2)}, "6x5 pixels of 3 channels (NCHW), which is likelier; set"),
    "channels anywhere": (
        {"x": COLORS[:, :3]},
        "3x5 pixels of 3 channels (NHWC) or 5x3 pixels of 3 channels (NCHW); set",
    ),
    "no examples": ({"x": IMAGES[:0]}, "no example at all"),
    "three": ({"x": IMAGES[:3]}, "'x' holds 3 examples: none is left for the test split"),
    "series either way": (
        {"x": VECTORS.reshape(N // 2, 1, 4)},
        "1 steps of 4 channels (NLC) or 4 steps of 1 channels (NCL); set data.axes to NLC or NCL",
    ),
    "fields either way": (
        {"x": np.zeros((N, 3, 64, 64))},
        "3x64 pixels of 64 channels (NHWC) or 64x64 pixels of 3 channels (NCHW), which is likelier; set data.axes",
    ),
    "volumes either way": ({"x": np.zeros((N, 2, 4, 4, 4))}, "4x4x4 voxels of 2 channels (NCDHW); set data.axes"),
    "six axes": ({"x": COLORS[..., None, None]}, "wanted tables [N, D], series [N, L, C], images"),
    "no channel": ({"x": COLORS[..., :0]}, "of shape (40, 6, 5, 0); wanted tables"),
    "complex numbers": ({"x": VECTORS * 1j}, "'x' is complex128 .* as two channels"),
    "texts": ({"x": np.array([["a", "b"]] * N)}, "'x' is <U1 .* store numbers"),
    "dates": ({"x": np.zeros((N, 2), "M8[s]")}, "'x' is datetime64[s] .* store times as numbers"),
    "numbers": ({"x": VECTORS[:, 0]}, "store x[:, None]"),
    "objects": ({"x": np.array([None] * N)}, "'x' holds Python objects"),
    "a hole": ({"x": HOLES}, "row 19 of 'x' (test split), column 1 is nan"),
    "a hole in a split": ({"train": VECTORS, "test": HOLES}, "row 19 of 'test', column 1 is nan"),
    "too large": ({"x": np.where(np.isnan(HOLES), -np.inf, HOLES)}, "row 19 of 'x' (test split), column 1 is -inf"),
    "many holes": ({"x": np.where(VECTORS > 0, np.nan, VECTORS)}, "is nan (the first of "),
    "shapes of splits": ({"train": IMAGES, "test": IMAGES[:, :4]}, "'train' are .* 6x5x1 .* 'test' are .* 4x5x1"),
    "kinds of splits": ({"train": IMAGES, "test": VECTORS}, "images of shape 6x5x1, .* vectors of shape 2"),
    "no key": ({"images": IMAGES}, "holds ['images']; wanted 'x'"),
}


def pattern(words):
    return ".*".join(map(re.escape, words.split(".*")))


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_of_other_kinds_are_refused_with_what_to_do(name, tmp_path):
    stored, words = REFUSED[name]
    np.savez(tmp_path / "a.npz", **stored)
    with pytest.raises(ValueError, match=pattern(words)) as error:
        both(tmp_path / "a.npz")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"axes": "HWC"}, "axes = 'HWC'; write N for examples, C for channels"),
        ({"axes": "NHWW"}, "axes = 'NHWW'; write N"),
        ({"axes": "NHWC"}, r"has 3 axes, data.axes=NHWC names 4"),
        (
            {"quantum": 0.3},
            "a.npz holds 130, which lies between two multiples of the quantum 0.3 above 0; set data.quantum",
        ),
        ({"test_fraction": 0.0}, "test_fraction = 0.0; it is a share above 0"),
        ({"test_fraction": 0.9}, "at most 0.5"),
        ({"gray_levels": 2}, "a pixel is 25"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words, tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES)
    with pytest.raises(ValueError, match=words):
        both(tmp_path / "a.npz", **settings)


def holed(split):
    from scorejax.data import Dataset

    return Dataset("mine", HOLES.astype(np.float32), VECTORS.astype(np.float32))


def test_every_source_is_searched_for_numbers_that_are_not_finite():
    with pytest.raises(ValueError, match="mine: row 19 of the examples of split 'test', column 1 is nan"):
        load(holed, "test")
