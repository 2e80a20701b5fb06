import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models.energy_conv import EnergyConv, largest_singular_value

SMALL = EnergyConv(features=(4,), hidden=8)
X = np.random.default_rng(0).standard_normal((3, 6, 6, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def params(make_params):
    return make_params(SMALL, X.shape, labels=())


def test_the_untrained_law_is_normal_and_far_out_the_energy_is_the_quadratic(params):
    start, _ = EnergyConv(features=(4,), hidden=8, confine=4.0).init_with_output(jax.random.key(0), X)
    np.testing.assert_allclose(start, 2.0 * np.sum(X**2, axis=(1, 2, 3)), rtol=1e-5)
    far = 1e4 * X
    energy = SMALL.apply({"params": params}, far)
    np.testing.assert_allclose(energy, 0.5 * np.sum(far**2, axis=(1, 2, 3)), rtol=0.05)


@pytest.mark.slow
def test_the_energy_has_a_curvature_that_is_not_everywhere_the_same(params):
    """What score matching needs: second derivatives that change from place to place, and are those of the values."""

    def along(t):
        x = X[:1] + t * X[1:2]
        return SMALL.apply({"params": params}, x)[0] - 0.5 * jnp.sum(x**2)

    second = jax.jit(jax.grad(jax.grad(along)))
    h = 0.05
    values = [float(along(t)) for t in (-h, 0.0, h)]
    assert float(second(0.0)) == pytest.approx((values[0] - 2 * values[1] + values[2]) / h**2, rel=0.1, abs=1e-2)
    assert abs(float(second(0.0)) - float(second(2.0))) > 1e-3


def test_classes_share_the_quadratic_and_have_energies_of_their_own(params):
    joint = EnergyConv(features=(4,), hidden=8, num_classes=5)
    shapes = jax.eval_shape(joint.init, jax.random.key(0), X)["params"]
    assert shapes["dense_out"]["kernel"].shape == (8, 5)
    wide = {**params, "dense_out": {"kernel": jnp.tile(params["dense_out"]["kernel"], 5), "bias": jnp.arange(5.0)}}
    logits = joint.apply({"params": wide}, X)
    energy = SMALL.apply({"params": {**params, "dense_out": {**params["dense_out"], "bias": jnp.zeros(1)}}}, X)
    quadratic = 0.5 * np.sum(X**2, axis=(1, 2, 3))
    np.testing.assert_allclose(logits, (energy - 2 * quadratic)[:, None] + np.arange(5.0), rtol=1e-4, atol=1e-3)


def test_spectral_norms_are_singular_values_and_scale_does_not_matter(params):
    matrix = np.random.default_rng(1).standard_normal((12, 5)).astype(np.float32)
    assert float(largest_singular_value(jnp.asarray(matrix))) == pytest.approx(np.linalg.svd(matrix)[1][0], rel=1e-4)
    normed = EnergyConv(features=(4,), hidden=8, spectral_norm=True)
    inner = {name: {**leaf, "kernel": 7.0 * leaf["kernel"]} for name, leaf in params.items() if name != "dense_out"}
    np.testing.assert_allclose(
        normed.apply({"params": {**params, **inner}}, X), normed.apply({"params": params}, X), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ({}, (3, 2), "takes images"),
        ({"features": ()}, (3, 4, 4, 1), r"features=\(\)"),
        ({"confine": -1.0}, (3, 4, 4, 1), "confine=-1.0"),
        ({"activation": "sine"}, (3, 4, 4, 1), "activation must be one of"),
    ],
)
def test_what_does_not_fit_is_named(fields, shape, message):
    with pytest.raises(ValueError, match=message):
        EnergyConv(**fields).init(jax.random.key(0), np.zeros(shape))
