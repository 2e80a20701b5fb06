"""Tables: columns of numbers as conditions."""

import numpy as np
import pytest

from scorejax.data import load


def table(folder, rows):
    path = folder / "t.csv"
    path.write_text("\n".join(["mass,radius,temperature,kind", *rows]))
    return path


def test_columns_can_be_what_the_others_are_given(tmp_path):
    """Each in deviations of the training rows; a missing one is absent, and zero is a number like any."""
    rng = np.random.default_rng(0)
    mass, temperature = rng.standard_normal(40), 300 + 20 * rng.standard_normal(40)
    shown = ["" if i == 3 else f"{t:.5f}" for i, t in enumerate(temperature)]
    rows = [f"{m:.5f},{-m:.5f},{t},a" for m, t in zip(mass, shown, strict=True)]
    settings = {"path": table(tmp_path, rows), "columns": ("mass", "radius"), "condition": ("temperature",)}
    train, test = load("csv", "train", **settings), load("csv", "test", **settings)
    assert train.shape == (2,) and train.embeddings and train.labels.shape == (36, 1) and test.labels.shape == (4, 1)
    assert np.isnan(train.labels[3]) and np.isfinite(np.delete(train.labels, 3)).all()
    assert np.nanmean(train.labels) == pytest.approx(0, abs=1e-5) and np.nanstd(train.labels) == pytest.approx(
        1, rel=1e-4
    )
    both = np.nanstd(np.delete(temperature[np.arange(40) % 10 != 9], 3))
    step = (train.labels[1, 0] - train.labels[0, 0]) * both
    assert step == pytest.approx(temperature[1] - temperature[0], rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"condition": ("mixed",)}, "column 'mixed' holds the text 'a' in line 2"),
        ({"condition": ("heat",)}, "data.condition names 'heat'"),
    ],
)
def test_conditions_that_are_none_are_named(tmp_path, settings, words):
    path = table(tmp_path, [f"{i},{i / 7},3,{'a' if i < 2 else i}" for i in range(20)])
    path.write_text(path.read_text().replace("kind", "mixed", 1))
    with pytest.raises(ValueError, match=words):
        load("csv", "train", path=path, **{"columns": ("radius",), **settings})


def test_a_column_of_texts_is_a_class_next_to_numbers(tmp_path):
    path = table(tmp_path, [f"{i},{i / 7},{i % 2},{'' if i == 4 else 'ab'[i % 2]}" for i in range(20)])
    train = load("csv", "train", path=path, columns=("mass",), condition=("radius", "kind"), labels="temperature")
    assert [(each.name, each.kind) for each in train.conditions] == [
        ("radius", "scalar"),
        ("kind", "class"),
        ("temperature", "class"),
    ]
    np.testing.assert_array_equal(train.labels[:5, 1], [0, 1, 0, 1, np.nan])
    np.testing.assert_array_equal(train.labels[:5, 2], [0, 1, 0, 1, 0])


def test_numbers_as_labels_are_offered_as_conditions(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((20, 2), np.float32), labels=np.linspace(0, 1, 20))
    with pytest.raises(ValueError, match=r"0\.0526316 is not whole: a number as a condition is stored as"):
        load("npz", path=tmp_path / "x.npz")
