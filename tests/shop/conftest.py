"""Exact scores and classifiers in the place of trained networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from guided import config_of, exact, log_likelihoods, mean
from PIL import Image

from scorejax import data
from scorejax.experiment import assemble as build
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.steering import classifiers


@pytest.fixture(scope="module")
def train():
    return build.dataset(config_of())


@pytest.fixture
def known_scores(monkeypatch):
    """Networks are replaced by exact scores, and trained weights by a number."""

    def score(config, process, module, params, class_labels=None, **_):
        centre = 0.0 if class_labels is None else mean(class_labels)
        return jax.tree_util.Partial(lambda x, t: exact(process, x, t, centre))

    def labelled_score(config, process, module, params):
        build.check_takes_labels(config)
        # no class has the mean of all
        centre = lambda label: jnp.where((label == 10).reshape(-1, 1, 1, 1), 0.05, mean(label))  # noqa: E731
        return jax.tree_util.Partial(lambda x, t, label: exact(process, x, t, centre(label)))

    def restore(config, workdir, examples):
        return evaluate.Model(config, build.sde(config), None, {"w": np.zeros(1, np.float32)}, 7)

    monkeypatch.setattr(build, "score", score)
    monkeypatch.setattr(build, "labelled_score", labelled_score)
    monkeypatch.setattr(evaluate, "restore", restore)


@pytest.fixture
def classifier(monkeypatch):
    """A network that is the score of all classes together, and their exact classifier; pixels and ones as features."""

    def score(config, process, *_, **__):
        total = jax.tree_util.Partial(lambda x, t: jax.nn.logsumexp(log_likelihoods(process, x, t), -1).sum())
        return jax.tree_util.Partial(lambda x, t: jax.grad(total)(x, t))

    def restored(folder, process, examples, **_):
        logits = jax.tree_util.Partial(lambda x, t: log_likelihoods(process, x, t))
        features = jax.tree_util.Partial(lambda x, t: jnp.concatenate([x, jnp.ones_like(x)], -1))
        return classifiers.Classifier(logits, features, 10, (), 3)

    monkeypatch.setattr(build, "score", score)
    monkeypatch.setattr(classifiers, "restore", restored)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, train):
    """Four digits as PNG files, twice as large and coloured, so that they must be brought to the data's form."""
    where = tmp_path_factory.mktemp("digits")
    for i, image in enumerate(data.to_bytes(train.examples[:4], 17)):
        large = image[..., 0].repeat(2, 0).repeat(2, 1)
        Image.fromarray(np.stack([large] * 3, -1)).save(where / f"{i}.png")
    return where
