import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models import TableMLP

X = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
LABELS = np.array([0.0, 30.0, 900.0], np.float32)
SMALL = {"features": 16, "depth": 1, "waves": 3}


def evaluate(model, params, x=X, labels=LABELS):
    return np.asarray(jax.jit(model.apply)({"params": params}, x, labels))


@pytest.fixture(scope="module")
def params(make_params):
    return make_params(TableMLP(**SMALL), X.shape)


def test_the_untrained_network_is_zero_and_its_frequencies_are_not_trained():
    model = TableMLP(**SMALL, wave_scale=4.0)

    def loss(params):
        out = model.apply({"params": params}, X, LABELS)
        return jnp.sum(jnp.square(out - X)), out

    params = jax.jit(model.init)(jax.random.key(0), X, LABELS)["params"]
    gradient, out = jax.jit(jax.grad(loss, has_aux=True))(params)
    np.testing.assert_array_equal(out, 0)
    np.testing.assert_array_equal(gradient["frequencies"], 0)
    assert params["frequencies"].shape == (2, 3) and 1 < np.std(params["frequencies"]) < 10
    assert np.abs(gradient["dense_out"]["kernel"]).max() > 0


def test_a_column_enters_as_itself_and_in_waves_of_its_own_frequencies(params):
    """Where no weight meets `x` itself, whole periods of a column do not change the output but for the gain."""
    whole = {**params, "frequencies": np.array([[1, 2, 3], [1, 1, 2]], np.float32)}
    weights = np.array(whole["dense_in"]["kernel"])
    weights[:2] = 0
    whole = {**whole, "dense_in": {**whole["dense_in"], "kernel": weights}}
    gain = jax.tree.map(np.zeros_like, params["gain"])
    moved = X + np.float32([[2, 1]])
    out, other = (evaluate(TableMLP(**SMALL), whole | {"gain": gain}, x) for x in (X, moved))
    np.testing.assert_allclose(out, other, atol=2e-4)
    assert np.abs(out - evaluate(TableMLP(**SMALL), whole | {"gain": gain}, X + 0.3)).max() > 1e-2


def test_scale_by_sigma_evens_out_the_input_and_divides_the_output(params):
    sigma = LABELS + 0.01
    x = X * np.sqrt(1 + sigma**2)[:, None]
    scaled = evaluate(TableMLP(**SMALL, scale_by_sigma=True), params, x, sigma)
    plain = evaluate(TableMLP(**SMALL), params, X, sigma)
    np.testing.assert_allclose(scaled * sigma[:, None], plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "shape", "call", "message"),
    [
        ({}, (3, 2, 2), {}, "takes rows .* DDPMpp"),
        ({"features": 10}, (3, 2), {}, "multiple of 4, got 10"),
        ({"condition": "sequence", "condition_dim": 2}, (3, 2), {}, "no attention for a sequence"),
        ({"num_classes": 3}, (3, 2), {}, "needs a condition: pass integers"),
    ],
)
def test_what_does_not_fit_is_named(fields, shape, call, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(TableMLP(**SMALL | fields).init, jax.random.key(0), np.zeros(shape), np.ones(3), **call)
