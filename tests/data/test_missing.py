"""Missing numbers: NaN or a mask, statistics that do not see them, and what is refused."""

import numpy as np
import pytest

from scorejax import data

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
KNOWN = RNG.random((40, 3)) > 0.3
KNOWN[~KNOWN.any(1), 0] = True
HOLES = np.where(KNOWN, X, np.nan)


def stored(folder, **arrays):
    np.savez(folder / "x.npz", **arrays)
    return str(folder / "x.npz")


def test_a_mask_and_nan_say_the_same(tmp_path):
    by_nan = data.load("npz", path=stored(tmp_path, x=HOLES), missing="nan")
    by_mask = data.load("npz", path=stored(tmp_path, x=X, mask=KNOWN))
    by_loader = data.load(lambda split: {"x": X, "mask": KNOWN}, "train")
    rows = np.arange(40) % 10 != 9
    for found, wanted in ((by_nan, HOLES[rows]), (by_mask, HOLES[rows]), (by_loader, HOLES)):
        np.testing.assert_array_equal(found.examples, wanted)
        assert found.missing and data.Form.of(found).missing


def test_statistics_do_not_see_what_is_missing(tmp_path):
    train = data.load("npz", path=stored(tmp_path, x=HOLES), missing="nan")
    mapped = data.fit(train.examples)
    known = HOLES[np.arange(40) % 10 != 9]
    np.testing.assert_allclose(mapped.shift, np.nanmean(known, axis=0), rtol=1e-12)
    np.testing.assert_allclose(mapped.scale, np.nanstd(known, axis=0), rtol=1e-12)
    space = data.Form.of(train).channels(mapped, dequantize=True)
    sent = space.encode(train.examples)
    np.testing.assert_array_equal(np.isnan(sent), np.isnan(known))
    volumes = -(np.log(mapped.scale) * np.isfinite(known)).sum(1)
    np.testing.assert_allclose(space.log_volumes(sent), volumes, rtol=1e-4)


def test_a_table_of_text_has_holes(tmp_path):
    lines = ["a,b"] + [f"{i / 7},{'' if i == 2 else i / 3}" for i in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    train = data.load("csv", path=tmp_path / "t.csv", missing="nan")
    np.testing.assert_array_equal(np.argwhere(np.isnan(train.examples)), [[2, 1]])


@pytest.mark.parametrize(
    ("arrays", "settings", "words"),
    [
        (
            {"x": X, "mask": KNOWN[:, :2]},
            {},
            r"the mask of 'x' is bool of shape \(40, 2\), but 'x' has shape \(40, 3\)",
        ),
        ({"x": X, "mask": np.arange(40)[:, None] != 7 * np.ones((1, 3))}, {}, "row 7 of 'x' is wholly missing"),
        ({"x": HOLES}, {}, r"or set data\.missing=nan"),
        ({"x": np.where(KNOWN, X, np.inf)}, {"missing": "nan"}, "holds an infinite number"),
        ({"x": HOLES}, {"missing": "nan", "quantum": 0.1}, "does not go with missing numbers"),
        ({"train": X, "test": X, "train_mask": KNOWN}, {}, "no 'test_mask'; give a mask to all splits"),
    ],
)
def test_what_is_wrong_with_a_mask_is_named(tmp_path, arrays, settings, words):
    with pytest.raises(ValueError, match=words):
        data.load("npz", path=stored(tmp_path, **arrays), **settings)


def test_examples_of_which_nothing_is_missing_are_what_samples_are_held_against(tmp_path):
    train = data.load("npz", path=stored(tmp_path, x=HOLES), missing="nan")
    whole = data.complete(train)
    assert np.isfinite(whole.examples).all() and len(whole) == np.isfinite(train.examples).all(1).sum()
    with pytest.raises(ValueError, match=r"set eval\.samples=0"):
        data.complete(data.Dataset("d", np.full((4, 2), np.nan), missing=True))
