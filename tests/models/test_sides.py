"""U-Nets of series and volumes, and of data around a circle: one network in every dimension."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models import DDPM, DDPMpp, NCSNpp

TINY = {"features": 8, "channel_multipliers": (1, 2), "blocks_per_level": 1, "attention_resolutions": (4,)}
MEANS = {**TINY, "fir": False, "centered_input": True, "dropout": 0.0}
RNG = np.random.default_rng(3)


def run(model, params, x):
    return jax.jit(lambda params, x: model.apply({"params": params}, x, jnp.full(len(x), 1.5)))(params, x)


def in_a_plane(params, padding):
    """The kernels of a network of series that do to an image of one column what those of the plane do.

    Beyond the column lie zeros, which a kernel's outer columns meet, or around a circle the column itself.
    """

    def reduced(leaf):
        return leaf[:, 1] if padding == "zeros" else leaf.sum(axis=1)

    return jax.tree.map(lambda leaf: reduced(leaf) if leaf.ndim == 4 else leaf, params)


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_an_image_of_one_column_is_a_series(make_params, padding):
    model = DDPM(**MEANS, padding=(padding,))
    x = RNG.standard_normal((2, 8, 1, 3)).astype(np.float32)
    params = make_params(model, x.shape)
    in_line = run(model, in_a_plane(params, padding), x[:, :, 0])
    np.testing.assert_allclose(in_line, run(model, params, x)[:, :, 0], atol=2e-5)


@pytest.mark.slow
def test_a_volume_of_one_slice_is_an_image(make_params):
    model = DDPMpp(**MEANS)
    x = RNG.standard_normal((2, 1, 6, 8, 2)).astype(np.float32)
    params = make_params(model, x.shape)
    flat = jax.tree.map(lambda leaf: leaf[1] if leaf.ndim == 5 else leaf, params)
    np.testing.assert_allclose(run(model, flat, x[:, 0]), run(model, params, x)[:, 0], atol=2e-5)


CIRCLES = [
    ((2, 8, 3), ("circular",), DDPMpp(**MEANS, padding=("circular",))),
    ((2, 4, 8, 1), ("circular", "zeros"), DDPM(**MEANS, padding=("circular", "zeros"))),
    ((1, 8, 4, 1), ("circular",), NCSNpp(**TINY, dropout=0.0, padding=("circular",), progressive="residual")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "padding", "model"), CIRCLES, ids=["means", "mixed", "filters"])
def test_around_a_circle_no_place_is_special(make_params, shape, padding, model):
    """A shift by a whole pixel of the coarsest level goes through; where zeros lie beyond the edge it does not."""
    x = RNG.standard_normal(shape).astype(np.float32)
    params = make_params(model, shape)
    out = run(model, params, np.concatenate([x, np.roll(x, 2, axis=1)]))
    np.testing.assert_allclose(np.roll(out[: len(x)], 2, axis=1), out[len(x) :], atol=3e-5)
    if "zeros" in padding:
        moved = run(model, params, np.roll(x, 2, axis=2))
        assert np.abs(np.roll(out[: len(x)], 2, axis=2) - moved).max() > 1e-2


def test_the_same_network_with_zeros_beyond_the_edge_knows_where_it_is(make_params):
    model, x = DDPMpp(**MEANS), RNG.standard_normal((2, 8, 3)).astype(np.float32)
    params = make_params(model, x.shape)
    out = run(model, params, np.concatenate([x, np.roll(x, 2, axis=1)]))
    assert np.abs(np.roll(out[:2], 2, axis=1) - out[2:]).max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5, 1), (33, 13), (1, 2), (9, 5, 2), (6, 1, 1), (5, 7, 6, 3), (1, 4, 9, 1)], ids=str)
def test_any_sides_and_channels_have_a_network(shape):
    for model in (DDPMpp(**MEANS), NCSNpp(**TINY, progressive_input="input_skip", progressive="output_skip")):
        init = functools.partial(jax.eval_shape, model.init_with_output, jax.random.key(0))
        assert init(jnp.zeros((2, *shape)), jnp.ones(2))[0].shape == (2, *shape)


@pytest.mark.slow
def test_rows_of_a_batch_of_volumes_do_not_know_of_each_other(make_params):
    model = DDPMpp(**{**MEANS, "attention_resolutions": (5,)})
    x = RNG.standard_normal((2, 5, 3, 4, 2)).astype(np.float32)
    params = make_params(model, x.shape)
    out, other = (run(model, params, each) for each in (x, np.stack([x[0], 0 * x[1]])))
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[0], other[0], atol=1e-5)


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        (DDPMpp(**MEANS, padding=("circular",)), (7, 1), "axis 0 has 7 pixels .* multiple of 2, such as 6 or 8"),
        (DDPMpp(**MEANS, padding=("zeros", "circular")), (7, 9, 1), "axis 1 has 9 pixels"),
        (DDPMpp(**MEANS, padding=("zeros", "zeros")), (8, 1), "one for each of the 1, got"),
        (DDPMpp(**MEANS, padding=("mirror",)), (8, 1), "zeros or circular, .*mirror"),
        (DDPMpp(**MEANS), (5,), "takes images .* series .* volumes"),
        (DDPMpp(**{**MEANS, "channel_multipliers": (1, 1, 1)}), (2, 9, 1), "2x9 is down to one pixel before"),
    ],
)
def test_what_does_not_fit_is_named(model, shape, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)), jnp.ones(1))
