import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models.dropout import Dropout
from scorejax.models.embedding import sinusoidal, smooth_label_features
from scorejax.models.layers import AttentionBlock, GroupNorm, ResBlock, group_count

X = np.random.default_rng(0).standard_normal(1152).astype(np.float32)


def test_group_norm_has_zero_mean_and_unit_variance_in_each_group_even_far_from_zero():
    x = 1e4 + 3 * X.reshape(2, 6, 6, 16)
    params = {"scale": np.ones(16, np.float32), "bias": np.zeros(16, np.float32)}
    groups = np.asarray(jax.jit(GroupNorm().apply)({"params": params}, x)).reshape(2, 36, 4, 4)
    np.testing.assert_allclose(groups.mean((1, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(groups.var((1, 3)), 1, rtol=1e-3)


def test_group_norm_is_float32_scaled_and_shifted_by_channel():
    x, apply = X[:256].reshape(2, 4, 4, 8), jax.jit(GroupNorm().apply)
    plain = np.asarray(apply({"params": {"scale": np.ones(8, np.float32), "bias": np.zeros(8, np.float32)}}, x))
    scale, bias = np.arange(8, dtype=np.float32), np.arange(8, dtype=np.float32) - 3
    params = {"scale": scale, "bias": bias}
    np.testing.assert_allclose(apply({"params": params}, x), plain * scale + bias, atol=1e-5)
    assert jax.eval_shape(apply, {"params": params}, x.astype(jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize(("channels", "groups"), [(32, 8), (96, 24), (128, 32), (512, 32), (144, 24), (3, 1), (35, 7)])
def test_groups_are_a_quarter_of_the_channels_up_to_32_and_divide_them(channels, groups):
    assert group_count(channels) == groups


def test_groups_of_one_channel_are_as_many_as_channels_up_to_32():
    assert [group_count(channels, 1) for channels in (24, 32, 48, 128)] == [24, 32, 24, 32]


def test_attention_does_not_care_about_the_order_of_pixels():
    block = AttentionBlock()
    x = X[:128].reshape(2, 2, 4, 8)
    rng = np.random.default_rng(0)
    dense = {"kernel": rng.standard_normal((8, 8)), "bias": rng.standard_normal(8)}
    params = {"norm": {"scale": np.ones(8), "bias": np.zeros(8)}} | dict.fromkeys(
        ("query", "key", "value", "out"), dense
    )
    order = rng.permutation(8)

    def permuted(v):
        return v.reshape(2, 8, 8)[:, order].reshape(x.shape)

    apply = jax.jit(lambda x: block.apply({"params": params}, x))
    np.testing.assert_allclose(apply(permuted(x)), permuted(np.asarray(apply(x))), atol=1e-4)


def test_dropout_is_drawn_by_the_place_of_an_example_in_the_whole_batch():
    x, key = jnp.ones((4, 500)), jax.random.key(0)
    layer = Dropout(0.25)

    @jax.jit
    def dropped(x, places):
        return layer.apply({"batch": {"places": places}}, x, True, rngs={"dropout": key})

    whole = dropped(x, jnp.arange(4))
    np.testing.assert_array_equal(dropped(x[:2], jnp.array([3, 1])), whole[jnp.array([3, 1])])
    twice = dropped(jnp.concatenate([x, x]), jnp.arange(4))  # two points of each example, in turns
    np.testing.assert_array_equal(twice[:4], whole)
    assert not np.array_equal(twice[4:], whole)
    np.testing.assert_allclose(np.unique(whole), [0, 4 / 3], rtol=1e-6)
    assert abs(np.mean(twice > 0) - 0.75) < 5 * np.sqrt(0.75 * 0.25 / twice.size)
    with pytest.raises(ValueError, match="5 points were given for the 4 examples"):
        dropped(jnp.ones((5, 3)), jnp.arange(4))


def test_dropout_acts_in_training_only_and_follows_its_key():
    x, embedding = X[:256].reshape(2, 4, 4, 8), np.ones((2, 8), np.float32)
    block, rng = ResBlock(8, dropout=0.5), np.random.default_rng(1)
    shapes = jax.eval_shape(functools.partial(block.init, train=False), jax.random.key(0), x, embedding)["params"]
    params = jax.tree.map(lambda leaf: np.float32(0.1) + 0.2 * rng.standard_normal(leaf.shape, np.float32), shapes)

    @functools.partial(jax.jit, static_argnums=1)
    def run(seed, train):
        return block.apply({"params": params}, x, embedding, train, rngs={"dropout": jax.random.key(seed)})

    np.testing.assert_array_equal(run(0, True), run(0, True))
    assert np.abs(np.subtract(run(0, True), run(1, True))).max() > 0.01
    assert np.abs(np.subtract(run(0, True), run(0, False))).max() > 0.01
    np.testing.assert_array_equal(run(0, False), run(1, False))


def test_sinusoidal_waves_run_from_period_2_pi_to_10000_times_that_and_an_odd_column_is_zero():
    labels = np.array([0.0, 3.0, 700.0], np.float32)
    waves = np.asarray(jax.jit(sinusoidal, static_argnums=1)(labels, 9))
    rates = 10_000.0 ** -(np.arange(4) / 3)
    np.testing.assert_allclose(waves[:, :4], np.sin(labels[:, None] * rates), atol=1e-4)
    np.testing.assert_allclose(waves[:, 4:8], np.cos(labels[:, None] * rates), atol=1e-4)
    np.testing.assert_array_equal(waves[:, 8], 0)


label_features = jax.jit(smooth_label_features, static_argnums=1)


@pytest.mark.parametrize("labels", [(0.0, 1e-2), (0.002, 0.004), (1.0, 2.0), (300.0, 310.0), (40.0, 80.0)])
def test_label_features_tell_apart_labels_of_every_process(labels):
    features = np.asarray(label_features(np.array(labels, np.float32), 64))
    assert np.isfinite(features).all()
    assert np.linalg.norm(features[0] - features[1]) > 0.5
