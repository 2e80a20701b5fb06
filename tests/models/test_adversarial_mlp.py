import jax
import numpy as np
import pytest

from scorejax.models.adversarial_mlp import DiscriminatorMLP, GeneratorMLP


def test_a_generator_maps_each_latent_by_itself():
    model, z = GeneratorMLP(features=16), np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    x, variables = model.init_with_output(jax.random.key(0), z, (2,))
    assert x.shape == (5, 2)
    np.testing.assert_allclose(model.apply(variables, z[2:3], (2,)), x[2:3], atol=1e-5)
    assert np.std(x, axis=0).min() > 0.01


def test_an_untrained_discriminator_gives_even_chances():
    logits, variables = DiscriminatorMLP(features=16).init_with_output(jax.random.key(0), np.ones((5, 2)))
    np.testing.assert_array_equal(logits, np.zeros(5))
    slope = jax.grad(lambda p: DiscriminatorMLP(features=16).apply(p, np.ones((1, 2)))[0])(variables)
    assert np.abs(slope["params"]["dense_out"]["kernel"]).max() > 0  # but not at a point where nothing is learned


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (GeneratorMLP(), (np.zeros((3, 2, 2)), (2,)), "flatten it"),
        (GeneratorMLP(), (np.zeros((3, 2)), (0,)), r"shape=\(0,\)"),
        (GeneratorMLP(), (np.zeros((3, 2)), (4, 4, 1)), r"shape=\(4, 4, 1\)"),
        (DiscriminatorMLP(), (np.zeros((3, 2, 2)),), "flatten it"),
        (DiscriminatorMLP(depth=0), (np.zeros((3, 2)),), "at least 1"),
    ],
)
def test_what_does_not_fit_is_named(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.init(jax.random.key(0), *arguments)
