"""Data of every kind and type from a file to samples, a picture and a log-likelihood in the user's units."""

import json

import numpy as np
import pytest
from PIL import Image
from runs import small, store
from scipy import stats

import scorejax as sj
from scorejax.experiment import record as record_lib
from scorejax.experiment import workdir
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.rehearsal import rehearse
from scorejax.runtime.errors import ConfigError

HAT = np.random.default_rng(0)
FAR = 1e5 + 1e-3 * HAT.standard_normal((60, 3))
KINDS = {  # name -> (examples, settings of the data)
    "a table far from zero": (FAR, ()),
    "counts": (HAT.poisson(3.0, (60, 4)), ()),
    "series of 16 bits": (HAT.integers(-9000, 9000, (60, 7, 2)).astype(np.int16), ("data.normalize=range",)),
    "skewed fields": (HAT.exponential(size=(60, 5, 4, 5)), ("data.normalize=quantile", "data.flip=true")),
    "positive volumes": (np.float32(HAT.exponential(size=(60, 3, 2, 4, 1))), ("data.transform=log",)),
    "volumes of bytes": (HAT.integers(0, 256, (60, 2, 3, 3, 2), np.uint8), ()),
    "standardized images": (HAT.integers(0, 200, (60, 6, 5, 3), np.uint8), ("data.normalize=standard",)),
}


def of_kind(folder, kind):
    x, settings = KINDS[kind]
    np.savez(folder / "x.npz", x=x)
    few = ("eval.samples=8", "eval.grid=4", "eval.batch=8", "eval.likelihood_passes=2")
    return x, small("recipe=exact_recipes:White", f"data=npz:path={folder / 'x.npz'}", *settings, *few)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [kind if kind == "series of 16 bits" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_data_of_every_kind_are_measured_drawn_and_pictured_in_the_users_units(kind, tmp_path):
    x, config = of_kind(tmp_path, kind)
    recipe, folder = make_recipe(config), tmp_path / "run"
    workdir.claim(folder, config)
    record_lib.write(folder, recipe.given.record)
    store(recipe.init(None), folder)
    report = evaluate.evaluate(config, folder, rehearsed=False)
    found = np.load(next(folder.glob("samples/step-1-*/x.npy")))
    assert found.dtype == x.dtype and found.shape == (8, *x.shape[1:])
    assert x.dtype.kind == "f" or x.dtype == np.uint8 or (x.min() <= found.min() and found.max() <= x.max())
    with Image.open(next(folder.glob("samples/step-1*.png"))) as page:
        assert min(page.size) > 30
    # the report has the units of the data, and a loaded run has the same numbers without them
    (tmp_path / "x.npz").unlink()
    run = sj.load(folder)
    held = x[np.arange(60) % 10 == 9]
    measured = run.log_prob(held)
    numbers = report["likelihood"]
    assert float(np.mean(measured.bits_per_dim)) == pytest.approx(
        numbers["bits_per_dim"], rel=0.02, abs=0.15
    )  # of other places within levels
    assert ("nats_per_dim" in numbers) == (x.dtype.kind == "f") == (numbers["levels"] is None)
    if kind == "a table far from zero":
        train = x[np.arange(60) % 10 != 9]
        exact = stats.norm.logpdf(held, train.mean(0), train.std(0)).sum(1)
        np.testing.assert_allclose(measured.value, exact, rtol=1e-4)
        assert np.abs(run.from_model(run.to_model(held)) - held).max() < 1e-2  # arrays of JAX are float32
    json.dumps(report)


def test_a_network_and_data_of_two_kinds_are_refused_before_training(tmp_path):
    of_kind(tmp_path, "series of 16 bits")
    config = small(f"data=npz:path={tmp_path / 'x.npz'}")
    with pytest.raises(ConfigError, match=r"does not fit data = 'npz', .* have shape \(7, 2\); choose one of"):
        rehearse(config, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"data\.flip mirrors images, but 'npz' holds shapes \(7, 2\)"):
        rehearse(small(f"data=npz:path={tmp_path / 'x.npz'}", "data.flip=true"), tmp_path / "run")
    with pytest.raises(ConfigError, match="data source 'gaussian' has splits of its own"):
        rehearse(small("data.split=last"), tmp_path / "run")
