"""Some classes of a data set, numbered anew."""

import numpy as np
import pytest

from scorejax.data import Dataset, load
from scorejax.data.subset import subset


def test_the_chosen_classes_are_kept_in_place_and_numbered_in_the_order_they_were_named():
    whole, part = load("digits"), load("digits", classes=(8, 3))
    kept = np.isin(whole.labels, (3, 8))
    np.testing.assert_array_equal(part.examples, whole.examples[kept])
    np.testing.assert_array_equal(np.array([8, 3])[part.labels], whole.labels[kept])
    assert (part.name, part.num_classes, part.label_names) == ("digits[8,3]", 2, ("8", "3"))
    assert (part.gray_levels, part.shape, part.labels.dtype) == (whole.gray_levels, whole.shape, np.int32)


def test_one_class_is_a_data_set_and_vectors_are_chosen_from_too(tmp_path):
    assert set(load("digits", "test", classes=[8]).labels) == {0}
    lower = load("moons", classes=(1,))
    assert (lower.num_classes, lower.label_names) == (1, ("lower",))
    assert lower.examples[:, 1].mean() < 0
    np.savez(tmp_path / "a.npz", x=np.arange(40.0).reshape(20, 2), labels=np.arange(20) % 4)
    own = load("npz", path=tmp_path / "a.npz", classes=(2, 0))
    np.testing.assert_array_equal(own.examples[:, 0] / 2 % 4, np.array([2, 0])[own.labels])


@pytest.mark.parametrize("classes", [(), (3, 3), (10,), (-1, 2)])
def test_classes_that_do_not_exist_or_come_twice_are_refused(classes):
    with pytest.raises(ValueError, match=r"different labels among 0..9 of 'digits'"):
        load("digits", classes=classes)


def test_a_set_without_labels_or_without_such_examples_is_refused():
    with pytest.raises(ValueError, match="'gaussian' has none"):
        load("gaussian", classes=(0,))
    vectors = np.zeros((2, 1), np.float32)
    with pytest.raises(ValueError, match="class labels, but 'texts' has none"):
        subset(Dataset("texts", vectors, vectors), (0,))
    examples = Dataset("few", np.zeros((2, 1), np.float32), np.zeros(2, np.int32), num_classes=3)
    with pytest.raises(ValueError, match=r"no example of the classes \(2, 1\)"):
        subset(examples, (2, 1))
