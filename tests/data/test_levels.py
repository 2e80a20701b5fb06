import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.data import GrayLevels, Vectors, bin_width, example_keys, flip, prepare, to_bytes, to_levels, to_model

KEY = jax.random.key(0)
EVERY = pytest.mark.parametrize("levels", [2, 3, 16, 17, 100, 255, 256])
CENTERED = pytest.mark.parametrize("centered", [True, False])


def ramp(levels, batch=4, width=512):
    """Every level, many times: [batch, width, 1, 1]."""
    return jnp.asarray(np.arange(batch * width).reshape(batch, width, 1, 1) % levels, jnp.uint8)


@EVERY
@CENTERED
@pytest.mark.parametrize("dequantize", [True, False])
def test_levels_survive_the_round_trip_exactly(levels, centered, dequantize):
    images = ramp(levels)
    x = to_model(example_keys(KEY, 0, 4), images, levels, centered=centered, dequantize=dequantize)
    np.testing.assert_array_equal(to_levels(x, levels, centered=centered), images)


@CENTERED
def test_no_draw_is_rounded_into_the_next_bin(centered):
    """The largest and smallest u at the brightest level, where float32 has least room."""
    ones = jnp.full((1, 1, 1, 1), 255, jnp.uint8)
    for fine in (0, 2**15 - 1):
        y = (255 + (fine + 0.5) / 2**15) / 256
        assert 255 / 256 < np.float32(y) < 1
        x = jnp.full((1, 1, 1, 1), 2 * y - 1 if centered else y, jnp.float32)
        np.testing.assert_array_equal(to_levels(x, 256, centered=centered), ones)
    many = jnp.full((8, 256, 256, 1), 255, jnp.uint8)
    x = to_model(example_keys(KEY, 0, 8), many, 256, centered=centered)
    assert float(x.max()) < 1.0


@EVERY
@CENTERED
def test_dequantized_data_is_uniform_over_its_bin(levels, centered):
    images = jnp.full((4, 64, 64, 1), levels - 1, jnp.uint8)
    x = np.asarray(to_model(example_keys(KEY, 1, 4), images, levels, centered=centered), np.float64)
    width = bin_width(levels, centered=centered)
    u = (x - (1 - width)) / width
    assert abs(u.mean() - 0.5) < 6 / np.sqrt(12 * u.size)
    assert abs(u.var() - 1 / 12) < 6 / np.sqrt(180 * u.size)
    assert u.min() > 0
    assert u.max() < 1


@EVERY
@CENTERED
def test_without_dequantization_a_level_sits_in_the_middle_of_its_bin(levels, centered):
    x = np.asarray(to_model(None, jnp.arange(levels)[:, None], levels, centered=centered, dequantize=False))
    width = bin_width(levels, centered=centered)
    np.testing.assert_allclose(np.diff(x[:, 0]), width, rtol=1e-4)
    low = -1.0 if centered else 0.0
    np.testing.assert_allclose([x.min(), x.max()], [low + width / 2, 1 - width / 2], rtol=1e-6)


def test_writing_images_rounds_to_the_nearest_level():
    """No darkening: with errors symmetric about the middle of a bin, the mean level is kept."""
    middles = to_model(None, jnp.arange(1, 255)[:, None], 256, dequantize=False)
    for error in (-0.49, 0.49):
        np.testing.assert_array_equal(to_levels(middles + error * bin_width(256), 256)[:, 0], np.arange(1, 255))


@EVERY
@CENTERED
def test_images_of_the_endpoint_convention_read_back_exactly(levels, centered):
    k = np.arange(levels)
    y = (k / (levels - 1)).astype(np.float32)
    np.testing.assert_array_equal(to_levels(2 * y - 1 if centered else y, levels, centered=centered), k)


def test_values_outside_the_range_are_clipped():
    x = jnp.array([-jnp.inf, -7.0, 7.0, jnp.inf, jnp.nan])
    np.testing.assert_array_equal(to_levels(x, 17), [0, 0, 16, 16, 0])


def test_bytes_span_the_whole_range():
    np.testing.assert_array_equal(to_bytes(np.arange(17, dtype=np.uint8), 17), np.round(np.arange(17) * 255 / 16))
    np.testing.assert_array_equal(to_bytes(np.arange(256, dtype=np.uint8), 256), np.arange(256))


@jax.jit
def ready(step, images, part):
    """Four of the eight slots of a batch, ready for training; in model space."""
    keys = example_keys(KEY, step, 8, part=part, parts=2)
    return prepare(keys, images, GrayLevels(256), mirror=True)[1]


def test_an_example_is_prepared_alike_whatever_its_batch_mates_and_devices():
    images = jax.random.randint(jax.random.key(3), (8, 4, 4, 3), 0, 256).astype(jnp.uint8)
    whole = jax.jit(lambda keys: prepare(keys, images, GrayLevels(256), mirror=True)[1])(example_keys(KEY, 7, 8))
    halves = [ready(7, images[4 * p : 4 * p + 4], p) for p in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(halves), whole)


def test_the_raw_batch_is_mirrored_with_the_one_in_model_space():
    images = jax.random.randint(jax.random.key(3), (64, 4, 4, 3), 0, 256).astype(jnp.uint8)
    raw, x = prepare(example_keys(KEY, 7, 64), images, GrayLevels(256), mirror=True)
    np.testing.assert_array_equal(to_levels(x, 256), raw)
    assert not np.array_equal(raw, images)


def test_noise_differs_between_examples_and_steps():
    black = jnp.zeros((4, 4, 4, 3), jnp.uint8)
    draws = np.concatenate([ready(0, black, 0), ready(0, black, 1), ready(1, black, 0)])
    assert len(np.unique(draws)) > 0.95 * draws.size


def test_half_of_the_images_are_mirrored_and_each_is_one_of_the_two():
    images = jnp.arange(2000 * 6, dtype=jnp.int32).reshape(2000, 1, 3, 2)
    flipped = flip(example_keys(KEY, 0, 2000), images)
    mirrored = np.all(flipped == images[:, :, ::-1], axis=(1, 2, 3))
    untouched = np.all(flipped == images, axis=(1, 2, 3))
    assert np.all(mirrored ^ untouched)
    assert abs(mirrored.mean() - 0.5) < 6 * 0.5 / np.sqrt(2000)


def test_vectors_pass_unchanged():
    x = jnp.ones((3, 2))
    for same in prepare(example_keys(KEY, 0, 3), x, Vectors()):
        np.testing.assert_array_equal(same, x)


@pytest.mark.parametrize(
    ("levels", "keys", "message"), [(1, None, "levels = 1"), (257, None, "levels = 257"), (256, None, "keys")]
)
def test_impossible_preparations_are_refused_with_the_reason(levels, keys, message):
    with pytest.raises(ValueError, match=message):
        to_model(keys, jnp.zeros((1, 2, 2, 1), jnp.uint8), levels)
