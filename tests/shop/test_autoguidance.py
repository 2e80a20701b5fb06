"""Samples that are led away from a worse model: of another run, an earlier step, or another average of the weights."""

import jax
import numpy as np
import pytest
from runs import out_of_a_hat, small, store

from scorejax.experiment import averages, steering, workdir
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.trained import restore
from scorejax.runtime.errors import CheckpointError, ConfigError

X = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
T = np.linspace(0.2, 0.8, 5, dtype=np.float32)
AVERAGED = ("ema.lengths=(0.1,)", "ema.snapshot_every=4")


def run(folder, *seeds):
    """A run whose checkpoints of steps 1, 2, ... hold weights out of a hat, and a snapshot those of the last."""
    config = small(*AVERAGED)
    shapes = make_recipe(config).shapes()
    for step, seed in enumerate(seeds, 1):
        store(out_of_a_hat(shapes, seed), folder, step)
    workdir.claim(folder, config)
    averages.save(folder, len(seeds), (0.1,), (out_of_a_hat(shapes, seeds[-1]),))
    return shapes


@jax.jit
def value(score):
    return score(X, T)


def test_the_score_is_led_away_from_that_of_the_weights_that_are_named(tmp_path):
    shapes = run(tmp_path / "good", 0)
    run(tmp_path / "bad", 1, 2)
    plain = restore(small(*AVERAGED), tmp_path / "good")
    recipe = plain.recipe

    def of(seed):
        return value(recipe.model(out_of_a_hat(shapes, seed)).score_given(None))

    for seed, chosen in {2: (), 1: ("guidance.step=1",)}.items():
        config = small(
            *AVERAGED, "guidance=autoguidance", f"guidance.workdir={tmp_path / 'bad'}", "guidance.scale=3", *chosen
        )
        score = steering.classes(config, plain).score(plain.model, plain.sde, None)
        np.testing.assert_allclose(value(score), of(seed) + 3 * (of(0) - of(seed)), rtol=1e-4, atol=1e-4)
    config.guidance.step, config.guidance.average, config.guidance.interval = None, 0.1, (90.0, 91.0)
    score = steering.classes(config, plain).score(plain.model, plain.sde, None)
    np.testing.assert_allclose(value(score), of(0), rtol=1e-5)  # outside of the interval


def test_what_does_not_fit_is_refused(tmp_path):
    run(tmp_path / "good", 0)
    plain = restore(small(*AVERAGED), tmp_path / "good")
    other = small("sde.beta_max=10")
    store(out_of_a_hat(make_recipe(other).shapes()), tmp_path / "other")
    workdir.claim(tmp_path / "other", other)
    for error, said, chosen in (
        (ConfigError, "needs guidance.workdir", ()),
        (ConfigError, "set one of them", ("guidance.step=1", "guidance.average=0.1", "guidance.workdir=x")),
        (ConfigError, "holds no run", (f"guidance.workdir={tmp_path}",)),
        (CheckpointError, "no checkpoint of step 9", (f"guidance.workdir={tmp_path / 'good'}", "guidance.step=9")),
        (ConfigError, "another schedule", (f"guidance.workdir={tmp_path / 'other'}",)),
    ):
        with pytest.raises(error, match=said):
            steering.classes(small(*AVERAGED, "guidance=autoguidance", *chosen), plain)
