from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models.adversarial_conv import DiscriminatorConv, GeneratorConv

SHAPE = (7, 5, 2)
Z = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("centered", "low"), [(True, -1.0), (False, 0.0)])
def test_a_generator_maps_each_latent_by_itself_to_gray_values_of_the_data(centered, low, make_params):
    model = GeneratorConv(features=4, centered_input=centered)
    params = make_params(SimpleNamespace(init=lambda key, z: model.init(key, z, SHAPE)), Z.shape, ())
    x = model.apply({"params": params}, Z, SHAPE)
    assert x.shape == (3, *SHAPE) and x.dtype == jnp.float32
    assert low < x.min() < x.max() < 1.0 and x.min() < 0.5 * (low + 1) < x.max()
    np.testing.assert_allclose(model.apply({"params": params}, Z[1:2], SHAPE), x[1:2], atol=1e-5)
    assert np.std(x, axis=0).min() > 1e-3


def test_an_untrained_discriminator_gives_even_chances_and_learns():
    model, x = DiscriminatorConv(features=4), np.ones((2, *SHAPE), np.float32)

    @jax.jit
    def first(key):
        logits, variables = model.init_with_output(key, x)
        return logits, jax.grad(lambda v: model.apply(v, x)[0])(variables)

    logits, slope = first(jax.random.key(0))
    np.testing.assert_array_equal(logits, np.zeros(2))
    assert np.abs(slope["params"]["dense_out"]["kernel"]).max() > 0


def test_a_discriminator_judges_each_image_by_itself_and_looks_at_every_pixel(make_params):
    model = DiscriminatorConv(features=4)
    x = np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(np.float32)
    params = make_params(model, x.shape, ())
    logits = model.apply({"params": params}, x)
    np.testing.assert_allclose(model.apply({"params": params}, x[1:]), logits[1:], rtol=1e-4)
    slope = jax.grad(lambda x: model.apply({"params": params}, x)[0])(x)
    assert np.abs(slope[0]).min() > 0 and not slope[1].any()


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (GeneratorConv(), (np.zeros((3, 2)), (4,)), r"shape \(4,\)"),
        (GeneratorConv(), (np.zeros((3, 2, 2)), (4, 4, 1)), r"array of shape \(3, 2, 2\)"),
        (GeneratorConv(halvings=0), (np.zeros((3, 2)), (4, 4, 1)), "at least 1"),
        (DiscriminatorConv(), (np.zeros((3, 2)),), r"takes images"),
        (DiscriminatorConv(features=0), (np.zeros((3, 4, 4, 1)),), "at least 1"),
    ],
)
def test_what_does_not_fit_is_named(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.init(jax.random.key(0), *arguments)
