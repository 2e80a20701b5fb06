import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.data import load, to_bytes
from scorejax.metrics import Classifier, class_score, feature_network
from scorejax.metrics import train_classifier as training
from scorejax.metrics.classifier import ClassifierFeatures, save

pytestmark = pytest.mark.optimized


@pytest.mark.slow
def test_a_trained_classifier_is_read_back_with_its_accuracy(tmp_path):
    """On the 8x8 digits; its name, features and class score are those of a classifier of ten classes."""
    train, test = load("digits"), load("digits", "test")
    network, params = training.train(train, epochs=12)
    share = training.accuracy(network, params, test)
    assert share > 0.9
    save(tmp_path / "c.npz", params, name="digits_classifier-v1", accuracy=share, shape=train.shape)
    read = ClassifierFeatures(tmp_path / "c.npz")
    assert read.name == "digits_classifier-v1" and read.accuracy == share and isinstance(read, Classifier)
    features = np.asarray(read(jnp.asarray(to_bytes(test.examples, 17))))
    log_p = read.log_probabilities(features)
    assert features.shape == (len(test), 64) and log_p.shape == (len(test), 10)
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=1e-9)
    assert np.mean(log_p.argmax(1) == test.labels) == pytest.approx(share, abs=0.01)
    assert class_score([log_p]).mean > 5


def test_the_mnist_classifier_is_the_same_for_good():
    """Version 1 of the weights, by its features of one image; a change of these numbers needs a new version."""
    network = feature_network("mnist_classifier")
    assert network.name == "mnist_classifier-v1" and network.accuracy == 0.9897
    image = jnp.asarray((np.arange(784) % 256).astype(np.uint8).reshape(1, 28, 28, 1))
    features = np.asarray(network(image))[0]
    assert features.shape == (64,) and features.min() == 0
    np.testing.assert_allclose(
        features[[2, 23, 47, 53, 54]], [13.20293, 14.65645, 18.16662, 14.29617, 29.7799], rtol=1e-3
    )


def test_images_of_another_shape_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="random_conv"):
        feature_network("mnist_classifier")(jnp.zeros((1, 32, 32, 3), jnp.uint8))
