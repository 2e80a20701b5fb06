import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models.coupling_flow import CouplingFlow, masks

SHAPES = [(2,), (5,), (4, 4, 1), (3, 4, 2)]
SMALL = functools.partial(CouplingFlow, features=16, depth=2, couplings=4)


def flow_and_params(make_params, shape, **fields):
    model = SMALL(**fields)
    return model, make_params(model, (3, *shape), labels=())


@functools.partial(jax.jit, static_argnames=("model", "method"))
def run(model, params, x, method=None):
    """The flow as one program; its operations one by one take longer to compile."""
    return model.apply({"params": params}, x, method=method)


def points(shape, count=3, scale=1.0):
    return (scale * np.random.default_rng(1).standard_normal((count, *shape))).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_inverse_inverts(make_params, shape):
    model, params = flow_and_params(make_params, shape)
    x = points(shape, scale=2.0)
    z, _ = run(model, params, x)
    assert np.abs(z - x).max() > 0.1
    # scales up to e^2 in each coupling let rounding errors grow
    np.testing.assert_allclose(run(model, params, z, "inverse"), x, atol=2e-3)
    back = run(model, params, x, "inverse")
    np.testing.assert_allclose(run(model, params, back)[0], x, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_log_determinant_is_that_of_the_jacobian(make_params, shape):
    model, params = flow_and_params(make_params, shape)
    x, size = points(shape), math.prod(shape)

    def one(x):
        return run(model, params, x[None])[0][0]

    jacobian = jax.jit(jax.vmap(jax.jacobian(one)))(x).reshape(len(x), size, size)
    sign, exact = np.linalg.slogdet(np.asarray(jacobian, np.float64))
    np.testing.assert_array_equal(sign, 1)
    log_det = run(model, params, x)[1]
    assert np.std(log_det) > 1e-2  # not that of the diagonal maps alone
    np.testing.assert_allclose(log_det, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_density_in_the_plane_integrates_to_one(make_params):
    model, params = flow_and_params(make_params, (2,), bound=0.5)
    side = np.linspace(-15, 15, 1001, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    z, log_det = run(model, params, grid)
    density = np.exp(np.asarray(-0.5 * jnp.sum(z**2, axis=1) - jnp.log(2 * jnp.pi) + log_det, np.float64))
    assert density.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=2e-3)


def test_the_untrained_flow_is_the_identity():
    x = points((5,))
    (z, log_det), _ = SMALL().init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(z, x)
    np.testing.assert_array_equal(log_det, 0)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_every_entry_is_moved_and_depends_on_every_entry(make_params, shape):
    model, params = flow_and_params(make_params, shape, couplings=8)
    size = math.prod(shape)
    jacobian = jax.jit(jax.jacobian(lambda x: run(model, params, x[None])[0][0]))(points(shape)[0])
    assert np.count_nonzero(np.asarray(jacobian).reshape(size, size)) == size**2


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_leave_something_to_move_and_something_to_look_at(shape):
    for mask in masks(shape):
        assert set(mask) == {0.0, 1.0}
        assert mask.shape == (math.prod(shape),)


def test_scales_stay_within_their_bound(make_params):
    model, params = flow_and_params(make_params, (2,), bound=0.5, couplings=2)
    params = {name: jax.tree.map(np.zeros_like, of) if "diagonal" in name else of for name, of in params.items()}
    log_det = run(model, params, points((2,), 200, 30.0))[1]
    assert 0.5 < np.abs(log_det).max() <= 1.0  # two couplings, one moving entry each


def test_dropout_acts_in_training_only(make_params):
    model, params = flow_and_params(make_params, (4, 4, 1), dropout=0.5)
    x = points((4, 4, 1))
    z, _ = run(model, params, x)
    training = jax.jit(lambda x: model.apply({"params": params}, x, train=True, rngs={"dropout": jax.random.key(0)}))
    assert np.abs(z - training(x)[0]).max() > 1e-2
    np.testing.assert_allclose(run(model, params, z, "inverse"), x, atol=2e-3)


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ({}, (1,), "D >= 2"),
        ({}, (1, 4, 1), "at least 2x2"),
        ({"couplings": 0}, (2,), "couplings=0"),
        ({"bound": 0.0}, (2,), "bound=0.0"),
    ],
)
def test_what_does_not_fit_is_named(fields, shape, message):
    with pytest.raises(ValueError, match=message):
        SMALL(**fields).init(jax.random.key(0), np.zeros((3, *shape)))
