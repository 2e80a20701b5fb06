import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.data import load, to_bytes
from scorejax.metrics import FEATURES, distance, feature_network, frechet_floor, moments


@pytest.fixture(scope="module")
def digits():
    """In random order: as published, the first half was written by other people than the second."""
    images = to_bytes(load("digits").examples, 17)
    return images[np.random.default_rng(1).permutation(len(images))]


def gaussian_look_alikes(images, count):
    """Draws with the mean and covariance of `images` and nothing else of theirs: as they are, and as pictures."""
    flat = images.reshape(len(images), -1).astype(float)
    factor = np.linalg.cholesky(np.cov(flat.T) + np.eye(flat.shape[1]) / 12)
    draws = np.random.default_rng(0).standard_normal((count, flat.shape[1])) @ factor.T + flat.mean(0)
    pictures = np.clip(np.round(draws), 0, 255).astype(np.uint8)
    return draws.astype(np.float32), pictures.reshape(count, *images.shape[1:])


@pytest.mark.parametrize("name", ["pixels", "random_conv"])
def test_every_image_counts_once_whatever_the_batch_size(digits, name):
    network = feature_network(name)
    a, b = moments(network, digits[:101], batch_size=101), moments(network, digits[:101], batch_size=16)
    assert a.count == b.count == 101
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(a.scatter, b.scatter, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["pixels", "random_conv"])
def test_more_noise_is_farther_from_the_data_and_no_noise_is_at_the_floor(digits, name):
    network = feature_network(name)
    real, rest = moments(network, digits[:750]), digits[750:]
    noise = np.random.default_rng(0).standard_normal(rest.shape)
    noisy = [np.clip(rest + scale * noise, 0, 255).astype(np.uint8) for scale in (0, 30, 60, 120)]
    distances = [distance(real, moments(network, images)) for images in noisy]
    assert distances == sorted(distances)
    assert distances[-1] > 4 * distances[0]
    floor = frechet_floor(network, digits)
    assert 0.7 < distances[0] / floor < 1.4


def test_the_random_network_sees_what_second_moments_do_not(digits):
    """Gaussian look-alikes are at the floor for pixels (before clipping to 0..255), and far above it here."""
    flat = digits.reshape(len(digits), -1) / np.float32(255)
    raw, fakes = gaussian_look_alikes(digits[:750], 750)
    pixels, random = feature_network("pixels"), feature_network("random_conv")
    assert distance(moments(pixels, flat[750:]), moments(pixels, raw / 255)) < 1.5 * frechet_floor(pixels, flat)
    assert distance(moments(random, digits[750:]), moments(random, fakes)) > 4 * frechet_floor(random, digits)


def test_the_random_network_is_the_same_for_good():
    """Version 1 of the weights, by its features of one image; a change of these numbers needs a new version."""
    image = jnp.asarray(np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1) * 4)
    features = np.asarray(feature_network("random_conv")(image))[0]
    assert features.shape == (1 + 2 * (32 + 64 + 128),)
    np.testing.assert_allclose(
        features[[0, 1, 40, 200, 448]],
        [-0.011764653, 0.132902861, 0.208629951, 0.139815286, 0.274906218],
        rtol=1e-3,
    )


def test_vectors_have_the_pixel_features_only():
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    np.testing.assert_allclose(moments(feature_network("pixels"), x).mean, x.mean(0), atol=1e-6)
    with pytest.raises(ValueError, match="For vectors use 'pixels'"):
        feature_network("random_conv")(jnp.asarray(x))


def test_the_name_tells_networks_apart():
    assert feature_network("random_conv").name != feature_network("random_conv", channels=(8,), strides=(1,)).name


def test_other_networks_plug_in_and_unknown_ones_list_the_choices(digits, monkeypatch):
    class Mean:
        name = "mean-v1"

        def __call__(self, images):
            return images.mean((1, 2))

    monkeypatch.setitem(FEATURES, "mean", Mean)
    assert moments(feature_network("mean"), digits).network == "mean-v1"
    with pytest.raises(ValueError, match=r"choose one of .*inception, mean, mnist_classifier, .*pixels, random_conv"):
        feature_network("vgg")
