import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from scorejax.models.energy_mlp import EnergyMLP

SMALL = EnergyMLP(features=16, depth=2)
X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def params(make_params):
    return make_params(SMALL, X.shape, labels=())


def test_the_untrained_law_is_normal():
    energy, _ = EnergyMLP(features=16, confine=4.0).init_with_output(jax.random.key(0), X)
    np.testing.assert_allclose(energy, 2.0 * np.sum(X**2, axis=1), rtol=1e-5)


def test_far_out_the_energy_is_that_of_the_quadratic(params):
    far = 1e3 * X / np.linalg.norm(X, axis=1, keepdims=True)
    energy = SMALL.apply({"params": params}, far)
    np.testing.assert_allclose(energy, 0.5 * np.sum(far**2, axis=1), rtol=0.05)


@pytest.mark.slow
def test_the_score_is_the_slope_of_the_energy_and_is_smooth(params):
    def energy(x):
        return jnp.sum(SMALL.apply({"params": params}, x))

    check_grads(energy, (jnp.asarray(X),), order=2, modes=["rev"], eps=1e-2, atol=2e-2, rtol=2e-2)
    network = jax.hessian(lambda x: energy(x[None]))(jnp.asarray(X[0])) - np.eye(3)
    assert np.abs(network).max() > 1e-3  # not a piecewise linear function, whose second derivatives vanish


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [({}, (3, 2, 2), "flatten it"), ({"depth": 0}, (3, 2), "depth=0"), ({"confine": -1.0}, (3, 2), "confine=-1.0")],
)
def test_what_does_not_fit_is_named(fields, shape, message):
    with pytest.raises(ValueError, match=message):
        EnergyMLP(**fields).init(jax.random.key(0), np.zeros(shape))
