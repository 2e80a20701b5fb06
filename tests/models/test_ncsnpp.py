import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from scorejax.models import DDPM, NCSNpp
from scorejax.models.embedding import noise_level

SHAPE = (2, 8, 8, 3)
X = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
TINY = {"features": 8, "channel_multipliers": (1, 2), "blocks_per_level": 1, "attention_resolutions": (4,)}
SMALL = functools.partial(NCSNpp, **TINY)

PYRAMIDS = {"progressive_input": "input_skip", "progressive": "output_skip"}
OPTIONS = [
    {"fir_kernel": (1, 2, 1), "nonlinearity": "elu", "remat": True},
    {**PYRAMIDS, "nonlinearity": "relu"},
    {"progressive_input": "input_skip", "progressive_combine": "cat", "fir": False, "nonlinearity": "leaky_relu"},
    {"block": "ddpm", "progressive": "residual", "embedding": "positional", "skip_rescale": False},
    {"block": "ddpm", "fir": False, "progressive": "output_skip", "embedding": "none"},
    {"block": "ddpm", "resample_with_conv": False, "attention_up": "block", "num_classes": 3, "embedding": "none"},
]


def shapes(model, shape, **kwargs):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape), jnp.ones(shape[0]), **kwargs)["params"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "size", "count"),
    [
        (DDPM(), 32, 35_746_307),
        (NCSNpp(), 32, 62_758_915),
    ],
)
def test_networks_have_the_published_number_of_parameters(model, size, count):
    """Of the others, those of the configs, `tests/shop/test_every_config.py` counts them."""
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes(model, (1, size, size, 3)))) == count


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
def test_every_option_builds_for_odd_sizes_too_and_has_a_gradient(options):
    model, shape = SMALL(**options), (2, 7, 5, 1)
    classes = jnp.zeros(2, int) if model.num_classes else None

    def loss(params, x):
        out = model.apply({"params": params}, x, jnp.ones(2), classes)
        assert out.shape == shape
        return jnp.sum(out)

    params = shapes(model, shape, condition=classes)
    assert jax.tree.map(jnp.shape, jax.eval_shape(jax.grad(loss), params, jnp.zeros(shape))) == jax.tree.map(
        jnp.shape, params
    )


@pytest.mark.slow
def test_every_parameter_matters_where_both_pyramids_are_residual(make_params):
    model = SMALL(progressive="residual", progressive_input="residual", block="ddpm", features=16)
    params = make_params(model, SHAPE)

    def loss(params):
        return jnp.mean(model.apply({"params": params}, X, jnp.array([0.1, 3.0])) ** 2)

    grads = flatten_dict(jax.jit(jax.grad(loss))(params), sep="/")
    typical = np.median([np.abs(gradient).max() for gradient in grads.values()])
    dead = {name for name, gradient in grads.items() if not np.abs(gradient).max() > 1e-4 * typical}
    # Frequencies are fixed, and the bias of a key shifts all logits of a query alike.
    assert {name for name in dead if not name.endswith("key/bias")} == {"embedding/fourier/W"}


def test_parameters_are_float32_whatever_the_compute_type():
    tree = shapes(SMALL(dtype=jnp.bfloat16, **PYRAMIDS), SHAPE)
    assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype("float32")}


def test_attention_follows_every_block_or_the_last_one_of_a_level_on_the_way_up():
    def names(attention_up):
        tree = shapes(DDPM(**TINY, attention_up=attention_up), SHAPE)
        return {name for name in tree if name.startswith("up") and "attention" in name}

    assert names("block") == {"up_1_attention_0", "up_1_attention_1"}
    assert names("level") == {"up_1_attention"}


def test_labels_of_noise_levels_count_from_the_largest_sigma_down():
    levels = (50.0, 0.01, 10)
    sigmas = noise_level(jnp.arange(10), levels)
    np.testing.assert_allclose(sigmas, np.geomspace(50.0, 0.01, 10), rtol=2e-6)
    np.testing.assert_array_equal(noise_level(sigmas, None), sigmas)


def test_without_embedding_the_label_is_sigma_alone(make_params):
    model = SMALL(embedding="none", noise_levels=(50.0, 0.01, 10), channel_multipliers=(1,))
    params = make_params(model, SHAPE)
    assert "embedding" not in params
    apply = jax.jit(lambda labels: model.apply({"params": params}, X, labels))
    first, other = apply(jnp.zeros(2)), apply(jnp.array([0.0, 9.0]))
    np.testing.assert_array_equal(other[0], first[0])
    np.testing.assert_allclose(other[1] * 0.01, first[1] * 50.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SMALL(block="resnet"), "block must be one of .*biggan.*ddpm.* got 'resnet'"),
        (SMALL(progressive="input_skip"), "progressive must be one of .*output_skip.* got 'input_skip'"),
        (SMALL(progressive_input="skip"), "progressive_input must be one of .*input_skip"),
        (SMALL(progressive_combine="concat"), "progressive_combine must be one of .*'sum', 'cat'"),
        (SMALL(nonlinearity="swish"), "nonlinearity must be one of .*silu.* got 'swish'"),
        (DDPM(**TINY, attention_up="all"), "attention_up must be one of .*level.*block"),
        (SMALL(noise_levels=(0.01, 50.0, 1000)), r"noise_levels must be \(largest sigma, .* got \(0\.01, 50"),
        (SMALL(fir_kernel=(1,)), "fir_kernel must hold at least two taps"),
    ],
)
def test_what_does_not_fit_is_named(model, message):
    with pytest.raises(ValueError, match=message):
        shapes(model, SHAPE)
