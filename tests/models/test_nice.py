import math

import jax
import numpy as np
import pytest

from scorejax.models.nice import NICE

SMALL = NICE(features=8, depth=2, couplings=3)


def count(model, shape):
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, *shape), np.float32))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_the_published_size_is_that_of_the_published_network():
    assert count(NICE(features=1000), (28, 28, 1)) == 15_154_352


@pytest.mark.parametrize("shape", [(5,), pytest.param((2, 3, 2), marks=pytest.mark.slow)])
def test_the_inverse_inverts_and_the_log_determinant_is_the_sum_of_the_scales(make_params, shape):
    params = make_params(SMALL, (3, *shape), labels=())
    x, size = np.random.default_rng(1).standard_normal((3, *shape)).astype(np.float32), math.prod(shape)

    @jax.jit
    def both(x):
        z, log_det = SMALL.apply({"params": params}, x)
        jacobian = jax.vmap(jax.jacfwd(lambda one: SMALL.apply({"params": params}, one[None])[0][0]))(x)
        return z, log_det, jacobian, SMALL.apply({"params": params}, z, method="inverse")

    z, log_det, jacobian, back = both(x)
    np.testing.assert_allclose(back, x, atol=1e-5)
    sign, exact = np.linalg.slogdet(np.asarray(jacobian, np.float64).reshape(3, size, size))
    np.testing.assert_array_equal(sign, 1)
    np.testing.assert_allclose(log_det, exact, atol=1e-5)
    np.testing.assert_allclose(log_det, params["log_scale"].sum(), rtol=1e-5)
    assert np.abs(z - np.exp(params["log_scale"]).reshape(shape) * x).min() > 1e-3  # every entry was moved


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 4, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="NICE takes vectors"):
        SMALL.init(jax.random.key(0), np.zeros(shape, np.float32))
