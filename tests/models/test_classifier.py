import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from scorejax.models import WideResNetClassifier
from scorejax.models.wide_resnet import standardized

SHAPE = (2, 8, 8, 3)
TINY = functools.partial(WideResNetClassifier, num_classes=4, depth=10, width=1, embedding="fourier")
X = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
LABELS = np.array([0.02, 3.0], np.float32)


def shapes(model, shape):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape), jnp.ones(shape[0]))["params"]


@pytest.fixture(scope="module")
def params(make_params):
    return make_params(TINY(), SHAPE)


@pytest.fixture(scope="module")
def classify(params):
    return jax.jit(lambda x, labels: TINY().apply({"params": params}, x, labels))


def test_the_default_is_wrn_28_10_of_36_5_million_parameters_and_its_noise_embedding():
    def count(embedding):
        tree = shapes(WideResNetClassifier(embedding=embedding), (1, 32, 32, 3))
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    # Frequencies, two dense layers, and one to the channels of each of the 12 blocks.
    noise = 128 + (256 + 1) * 512 + (512 + 1) * 512 + (512 + 1) * 4 * (160 + 320 + 640)
    assert count("none") == 36_479_194
    assert count("fourier") == 36_479_194 + noise
    assert count("log_snr") == 36_479_194 + noise - 128 - 128 * 512  # half as many waves, at fixed rates


@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (3, 28, 28, 1), (2, 7, 5, 4), (1, 1, 1, 1)])
def test_every_image_size_gives_a_logit_per_class_in_float32(shape):
    model = TINY(dtype=jnp.bfloat16)
    out, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros(shape), jnp.ones(shape[0]))
    assert (out.shape, out.dtype) == ((shape[0], 4), jnp.float32)


def test_the_last_two_groups_halve_the_image_and_all_groups_widen_it():
    model = TINY(depth=16, width=3)
    _, state = jax.eval_shape(
        functools.partial(model.apply, capture_intermediates=True), {"params": shapes(model, SHAPE)}, X, LABELS
    )
    layers = {name: layer["__call__"][0].shape for name, layer in state["intermediates"].items() if "group" in name}
    sizes = [(2, 8, 8, 48), (2, 4, 4, 96), (2, 2, 2, 192)]
    assert layers == {f"group_{i}_block_{j}": sizes[i] for i in range(3) for j in range(2)}


def test_logits_are_a_linear_map_of_the_mean_of_the_last_feature_map(classify, params):
    features = jax.jit(functools.partial(TINY().apply, headless=True))({"params": params}, X, LABELS)
    assert features.shape == (2, 2, 2, 64)
    last = params["dense_out"]
    expected = features.mean(axis=(1, 2)) @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(classify(X, LABELS), expected, rtol=1e-4, atol=1e-4)


def test_logits_depend_on_the_noise_label_of_their_own_example_only(classify):
    plain, other = classify(X, LABELS), classify(X, np.array([0.02, 30.0], np.float32))
    np.testing.assert_allclose(other[0], plain[0], atol=1e-5)
    assert np.abs(other[1] - plain[1]).max() > 0.01


def test_neither_brightness_nor_contrast_of_an_image_counts(classify):
    plain = classify(X, LABELS)
    np.testing.assert_allclose(classify(50 * X + 20, LABELS), plain, rtol=1e-3, atol=1e-3)
    assert np.abs(classify(-X, LABELS) - plain).max() > 0.01


def test_standardized_images_have_mean_0_and_standard_deviation_1_and_flat_ones_stay_flat():
    x = jax.jit(standardized)(jnp.asarray(np.stack([7 + 3 * X[0], 1e-3 * X[1], np.ones(SHAPE[1:])])))
    np.testing.assert_allclose(x.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    # 1e-3 is less than 1 / sqrt(192): the floor counts.
    np.testing.assert_allclose(x.std(axis=(1, 2, 3)), [1, 1e-3 * X[1].std() * np.sqrt(192), 0], rtol=1e-4)
    flat = jax.jit(jax.grad(lambda x: standardized(x)[0, 0, 0, 0]))(jnp.ones(SHAPE))
    assert np.isfinite(flat).all()


@pytest.mark.slow
def test_without_standardization_contrast_counts(params):
    apply = jax.jit(functools.partial(TINY(standardize=False).apply, {"params": params}))
    assert np.abs(apply(50 * X, LABELS) - apply(X, LABELS)).max() > 0.01


def test_the_label_of_a_chain_stands_for_its_sigma(classify, params):
    chain = TINY(noise_levels=(3.0, 0.03, 3))
    ours = jax.jit(functools.partial(chain.apply, {"params": params}))(X, np.array([0, 2]))
    np.testing.assert_allclose(ours, classify(X, np.array([3.0, 0.03], np.float32)), atol=1e-3)


@pytest.mark.slow
def test_every_parameter_but_the_frequencies_learns_and_every_pixel_steers_its_own_logits(params):
    def loss(params, x):
        logits = TINY().apply({"params": params}, x, LABELS)
        return -jax.nn.log_softmax(logits)[0, 1]

    grads, pixels = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, X)
    flat = flatten_dict(grads, sep="/")
    assert {name for name, grad in flat.items() if not np.any(grad)} == {"embedding/fourier/W"}
    assert np.all(pixels[0] != 0)
    np.testing.assert_array_equal(pixels[1], 0)


def test_values_are_dropped_in_training_only():
    model = TINY(dropout=0.5)
    call = functools.partial(jax.eval_shape, lambda params, **rest: model.apply({"params": params}, X, LABELS, **rest))
    call(shapes(model, SHAPE))
    with pytest.raises(Exception, match="dropout"):
        jax.eval_shape(lambda params: model.apply({"params": params}, X, LABELS, train=True), shapes(model, SHAPE))


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ({}, (2, 8, 3), r"takes images .* got an array of shape \(2, 8, 3\)"),
        ({"depth": 12}, SHAPE, r"6 n \+ 4 .*got 12"),
        ({"depth": 4}, SHAPE, "got 4"),
        ({"num_classes": 1}, SHAPE, "num_classes must be at least 2 .*got 1"),
        ({"embedding": "random"}, SHAPE, "one of .*fourier.*positional.*got 'random'"),
        ({}, (3, 8, 8, 3), "one noise label per example"),
    ],
)
def test_what_does_not_fit_is_named(fields, shape, message):
    with pytest.raises(ValueError, match=message):
        TINY(**fields).init(jax.random.key(0), np.zeros(shape), np.ones(2))
