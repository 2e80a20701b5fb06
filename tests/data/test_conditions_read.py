"""Arrays called `condition.NAME`: what each is, in which units it is held, and what is said where one does not fit."""

import numpy as np
import pytest

from scorejax import data
from scorejax.numerics.conditions import Condition

N, SIDES = 40, (3, 4)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, *SIDES, 2)).astype(np.float32)
LEVEL = 300 + 20 * RNG.standard_normal(N)
LEVEL[3] = np.nan
KIND = np.where(np.arange(N) == 5, "", np.array(["dog", "cat", "eel"])[np.arange(N) % 3])
WIND, TEXT, MAP = RNG.standard_normal((N, 3)), RNG.standard_normal((N, 2, 5)), 7 + RNG.standard_normal((N, *SIDES))
GIVEN = {"level": LEVEL, "kind": KIND, "wind": WIND, "text": TEXT, "map": MAP}
IN_TEST = np.arange(N) % 10 == 9


def stored(folder, **arrays):
    np.savez(folder / "x.npz", **{key.replace("__", "."): value for key, value in arrays.items()})
    return str(folder / "x.npz")


def everything(folder):
    return stored(folder, x=X, **{f"condition__{name}": array for name, array in GIVEN.items()})


def test_each_kind_is_seen_and_brought_to_the_units_of_the_training_examples(tmp_path):
    path = everything(tmp_path)
    train, test = (data.load("npz", split, path=path) for split in ("train", "test"))
    kinds = [(each.name, each.kind, each.shape) for each in train.conditions]
    assert kinds == [
        ("level", "scalar", ()),
        ("kind", "class", ()),
        ("wind", "vector", (3,)),
        ("text", "sequence", (2, 5)),
        ("map", "field", (*SIDES, 1)),
    ]
    assert train.labels.shape == (36, 1 + 1 + 3 + 10 + 12) and test.labels.dtype == np.float32
    assert train.conditions == test.conditions and train.conditions[1].class_names == ("cat", "dog", "eel")
    np.testing.assert_array_equal(np.argwhere(np.isnan(train.labels)), [[3, 0], [5, 1]])  # absent, and nothing else
    np.testing.assert_array_equal(train.labels[:3, 1], [1, 0, 2])
    of_map = np.concatenate([train.labels[:, 15:], test.labels[:, 15:]])[np.argsort(np.argsort(IN_TEST, stable=True))]
    seen = MAP[~IN_TEST]
    np.testing.assert_allclose(of_map, ((MAP - seen.mean()) / seen.std()).reshape(N, -1), atol=1e-5)
    assert np.nanmean(train.labels[:, 0]) == pytest.approx(0, abs=1e-5)
    line = data.describe(train, test)
    assert (
        "conditions level (scalar), kind (class of 3), wind (vector 3), text (sequence 2x5), map (field 3x4x1)" in line
    )
    data.compare(train, test)
    assert data.fingerprint_of(train) != data.fingerprint_of(data.load("npz", "train", path=stored(tmp_path, x=X)))


def test_splits_of_their_own_have_conditions_of_their_own(tmp_path):
    arrays = {
        "train": X[:30],
        "test": X[30:],
        "train_condition__level": LEVEL[:30],
        "test_condition__level": LEVEL[30:],
    }
    train, test = (data.load("npz", split, path=stored(tmp_path, **arrays)) for split in ("train", "test"))
    assert np.nanstd(train.labels) == pytest.approx(1, rel=1e-4)
    mean, deviation = np.nanmean(LEVEL[:30]), np.nanstd(LEVEL[:30])
    np.testing.assert_allclose(test.labels[:, 0], (LEVEL[30:] - mean) / deviation, rtol=1e-4)


def loader(split: str) -> dict:
    """Ten examples of a split, whose numbers differ between the splits."""
    of_test = split == "test"
    x = np.arange(10.0)[:, None] + [[0, 0.5]]
    return {"x": x, "condition.a": np.arange(10.0) * (1 + of_test), "labels": np.arange(10) % 2}


def test_a_loader_gives_conditions_in_the_units_of_its_training_split():
    train, test = data.load(loader, "train"), data.load(loader, "test")
    assert [each.name for each in train.conditions] == ["a", "labels"]  # labels next to others are one of them
    np.testing.assert_allclose(test.labels[:, 0], (2 * np.arange(10.0) - 4.5) / np.arange(10.0).std(), rtol=1e-5)
    np.testing.assert_array_equal(test.labels[:, 1], np.arange(10) % 2)


def test_a_condition_of_one_value_is_that_value_less_itself(tmp_path):
    train = data.load("npz", "train", path=stored(tmp_path, x=X, condition__a=np.full(N, 7.0)))
    np.testing.assert_array_equal(train.labels, 0)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"condition__a": LEVEL[:39]}, r"condition 'a' holds 39 values for 40 examples of 'x'"),
        ({"condition__a": MAP[:, :2, :, None]}, r"fields, floats \[N, 3, 4, K\] with the sides of the examples"),
        ({"condition__a": np.zeros((N, 3, 3, 2))}, r"float64 of shape \(40, 3, 3, 2\); conditions are classes"),
        ({"condition__a": np.array(1.0)}, "holds one value for 40 examples"),
        ({"condition__a": np.full(N, -3)}, "run from -3 to -3"),
        ({"condition__a": np.full(N, np.nan)}, "NaN in every training example"),
        ({"condition__a": np.full(N, np.inf)}, "infinite in row 0"),
    ],
)
def test_what_is_no_condition_is_named(tmp_path, arrays, words):
    with pytest.raises(ValueError, match=words):
        data.load("npz", "train", path=stored(tmp_path, x=X, **arrays))


def test_a_condition_of_one_split_alone_is_named(tmp_path):
    path = stored(tmp_path, train=X, test=X, train_condition__a=LEVEL)
    with pytest.raises(ValueError, match=r"'train_condition\.a', but not 'test_condition\.a'; give condition"):
        data.load("npz", "train", path=path)


def test_splits_with_other_conditions_or_classes_are_refused():
    of = [Condition("a", "class", classes=2, class_names=names) for names in (("x", "y"), ("x", "z"))]
    rows = np.zeros((N, 1), np.float32)
    first, second = (data.Dataset("d", X, rows, conditions=(each,)) for each in of)
    with pytest.raises(ValueError, match="classes of condition 'a' are x, y in split 'train' and x, z"):
        data.compare(first, second)
    with pytest.raises(
        ValueError, match=r"the conditions a \(class of 2\), those of split 'test' are the conditions b"
    ):
        data.compare(first, data.Dataset("d", X, rows, conditions=(Condition("b", "scalar"),)))
