"""A run with self-conditioning: trained, drawn, guided and reported, without what it has not."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from runs import conditional_run

import scorejax
from scorejax.experiment import modes
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.workdir import saved_config
from scorejax.runtime.errors import ConfigError
from scorejax.scores.self_conditioning import given

EVERY = ("recipe.self_conditioning=0.5", "guidance=classifier_free:scale=2", "eval.bound=2")


def test_it_is_trained_and_drawn_and_has_no_likelihood(tmp_path):
    x = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    config = conditional_run(tmp_path, x, np.arange(40) % 2, *EVERY)
    modes.run("train", config, tmp_path / "run")
    modes.run("eval", saved_config(tmp_path / "run"), tmp_path / "run")
    report = json.loads((tmp_path / "run/eval/step-2.json").read_text())
    assert "samples" in report and "likelihood" not in report and "bound" not in report
    run = scorejax.load(tmp_path / "run")
    assert run.sample(5, condition=[1]).shape == (5, 2)
    score, at = run.model.score_given(jnp.ones(2, int)), (jnp.ones((2, 2)), jnp.full(2, 0.1))
    assert jnp.abs(given(score, jnp.ones((2, 2)))(*at) - score(*at)).min() > 0  # the network is given it
    with pytest.raises(ValueError, match="a model with self-conditioned score"):
        run.log_prob(x)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["objective=implicit"], "objective=implicit"),
        (["recipe.augment=rolls"], "recipe.augment=rolls"),
    ],
)
def test_what_does_not_go_with_it_is_refused(overrides, words, tmp_path):
    x = np.zeros((40, 2), np.float32)
    with pytest.raises(ConfigError, match=words):
        make_recipe(conditional_run(tmp_path, x, np.arange(40) % 2, "recipe.self_conditioning=0.5", *overrides))
