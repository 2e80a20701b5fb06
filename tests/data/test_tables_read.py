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
        ({"condition": ("kind",)}, "column 'kind' holds the text 'a' in line 2"),
        ({"condition": ("heat",)}, "data.condition names 'heat'"),
        ({"condition": ("mass",), "labels": "kind"}, "both set"),
    ],
)
def test_conditions_that_are_none_are_named(tmp_path, settings, words):
    path = table(tmp_path, [f"{i},{i / 7},3,a" for i in range(20)])
    with pytest.raises(ValueError, match=words):
        load("csv", path=path, **{"columns": ("radius",), **settings})


def test_numbers_as_labels_are_offered_as_conditions(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((20, 2), np.float32), labels=np.linspace(0, 1, 20))
    with pytest.raises(ValueError, match=r"0\.0526316 is not whole: a number as a condition is stored as"):
        load("npz", path=tmp_path / "x.npz")
