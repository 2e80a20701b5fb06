"""Examples with holes: they are filled in, and what was known comes back as it was; what takes no holes says so."""

import jax
import numpy as np
import pytest
from runs import out_of_a_hat, small

from scorejax.experiment.evaluation.imputation import imputed
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.trained import Trained
from scorejax.runtime.errors import ConfigError

RNG = np.random.default_rng(0)
X = 100 + RNG.standard_normal((60, 2))
X[::3, 1] = np.nan


def config_of(folder, *overrides):
    np.savez(folder / "x.npz", x=X)
    return small(f"data=npz:path={folder / 'x.npz'}:missing=nan", "sampler.steps=2", *overrides)


@pytest.mark.slow
def test_holes_are_filled_in(tmp_path):
    config = config_of(tmp_path)
    recipe = make_recipe(config)
    trained = Trained(config, recipe, out_of_a_hat(recipe.shapes()), 0)
    found = imputed(trained, X[:4], rounds=2)
    np.testing.assert_array_equal(found[~np.isnan(X[:4])], X[:4][~np.isnan(X[:4])])
    assert np.isfinite(found).all() and found.dtype == np.float64
    compiled = []
    listener = lambda event, _, **__: compiled.append(event) if "backend_compile" in event else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        again = imputed(trained, X[3:7], rounds=2, seed=1)
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert not compiled and again[0, 0] == X[3, 0] and again[0, 1] != found[3, 1]
    with pytest.raises(ValueError, match="infinite"):
        imputed(trained, np.full((1, 2), np.inf))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("objective=implicit",), "counts what is missing; set objective = 'denoising'"),
        (("eval.denoising=4",), "examples without missing numbers; set eval.denoising=0"),
        (("train.validate_every=4",), "set train.validate_every=0"),
    ],
)
def test_what_takes_no_holes_says_so(tmp_path, overrides, words):
    with pytest.raises(ConfigError, match=words):
        make_recipe(config_of(tmp_path, *overrides)).shapes()
