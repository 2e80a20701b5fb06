import jax
import numpy as np
import pytest

from scorejax.models.autoencoder_mlp import AutoencoderMLP, LatentScoreMLP

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 2, 2, 1)).astype(np.float32)
NOISE = RNG.standard_normal((3, 4, 2)).astype(np.float32)
SMALL = AutoencoderMLP(features=8, depth=2)


@pytest.fixture(scope="module")
def variables():
    return SMALL.init(jax.random.key(0), X, NOISE, outputs=2, latents=2, shape=(2, 2, 1, 3))


def test_every_draw_of_noise_of_an_example_is_encoded_by_itself(variables):
    z = SMALL.apply(variables, X, NOISE, outputs=2, method="encode")
    assert z.shape == (3, 4, 2)
    alone = SMALL.apply(variables, X[1:2], NOISE[1:2, 2:3], outputs=2, method="encode")
    np.testing.assert_allclose(z[1, 2], alone[0, 0], atol=1e-5)
    assert np.std(z, axis=1).min() > 1e-3 and np.std(z, axis=0).min() > 1e-3  # noise and example both count


def test_a_decoder_gives_numbers_for_each_value_of_the_example_of_each_latent_vector(variables):
    z = RNG.standard_normal((5, 3, 2)).astype(np.float32)
    found = SMALL.apply(variables, z, (2, 2, 1, 3), method="decode")
    assert found.shape == (5, 3, 2, 2, 1, 3)
    np.testing.assert_allclose(found[4, 1], SMALL.apply(variables, z[4, 1], (2, 2, 1, 3), method="decode"), atol=1e-5)


@pytest.mark.parametrize("x", [X, None], ids=["of an example", "over all examples"])
def test_a_score_of_latent_vectors_has_their_shape_and_depends_on_each_alone(x):
    score, z = LatentScoreMLP(features=8), NOISE[:, 0]
    value, variables = score.init_with_output(jax.random.key(0), z, x)
    assert value.shape == (3, 2)
    other = score.apply(variables, z + np.eye(3, 2, dtype=np.float32) * [[1, 0]], x)
    np.testing.assert_allclose(other[1:], value[1:], atol=1e-6)
    assert np.abs(other[0] - value[0]).max() > 1e-3


def test_a_network_without_layers_is_refused():
    with pytest.raises(ValueError, match="at least 1; got 8 and 0"):
        AutoencoderMLP(features=8, depth=0).init(jax.random.key(0), X, None, outputs=2, latents=2, shape=(1,))
