import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models import DDPMpp
from scorejax.models.embedding import NoiseEmbedding

SHAPE = (2, 8, 8, 3)
TINY = functools.partial(DDPMpp, features=8, channel_multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(4,))
X = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
LABELS = np.array([3.0, 700.0], np.float32)


def shapes(model, shape, **kwargs):
    labels = jnp.ones(shape[0])
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape), labels, **kwargs)["params"]


# What is compiled to run has one level; networks of several levels run in `test_golden.py`.
SMALLEST = functools.partial(TINY, channel_multipliers=(1,), attention_resolutions=())


@functools.cache
def compiled(model):
    return jax.jit(model.apply)


def evaluate(model, params, x=X, labels=LABELS):
    return np.asarray(compiled(model)({"params": params}, x, labels))


@pytest.fixture(scope="module")
def params(make_params):
    return make_params(SMALLEST(), SHAPE)


@pytest.fixture(scope="module")
def plain(params):
    return evaluate(SMALLEST(), params)


@pytest.mark.parametrize(
    ("shape", "multipliers"),
    [((1, 28, 28, 1), (1, 2, 2)), ((1, 28, 28, 1), (1, 1, 1, 1)), ((1, 8, 8, 1), (1, 1, 1)), ((2, 7, 5, 4), (1, 2))],
)
def test_every_image_size_and_channel_count_comes_back_as_it_went_in(shape, multipliers):
    model = TINY(channel_multipliers=multipliers)
    out, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros(shape), jnp.ones(shape[0]))
    assert out.shape == shape


def test_attention_sits_at_the_named_resolutions_and_in_the_middle():
    def names(*resolutions):
        tree = shapes(TINY(attention_resolutions=resolutions), SHAPE)
        return {name for name in tree if "attention" in name}

    assert names() == {"mid_attention"}
    assert names(8) == {"mid_attention", "down_0_attention_0", "up_0_attention"}
    assert names(4, 99) == {"mid_attention", "down_1_attention_0", "up_1_attention"}


def test_parameters_are_float32_whatever_the_compute_type():
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes(TINY(dtype=jnp.bfloat16), SHAPE))} == {jnp.dtype("float32")}


def test_the_untrained_network_says_nothing(params, plain):
    """Because of its last convolution, whatever comes before: of the initial parameters no others are computed."""
    last = jax.jit(lambda key: SMALLEST().init(key, X, LABELS)["params"]["conv_out"])(jax.random.key(0))
    out = evaluate(SMALLEST(), {**params, "conv_out": last})
    assert 0 < np.abs(out).max() < 1e-3 < np.abs(plain).max()


def test_the_output_depends_on_the_noise_label_of_its_own_example_only(params, plain):
    other = evaluate(SMALLEST(), params, labels=np.array([3.0, 100.0], np.float32))
    np.testing.assert_allclose(other[0], plain[0], atol=1e-5)
    assert np.abs(other[1] - plain[1]).max() > 0.01


def test_scale_by_sigma_divides_the_output_by_the_label(params, plain):
    scaled = evaluate(SMALLEST(scale_by_sigma=True), params)
    np.testing.assert_allclose(scaled * LABELS[:, None, None, None], plain, rtol=1e-4, atol=1e-5)


def test_an_image_in_0_1_is_treated_as_its_copy_in_minus_1_1(params, plain):
    np.testing.assert_allclose(evaluate(SMALLEST(centered_input=False), params, (X + 1) / 2), plain, atol=1e-4)


def test_bfloat16_computes_nearly_the_same_and_returns_float32(params, plain):
    rough = evaluate(SMALLEST(dtype=jnp.bfloat16), params)
    assert rough.dtype == jnp.float32
    error = np.abs(rough - plain).max() / np.std(plain)
    assert 1e-5 < error < 0.1


def test_every_convolution_but_the_last_is_computed_in_the_compute_type(params):
    text = compiled(SMALLEST(dtype=jnp.bfloat16)).lower({"params": params}, X, LABELS).as_text()
    types = re.findall(r"stablehlo\.convolution.*-> tensor<[0-9x]*x(\w+)>", text)
    assert types == ["bf16"] * (len(types) - 1) + ["f32"]
    assert len(types) > 5


@pytest.mark.slow
def test_remat_changes_neither_the_tree_nor_values_nor_gradients(make_params):
    def make(remat):
        return SMALLEST(remat=remat)

    params = make_params(make(False), SHAPE)
    assert jax.tree.structure(shapes(TINY(remat=True), SHAPE)) == jax.tree.structure(shapes(TINY(), SHAPE))

    def value_and_grad(model):
        def loss(params):
            dropout = {"dropout": jax.random.key(0)}
            return jnp.mean(model.apply({"params": params}, X, LABELS, train=True, rngs=dropout) ** 2)

        return jax.jit(jax.value_and_grad(loss))(params)

    (value, grads), (value_remat, grads_remat) = value_and_grad(make(False)), value_and_grad(make(True))
    np.testing.assert_allclose(value, value_remat, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), grads, grads_remat)


def test_class_labels_change_the_output_of_their_own_example_and_the_last_means_no_class(make_params):
    model = SMALLEST(num_classes=3)
    params = make_params(model, SHAPE, condition=jnp.zeros(2, int))
    assert params["embedding"]["classes"]["table"]["embedding"].shape == (4, 32)
    apply = jax.jit(lambda c: model.apply({"params": params}, X, LABELS, c))
    out, other = apply(jnp.array([0, 1])), apply(jnp.array([0, 3]))
    np.testing.assert_allclose(out[0], other[0], atol=1e-5)
    assert np.abs(out[1] - other[1]).max() > 0.01
    assert np.isfinite(other).all()


def test_random_frequencies_see_the_logarithm_of_the_label_and_are_never_trained():
    tree = shapes(TINY(embedding="fourier"), SHAPE)
    assert tree["embedding"]["fourier"]["W"].shape == (8,)
    model = NoiseEmbedding(features=8, kind="fourier")
    params = jax.jit(model.init)(jax.random.key(0), LABELS, None)["params"]
    # Frequencies of whole numbers: multiplying the label by e leaves every wave as it is.
    params["fourier"]["W"] = jnp.round(params["fourier"]["W"])

    def total(params, labels):
        return jnp.sum(model.apply({"params": params}, labels, None) ** 2)

    value, grads = jax.jit(jax.value_and_grad(total))(params, LABELS / 100)
    np.testing.assert_allclose(total(params, LABELS / 100 * np.e), value, rtol=1e-3)
    assert np.abs(total(params, LABELS / 100 * 2) - value) > 0.01 * value
    np.testing.assert_array_equal(grads["fourier"]["W"], 0)
    assert np.abs(grads["dense_0"]["kernel"]).max() > 0


@pytest.mark.parametrize(
    ("fields", "shape", "call", "message"),
    [
        ({}, (2, 8), {}, r"takes images .* got an array of shape \(2, 8\)"),
        ({"embedding": "random"}, SHAPE, {}, "one of .*positional.*fourier.*got 'random'"),
        ({"blocks_per_level": 0}, SHAPE, {}, "at least 1"),
        ({"channel_multipliers": (1, 1, 1, 1, 1)}, SHAPE, {}, "halve the image 4 times, but 8x8 .*fewer"),
        ({}, SHAPE, {"condition": np.zeros(2, int)}, "unconditional network"),
        ({"num_classes": 3}, SHAPE, {}, "needs a condition: pass integers of shape .*3 means 'no class'"),
        ({"num_classes": 3}, SHAPE, {"condition": np.zeros(2)}, "must be integers .* got float"),
        ({"num_classes": 3}, SHAPE, {"condition": np.zeros(3, int)}, r"of shape \(3,\)"),
        ({}, SHAPE, {"labels": np.ones(())}, "one noise label per example"),
    ],
)
def test_what_does_not_fit_is_named(fields, shape, call, message):
    call = {"labels": np.ones(2), **call}
    with pytest.raises(ValueError, match=message):
        TINY(**fields).init(jax.random.key(0), np.zeros(shape), **call)
