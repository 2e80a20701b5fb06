import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scorejax.models import MLP

X = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
LABELS = np.array([0.0, 30.0, 900.0], np.float32)
SMALL = functools.partial(MLP, features=16, depth=2)


@functools.cache
def compiled(model):
    return jax.jit(model.apply, static_argnames="train")


def evaluate(model, params, x=X, labels=LABELS, **kwargs):
    return np.asarray(compiled(model)({"params": params}, x, labels, **kwargs))


@pytest.fixture(scope="module")
def params(make_params):
    return make_params(SMALL(), X.shape)


def test_the_untrained_network_is_zero_for_every_label():
    out, _ = jax.jit(SMALL().init_with_output)(jax.random.key(0), X, LABELS)
    np.testing.assert_array_equal(out, 0)


def test_the_output_depends_on_the_label_of_its_own_example_only(params):
    out = evaluate(SMALL(), params)
    other = evaluate(SMALL(), params, labels=np.array([0.0, 31.0, 900.0], np.float32))
    np.testing.assert_allclose(other[[0, 2]], out[[0, 2]], atol=1e-5)
    assert np.abs(other[1] - out[1]).max() > 1e-3
    assert np.isfinite(out).all()


def test_scale_by_sigma_evens_out_the_input_and_divides_the_output(params):
    sigma = LABELS + 0.01
    x = X * np.sqrt(1 + sigma**2)[:, None]
    scaled = evaluate(SMALL(scale_by_sigma=True), params, x, sigma)
    np.testing.assert_allclose(scaled * sigma[:, None], evaluate(SMALL(), params, X, sigma), rtol=1e-4, atol=1e-5)


def test_bfloat16_computes_nearly_the_same_and_returns_float32(params):
    out, rough = evaluate(SMALL(), params), evaluate(SMALL(dtype=jnp.bfloat16), params)
    assert rough.dtype == jnp.float32
    assert 1e-5 < np.abs(rough - out).max() / np.std(out) < 0.2


def test_class_labels_change_the_output_of_their_own_example(make_params):
    model = SMALL(num_classes=2)
    params = make_params(model, X.shape, condition=jnp.zeros(3, int))
    out, other = (evaluate(model, params, condition=np.array(c)) for c in ([0, 1, 2], [0, 0, 2]))
    np.testing.assert_allclose(out[[0, 2]], other[[0, 2]], atol=1e-5)
    assert np.abs(out[1] - other[1]).max() > 1e-3


def test_dropout_acts_in_training_only(params):
    model = SMALL(dropout=0.5)
    train = evaluate(model, params, train=True, rngs={"dropout": jax.random.key(0)})
    assert np.abs(train - evaluate(SMALL(), params)).max() > 0.01
    np.testing.assert_array_equal(evaluate(model, params), evaluate(SMALL(), params))


@pytest.mark.slow
def test_it_learns_the_exact_noise_of_a_correlated_gaussian_at_every_time():
    """E[z | x_t] = sigma (alpha^2 C + sigma^2)^-1 x_t, for VP with beta from 0.1 to 20."""
    root = np.array([[1.0, 0.0], [0.8, 0.5]], np.float32)
    model = MLP(features=64, depth=2)

    def noisy(key, n):
        data, times, noise = jax.random.split(key, 3)
        t = jax.random.uniform(times, (n,), minval=1e-3)
        log_alpha = -0.25 * t**2 * 19.9 - 0.05 * t
        alpha, sigma = jnp.exp(log_alpha)[:, None], jnp.sqrt(-jnp.expm1(2 * log_alpha))[:, None]
        z = jax.random.normal(noise, (n, 2))
        x = alpha * jax.random.normal(data, (n, 2)) @ root.T + sigma * z
        cov = alpha[..., None] ** 2 * (root @ root.T) + sigma[..., None] ** 2 * jnp.eye(2)
        return x, t, z, sigma * jnp.linalg.solve(cov, x[..., None])[..., 0]

    def loss(params, key):
        x, t, z, _ = noisy(key, 256)
        return jnp.mean((model.apply({"params": params}, x, 999 * t) - z) ** 2)

    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, 1500))

    def step(state, key):
        grads = jax.grad(loss)(state[0], key)
        updates, memory = optimizer.update(grads, state[1])
        return (optax.apply_updates(state[0], updates), memory), None

    @jax.jit
    def train(key):
        params = model.init(key, jnp.zeros((1, 2)), jnp.ones(1))["params"]
        keys = jax.random.split(key, 1500)
        return jax.lax.scan(step, (params, optimizer.init(params)), keys)[0][0]

    x, t, _, exact = jax.jit(noisy, static_argnums=1)(jax.random.key(1), 2000)
    error = jax.jit(model.apply)({"params": train(jax.random.key(0))}, x, 999 * np.asarray(t)) - np.asarray(exact)
    assert np.mean(error**2) < 2e-3 * np.mean(np.asarray(exact) ** 2)


@pytest.mark.parametrize(
    ("fields", "shape", "call", "message"),
    [
        ({}, (3, 2, 2), {}, "takes vectors .* DDPMpp"),
        ({"features": 10}, (3, 2), {}, "multiple of 4, got 10"),
        ({}, (3, 2), {"condition": np.zeros(3, int)}, "unconditional network"),
        ({"num_classes": 3}, (3, 2), {}, "needs a condition: pass integers"),
    ],
)
def test_what_does_not_fit_is_named(fields, shape, call, message):
    with pytest.raises(ValueError, match=message):
        SMALL(**fields).init(jax.random.key(0), np.zeros(shape), np.ones(3), **call)
