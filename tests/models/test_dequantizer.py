"""The dequantizer is a flow: what it calls log q is the log density of what it draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models.flow_dequantizer import FlowDequantizer, merge, mixture_logit, split

TINY = FlowDequantizer(features=4, components=3, blocks=1, heads=2, flows=2)


@pytest.mark.slow
def test_log_q_is_the_density_of_the_noise_divided_by_the_jacobian():
    shape = (2, 2, 2, 2)
    params = _params(shape)
    noise = np.random.default_rng(1).logistic(size=shape).astype(np.float32)
    images = np.linspace(-1, 1, 16, dtype=np.float32).reshape(shape)

    @jax.jit
    def flow(noise, images):
        return TINY.apply({"params": params}, noise, images)

    @jax.jit
    @jax.vmap
    def jacobian(noise, image):
        return jax.jacfwd(lambda flat: flow(flat.reshape(1, 2, 2, 2), image[None])[0].ravel())(noise.ravel())

    u, log_q = map(np.asarray, flow(noise, images))
    assert np.all((u > 0) & (u < 1))
    jacobians = np.asarray(jacobian(noise, images), np.float64)
    for i in range(2):
        log_det = np.linalg.slogdet(jacobians[i])[1]
        base = np.sum(noise[i] - 2 * np.logaddexp(0, noise[i], dtype=np.float64))
        np.testing.assert_allclose(log_q[i], base - log_det, rtol=1e-4, atol=1e-4)


def _params(shape):
    """Weights of unit gain, so that no step is near the identity."""
    tree = jax.eval_shape(TINY.init, jax.random.key(0), jnp.zeros(shape), jnp.zeros(shape))["params"]
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        z = rng.standard_normal(leaf.shape).astype(np.float32)
        if path[-1].key == "scale":
            return 1 + 0.1 * z
        return z / np.sqrt(np.prod(leaf.shape[:-1]), dtype=np.float32) if leaf.ndim > 1 else 0.1 * z

    return jax.tree_util.tree_map_with_path(draw, tree)


def test_it_begins_as_uniform_dequantization():
    model, shape = FlowDequantizer(features=4, components=2, blocks=1, heads=2, flows=1), (64, 4, 4, 1)
    noise = np.random.default_rng(0).logistic(size=shape).astype(np.float32)
    images = np.zeros(shape, np.float32)

    @jax.jit
    def drawn(key):
        return model.init_with_output(key, noise, images)[0]

    u, log_q = map(np.asarray, drawn(jax.random.key(1)))
    np.testing.assert_allclose(log_q, 0.0, atol=0.6)  # of 16 dimensions
    assert abs(float(log_q.mean())) < 0.05
    assert np.abs(np.sort(u.ravel()) - (np.arange(1024) + 0.5) / 1024).max() < 2 / 1024**0.5


def test_the_checkerboard_takes_every_second_pixel_and_gives_it_back():
    x = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
    black, white = map(np.asarray, jax.jit(split)(x))
    np.testing.assert_array_equal(black[0, :, :, 0], [[0, 4], [10, 14], [16, 20]])
    np.testing.assert_array_equal(white[0, :, :, 0], [[2, 6], [8, 12], [18, 22]])
    np.testing.assert_array_equal(jax.jit(merge)((black, white)), x)


def test_the_logit_of_a_mixture_keeps_its_digits_in_the_tails():
    rng = np.random.default_rng(0)
    x = np.array([-200.0, -30.0, -1.0, 0.0, 0.5, 30.0, 200.0])
    weights, means, log_scales = (rng.standard_normal((7, 4)) for _ in range(3))
    logit = jax.jit(mixture_logit)
    single = [np.float32(a) for a in (x, weights, means, log_scales)]
    y, log_slope = logit(*single)
    slope = jax.jit(jax.vmap(jax.grad(lambda *a: mixture_logit(*a)[0])))(*single)
    np.testing.assert_allclose(np.exp(log_slope), slope, rtol=1e-4)
    with jax.enable_x64(True):
        exact, exact_slope = logit(x, weights, means, log_scales)
    np.testing.assert_allclose(y, exact, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_slope, exact_slope, rtol=1e-4, atol=1e-4)
    middle = slice(2, 5)
    p = np.exp(weights - np.log(np.exp(weights).sum(1, keepdims=True)))
    cdf = np.sum(p / (1 + np.exp(-(x[:, None] - means) / np.exp(log_scales))), 1)[middle]
    np.testing.assert_allclose(np.asarray(y)[middle], np.log(cdf / (1 - cdf)), rtol=1e-4)


def test_equal_components_at_rest_are_the_identity():
    x = np.linspace(-50.0, 50.0, 11, dtype=np.float32)
    y, log_slope = jax.jit(mixture_logit)(x, *(np.zeros((11, 5), np.float32),) * 3)
    np.testing.assert_allclose(y, x, rtol=1e-6)
    np.testing.assert_allclose(log_slope, 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "shapes", "words"),
    [
        ({}, [(1, 4, 3, 1)] * 2, ["3 pixels wide", "even"]),
        ({}, [(1, 4, 4, 1), (1, 4, 4, 3)], ["one shape", "(1, 4, 4, 3)"]),
        ({"heads": 5}, [(1, 2, 2, 1)] * 2, ["heads=5", "features=96"]),
    ],
)
def test_a_mistake_is_told(fields, shapes, words):
    with pytest.raises(ValueError) as caught:
        jax.eval_shape(FlowDequantizer(**fields).init, jax.random.key(0), *map(jnp.zeros, shapes))
    assert all(word in str(caught.value) for word in words), caught.value
