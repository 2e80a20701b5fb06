import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.data import load, to_bytes
from scorejax.metrics import Classifier, feature_network
from scorejax.metrics.classifier import ClassifierFeatures, ConvClassifier, save

pytestmark = pytest.mark.optimized


@pytest.mark.slow
def test_a_classifier_is_read_back_with_its_name_and_accuracy(tmp_path):
    """Rounded to float16: its features and classes are those of the network that was saved."""
    test = load("digits", "test")
    images = jnp.asarray(to_bytes(test.examples[:50], 17))
    network = ConvClassifier(10, (4, 8), 12)
    params = network.init(jax.random.key(0), images)["params"]
    rounded = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), params)
    save(tmp_path / "c.npz", params, name="digits_classifier-v1", accuracy=0.5, shape=test.shape)
    read = ClassifierFeatures(tmp_path / "c.npz")
    assert read.name == "digits_classifier-v1" and read.accuracy == 0.5 and isinstance(read, Classifier)
    features = np.asarray(read(images))
    np.testing.assert_allclose(
        features, network.apply({"params": rounded}, images, method="penultimate"), rtol=1e-4, atol=1e-6
    )
    logits = np.asarray(network.apply({"params": rounded}, images), np.float64)
    log_p = read.log_probabilities(features)
    np.testing.assert_allclose(log_p, logits - np.log(np.exp(logits).sum(1, keepdims=True)), atol=1e-4)
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=1e-9)


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
