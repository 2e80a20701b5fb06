"""What is trained beside a score sees every example of its batch, each under its own condition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import conditional_run, stand_in

from scorejax import data
from scorejax.experiment import assemble as build
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.training import companion
from scorejax.runtime.writers import read_log

LABELS = {"classes": np.arange(40) % 3, "embeddings": np.random.default_rng(1).standard_normal((40, 3))}


@pytest.mark.parametrize("labels", LABELS)
def test_a_step_is_down_the_mean_gradient_of_all_examples_each_under_its_own_condition(labels, tmp_path):
    """With the loss `p |score(x, label)|^2`, its logged gradient by `p` is the mean over the batch."""
    x = np.random.default_rng(0).standard_normal((40, 2))
    chosen = conditional_run(tmp_path, x, LABELS[labels], "head.steps=2", "head.batch=8", "head.log_every=1")
    workdir = tmp_path / "run"
    stand_in(chosen, workdir)
    examples = build.dataset(chosen)
    model = evaluate.restore(chosen, workdir, examples)

    def squares(score, raw):
        return jnp.sum(score(raw, jnp.full(len(raw), 0.5)) ** 2, axis=1)

    def loss(params, score, keys, raw):
        return params * squares(score, raw)

    own = companion.Companion("head", workdir / "own", lambda key: jnp.float32(1.0), loss)
    companion.train(model, examples, own)
    feeder, expected = data.feed(examples, 8, chosen.seed), []
    for step in range(2):
        raw, told = feeder.draw(feeder.payload(step, 1), step)
        score = build.score(chosen, model.process, model.module, model.params, class_labels=told)
        expected.append(jax.jit(squares)(score, raw).mean())
    found = [record["grad_norm"] for record in read_log(workdir / "own")]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert abs(expected[0] / expected[1] - 1) > 1e-2  # each step draws a batch of its own
