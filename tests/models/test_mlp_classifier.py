import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models import MLPClassifier

X = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
RATIOS = np.array([-9.0, 0.0, 12.0], np.float32)
SMALL = functools.partial(MLPClassifier, num_classes=4, features=16, depth=1)


@pytest.fixture(scope="module")
def params(make_params):
    return make_params(SMALL(), X.shape)


def test_the_untrained_network_gives_all_classes_equal_chances():
    out, _ = jax.jit(SMALL().init_with_output)(jax.random.key(0), X, RATIOS)
    np.testing.assert_array_equal(out, np.zeros((3, 4)))
    assert out.dtype == jnp.float32


def test_logits_depend_on_the_noise_of_their_own_example_only(params):
    apply = jax.jit(functools.partial(SMALL().apply, {"params": params}))
    out, other = (np.asarray(apply(X, ratios)) for ratios in (RATIOS, np.array([-9.0, 1.0, 12.0], np.float32)))
    np.testing.assert_allclose(other[[0, 2]], out[[0, 2]], atol=1e-5)
    assert np.abs(other[1] - out[1]).max() > 1e-3


def test_logits_are_a_linear_map_of_the_features(params):
    apply = jax.jit(functools.partial(SMALL().apply, {"params": params}), static_argnames=("train", "headless"))
    features = apply(X, RATIOS, headless=True)
    assert features.shape == (3, 16)
    last = params["dense_out"]
    np.testing.assert_allclose(apply(X, RATIOS), features @ last["kernel"] + last["bias"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ({}, (3, 2, 2), r"takes vectors .*got an array of shape \(3, 2, 2\)"),
        ({"num_classes": 1}, (3, 2), "num_classes must be at least 2"),
        ({}, (4, 2), "one noise label per example"),
    ],
)
def test_what_does_not_fit_is_named(fields, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(SMALL(**fields).init, jax.random.key(0), np.zeros(shape), RATIOS)
