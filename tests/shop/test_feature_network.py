"""A feature network is a kind of training like any other, and a run of it one that samples are compared in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scorejax.config import base, load

from scorejax import data, metrics
from scorejax.experiment.evaluation import evaluate, quality
from scorejax.experiment.evaluation.run_features import run
from scorejax.experiment.recipe import Batch, make_recipe
from scorejax.experiment.recipes.feature_network import shifted
from scorejax.experiment.trained import restore
from scorejax.experiment.training.train import train
from scorejax.metrics.classifier import ClassifierFeatures, save
from scorejax.runtime.errors import ConfigError

IMAGES = np.random.default_rng(0).integers(0, 17, (64, 6, 6, 1)).astype(np.uint8)
LABELS = (np.arange(64) % 3).astype(np.int32)
KEYS = jax.random.split(jax.random.key(1), 64)


def network(recipe="feature_network:channels=4,8:features=5", examples=None):
    config = base()
    config.recipe = recipe
    return make_recipe(config, examples or data.Dataset("images", IMAGES, LABELS, gray_levels=17, num_classes=3))


def test_every_shift_occurs_and_edges_are_repeated():
    padded = np.pad(IMAGES[0], ((2, 2), (2, 2), (0, 0)), mode="edge")
    windows = {padded[i : i + 6, j : j + 6].tobytes(): (i, j) for i in range(5) for j in range(5)}
    keys = jax.random.split(jax.random.key(0), 500)
    moved = np.asarray(shifted(keys, jnp.asarray(np.repeat(IMAGES[:1], 500, 0)), 2))
    seen = [windows[image.tobytes()] for image in moved]  # nothing else occurs
    counts = np.unique(seen, axis=0, return_counts=True)[1]
    assert len(counts) == 25 and counts.min() >= 5


@pytest.mark.slow
def test_the_loss_is_the_cross_entropy_of_the_shifted_images():
    """With no shift that of the clean ones, by the logits of any value within the bins of their gray levels."""
    for shift in (0, 1):
        recipe = network(f"feature_network:channels=4:features=5:shift={shift}")
        params = recipe.init(jax.random.key(0))
        key = jax.random.key(2)
        x = data.to_model(KEYS, jnp.asarray(IMAGES), 17)
        batch = Batch(x, jnp.asarray(IMAGES), jnp.asarray(LABELS), jnp.int32(0), key, key, jnp.int32(0), 1)
        losses, _, seen = recipe.loss(params, None, batch, KEYS)
        logits = np.asarray(recipe.model(params).logits(x, None), np.float64)
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        same = np.isclose(losses, -log_p[np.arange(64), LABELS], rtol=1e-4)
        assert same.all() if shift == 0 else not same.all()
        if shift == 0:
            np.testing.assert_array_equal(seen["accuracy"], logits.argmax(1) == LABELS)


@pytest.mark.slow
def test_its_classes_are_a_function_of_its_features():
    recipe = network()
    hat = np.random.default_rng(0)  # away from the zeros in which biases begin
    params = jax.tree.map(lambda leaf: leaf + np.float32(hat.normal(size=leaf.shape)), recipe.init(jax.random.key(0)))
    model = recipe.model(params)
    x = data.to_model(KEYS, jnp.asarray(IMAGES), 17)
    features = model.features(x, None)
    assert features.shape == (64, 5)
    np.testing.assert_allclose(model.logits_of_features(features), model.logits(x, None), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "examples",
    [data.Dataset("points", np.zeros((4, 2), np.float32), LABELS[:4], num_classes=3),
     data.Dataset("images", IMAGES, gray_levels=17)],
)  # fmt: skip
def test_data_without_images_or_classes_are_refused_with_the_choices(examples):
    with pytest.raises(ConfigError, match="choose digits"):
        network(examples=examples).init(jax.random.key(0))


@pytest.mark.parametrize("wrong", ["channels=0", "features=0", "shift=-1"])
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
        network(f"feature_network:{wrong}")


# ---- A trained one


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("digits")
    config = load("feature_network:digits")
    train(config, workdir)
    return config, workdir


@pytest.mark.slow
def test_its_evaluation_is_the_accuracy_on_clean_test_images(trained):
    config, workdir = trained
    report = evaluate.evaluate(config, workdir)
    (level,) = report["classification"]["levels"]
    assert level["log_snr"] is None and level["accuracy"] > 0.9 and level["cross_entropy"] < 0.4
    test = data.load("digits", "test")
    model = restore(config, workdir).model
    middle = data.to_model(jax.random.split(jax.random.key(0), len(test)), test.examples, 17, dequantize=False)
    right = np.argmax(model.logits(middle, None), axis=1) == test.labels
    assert level["accuracy"] == pytest.approx(right.mean())


@pytest.mark.slow
def test_a_run_is_a_feature_network_and_its_weights_are_one_as_a_file(trained, tmp_path):
    config, workdir = trained
    network = run(workdir=str(workdir))
    assert isinstance(network, metrics.Classifier) and network.name.startswith("feature_network-digits-")
    test = data.load("digits", "test")
    images = jnp.asarray(data.to_bytes(test.examples, 17))
    features = np.asarray(network(images))
    log_p = network.log_probabilities(features)
    share = float(np.mean(log_p.argmax(1) == test.labels))
    assert features.shape == (297, 64) and share > 0.9
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=1e-6)
    assert metrics.class_score([log_p]).mean > 5
    found = restore(config, workdir)
    save(tmp_path / "c.npz", found.params, name="digits-v1", accuracy=share, shape=test.shape)
    read = ClassifierFeatures(tmp_path / "c.npz")
    np.testing.assert_allclose(read(images), features, atol=0.02 * features.max())
    np.testing.assert_allclose(read.log_probabilities(features), log_p, atol=0.05)
    with pytest.raises(ValueError, match="a run on the same data"):
        network(jnp.zeros((1, 28, 28, 1), jnp.uint8))


@pytest.mark.slow
def test_samples_of_another_run_are_measured_in_it(trained, tmp_path):
    config = load("flow:digits,tiny", [f"eval.features=run:workdir={trained[1]}", "eval.exact=false"])
    config.eval.metrics = ("frechet", "inception_score")
    train(config, tmp_path)
    samples = evaluate.evaluate(config, tmp_path)["samples"]
    assert samples["features"].startswith("feature_network-digits-")
    assert samples["frechet_distance"] > samples["frechet_floor"] and 1 <= samples["class_score"] < 10


@pytest.mark.slow
def test_a_run_without_features_is_refused(tmp_path):
    config = load("flow:digits,tiny")
    train(config, tmp_path)
    other = load("flow:digits,tiny", [f"eval.features=run:workdir={tmp_path}"])
    with pytest.raises(ConfigError, match="no features of images"):
        quality.network(other, data.Form.of(data.load("digits")))
