import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.lib.format import open_memmap

from scorejax.data import Dataset, compare, describe, fingerprint_of, identity, load

IMAGES = np.arange(5 * 2 * 2, dtype=np.uint8).reshape(5, 2, 2, 1)
CLASSES = np.array([0, 1, 0, 1, 0], np.int32)
SET = Dataset("set", IMAGES, CLASSES, gray_levels=256, num_classes=2, label_names=("cat", "dog"))
VECTORS = Dataset("set", np.zeros((5, 3), np.float32))

CHANGES = {
    "a pixel": {"examples": np.where(IMAGES == 7, 8, IMAGES).astype(np.uint8)},
    "the order": {"examples": IMAGES[::-1]},
    "the shape": {"examples": IMAGES.reshape(5, 4, 1, 1)},
    "a label": {"labels": np.array([0, 1, 0, 1, 1], np.int32)},
    "no labels": {"labels": None, "num_classes": 0, "label_names": ()},
    "gray levels": {"gray_levels": 200},
    "a class more": {"num_classes": 3, "label_names": ("cat", "dog", "eel")},
    "another name of a class": {"label_names": ("cat", "elk")},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_fingerprint_changes_with_the_content(change):
    assert fingerprint_of(replace(SET, **CHANGES[change])) != fingerprint_of(SET)


def test_a_fingerprint_knows_nothing_of_names_and_places(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    mapped = replace(SET, name="other", examples=np.load(tmp_path / "x.npy", mmap_mode="r"))
    strided = replace(SET, examples=np.repeat(IMAGES, 2, axis=0)[::2])
    assert fingerprint_of(mapped) == fingerprint_of(strided) == fingerprint_of(SET)
    assert len(fingerprint_of(SET)) == 16 and int(fingerprint_of(SET), 16)


def test_a_fingerprint_looks_at_64_mib_of_a_large_set_and_at_its_first_row(tmp_path, monkeypatch):
    hashed = []

    class Counting:
        """A digest that counts the bytes that it is given."""

        def __init__(self, begin):
            self.of = hashlib.sha256(begin)

        def update(self, content):
            hashed.append(len(content))
            self.of.update(content)

        def hexdigest(self):
            return self.of.hexdigest()

    monkeypatch.setattr(identity, "hashlib", SimpleNamespace(sha256=Counting))
    file = tmp_path / "x.npy"
    written = open_memmap(file, "w+", np.uint8, (10**5, 64, 64, 3))  # 1.2 GB of holes
    big = Dataset("big", np.load(file, mmap_mode="r"), gray_levels=256)
    before = fingerprint_of(big)
    assert 2**24 < sum(hashed) <= 2**26 + 100
    written[0, 0, 0, 0] = 1
    assert fingerprint_of(big) != before


@pytest.mark.parametrize(
    ("train", "test", "line"),
    [
        (load("digits"), load("digits", "test"), "1,500 train and 297 test images 8x8x1 of 17 gray levels, 10 classes"),
        (load("moons"), None, "20,000 train vectors of 2 numbers, 2 classes"),
        (replace(SET, num_classes=1, labels=CLASSES * 0, label_names=()), SET, "256 gray levels, 1 class"),
        (replace(VECTORS, examples=np.zeros((5, 1), np.float32)), None, "5 train vectors of 1 number"),
        (replace(VECTORS, labels=np.zeros((5, 7, 4), np.float32)), None, "conditions of 7 x 4 numbers"),
    ],
)
def test_a_data_set_is_described_in_a_line(train, test, line):
    assert line in describe(train, test)


PAIRS = {
    "sizes": (
        {"examples": IMAGES.reshape(5, 4, 1, 1)},
        "images of shape 2x2x1 .* of shape 4x1x1 .*; bring .* to one size .*=N\\)\\.$",
    ),
    "channels": ({"examples": np.repeat(IMAGES, 3, -1)}, "2x2x1 .* 2x2x3 .*; save .* in color, or of both in gray.$"),
    "both": ({"examples": np.zeros((5, 4, 4, 3), np.uint8)}, "; bring .*, and save the images of both in color, or"),
    "gray levels": ({"gray_levels": 200}, "with 256 gray levels, .* with 200 gray levels; store both with the same"),
    "classes": ({"num_classes": 3, "label_names": ()}, "2 classes with names, .* 3 classes without names"),
    "names of classes": ({"label_names": ("cat", "elk")}, "is called 'dog' in split 'train' and 'elk' in split 'test'"),
    "labels": (CHANGES["no labels"], "2 classes .* absent; give labels of one kind to both, or to neither"),
    "embeddings": (
        {"labels": np.zeros((5, 4), np.float32), "num_classes": 0, "label_names": ()},
        "2 classes .* embeddings of shape 4",
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_splits_of_two_kinds_are_refused_with_both(pair):
    change, message = PAIRS[pair]
    with pytest.raises(ValueError, match=f"set: .*{message}"):
        compare(SET, replace(SET, **change))


def test_splits_of_one_kind_pass_with_any_numbers():
    compare(load("digits"), load("digits", "test"))
    with pytest.raises(
        ValueError,
        match=r"split 'train' are images .* 'dev' are vectors of shape 3; give images to both, or vectors to both",
    ):
        compare(replace(SET, **CHANGES["no labels"]), VECTORS, names=("train", "dev"))
    with pytest.raises(ValueError, match=r"vectors of shape 3, .* of shape 2; give vectors of one length to both"):
        compare(VECTORS, replace(VECTORS, examples=VECTORS.examples[:, :2]))
