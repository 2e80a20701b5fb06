"""What is trained next to a score sees every example of its batch, each under its own condition."""

import jax
import numpy as np
import pytest
from runs import conditional_run, stand_in, toy
from toy_recipes import squared_score

from scorejax.experiment import config as configs
from scorejax.experiment.trained import restore
from scorejax.experiment.training.train import feed, train
from scorejax.runtime.writers import read_log

LABELS = {"classes": np.arange(40) % 3, "embeddings": np.random.default_rng(1).standard_normal((40, 3))}


@pytest.mark.slow
@pytest.mark.parametrize("labels", LABELS)
def test_a_step_is_down_the_mean_gradient_of_all_examples_each_under_its_own_condition(labels, tmp_path):
    """With the loss `p |score(x, label)|^2`, its logged gradient by `p` is the mean over the batch."""
    x = np.random.default_rng(0).standard_normal((40, 2))
    chosen = conditional_run(tmp_path, x, LABELS[labels])
    stand_in(chosen, tmp_path / "run")
    trained = restore(chosen, tmp_path / "run")
    own = toy("Squares", "train.steps=2", "train.batch=8", "train.log_every=1", "train.steps_per_call=1")
    own.data = configs.to_dict(chosen)["data"]
    train(own, tmp_path / "own", beside=trained.beside)
    feeder, expected = feed(own, trained.recipe.given.examples), []
    for step in range(2):
        raw, condition = feeder.draw(feeder.payload(step, 1), step)
        expected.append(jax.jit(squared_score)(trained.model.score_given(condition), raw).mean())
    found = [record["grad_norm"] for record in read_log(tmp_path / "own")]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert abs(expected[0] / expected[1] - 1) > 1e-3  # each step draws a batch of its own
