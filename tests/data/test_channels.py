"""Model space of numbers of any kind: what comes back, what a density is worth in the user's units, how to fit it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from scorejax import likelihood
from scorejax.data import (
    ChannelMap,
    Channels,
    Dataset,
    Form,
    GrayLevels,
    Levels,
    Statistics,
    blocks,
    compare,
    fit,
    levels_of,
    statistics,
)

draw = np.random.default_rng(0)
NORMALIZE = ("standard", "range", "quantile", "none")
FIELDS = draw.normal([3.0, -1e4, 0.0], [2.0, 0.5, 1e-6], (500, 4, 3))
POSITIVE = draw.exponential(size=(4000, 2)) * [1.0, 50.0]


def standard_normal(y):
    return stats.norm.logpdf(y).sum(tuple(range(1, y.ndim)))


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("transform", ["none", "log", "log1p", "asinh"])
@pytest.mark.parametrize("normalize", NORMALIZE)
def test_a_map_comes_back_and_its_slope_is_its_derivative(normalize, transform, per_channel):
    found = fit(POSITIVE, normalize=normalize, transform=transform, per_channel=per_channel)
    x = np.quantile(POSITIVE, [0.0005, 0.01, 0.3, 0.77, 0.995], axis=0) * 0.999  # the ends lie beyond the knots
    y = found.forward(x)
    np.testing.assert_allclose(found.inverse(y), x, rtol=1e-9)
    step = 1e-6 * x
    slope = (found.forward(x + step) - found.forward(x - step)) / (2 * step)
    np.testing.assert_allclose(found.log_slope(y), np.log(slope), atol=2e-5)
    # the same formulas in float32, as compiled programs have them
    np.testing.assert_allclose(jax.jit(found.log_slope)(jnp.float32(y)), found.log_slope(y), atol=2e-3)
    back = jax.jit(found.inverse)(jnp.float32(y))
    np.testing.assert_allclose(back, x, rtol=2e-3 if normalize == "quantile" else 1e-4, atol=5e-5)


def test_a_small_spread_far_from_zero_is_kept_by_float64_and_lost_by_float32():
    far = 1e5 + 1e-3 * draw.standard_normal((4000, 3))
    y = Channels(fit(far)).encode(far)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.var(0), 1.0, atol=0.05)
    lost = np.float64(np.float32(far)) - 1e5  # whose spacing there is 0.0078
    assert np.all(abs(lost.var(0) / 1e-6 - 1.0) > 0.5)
    with pytest.raises(ValueError, match=r"column 0: its values \(mean 1e\+05, .* data\.normalize=standard"):
        fit(far, normalize="none")


def test_statistics_do_not_depend_on_how_data_are_cut_and_leave_out_what_is_missing():
    whole = Statistics.of(FIELDS)
    for size in (1, 7, len(FIELDS)):
        found = statistics(blocks(FIELDS, size))
        for name in ("mean", "variance", "low", "high"):
            np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-12, atol=0)
    holes = np.concatenate([FIELDS, np.full((50, 4, 3), np.nan)])
    kept = statistics(blocks(holes, 7))
    np.testing.assert_allclose(kept.variance, whole.variance, rtol=1e-12)
    np.testing.assert_array_equal(kept.count, whole.count)


def test_kilometers_cost_as_many_nats_as_the_mathematics_says():
    for scale, dimensions, nats in (((1e3,), 1, -6.907755), ((10.0, 0.1, 2.0), 3, -np.log(2.0) / 3)):
        x = np.asarray(scale) * draw.standard_normal((4, dimensions))
        found = ChannelMap("standard", scale=scale)
        density = standard_normal(found.forward(x)) + Channels(found).log_volume(dimensions)
        expected = stats.norm.logpdf(x, scale=scale).sum(1)
        np.testing.assert_allclose(density, expected, rtol=1e-12)
        per_dimension = (density - standard_normal(x / np.asarray(scale))) / dimensions
        np.testing.assert_allclose(per_dimension, nats, atol=5e-7)


def test_a_law_whose_distribution_function_is_known_has_its_density_by_quantiles():
    """With F piecewise linear, y = Phi^-1(F(x)) is standard normal for x of that law: ln p(x) = ln F'(x)."""
    found = ChannelMap("quantile", knots=((0.0, 1.0, 3.0),), shares=((0.25, 0.5, 0.75),))
    x = np.array([[-2.0], [0.3], [1.7], [8.0]])
    density = standard_normal(found.forward(x)) + found.log_slope(found.forward(x)).sum(1)
    # tails are exponential, with the density of their neighbors: F' = 1/4 and 1/8 at the ends
    expected = np.log([0.25 * np.exp(-2.0), 0.25, 0.125, 0.125 * np.exp(-2.5)])
    np.testing.assert_allclose(density, expected, atol=1e-10)
    many = draw.exponential(size=(100_000, 1))
    fitted = fit(many, normalize="quantile")
    y = fitted.forward(many)
    assert np.mean(standard_normal(y) + fitted.log_slope(y).sum(1)) == pytest.approx(-1.0, abs=0.02)


@pytest.mark.parametrize("normalize", NORMALIZE)
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint16", 0, 65535), ("int16", -32768, 32767), ("uint8", 0, 255), ("int64", 10**12, 10**12 + 4095)],
)
def test_counted_numbers_come_back_from_anywhere_in_their_level(dtype, low, high, normalize):
    x = draw.integers(low, high + 1, (64, 5, 2)).astype(dtype)
    x[:2, 0] = low, high
    space = Channels(fit(x, levels_of([x]), normalize=normalize), levels_of([x]), dtype)
    sent = jnp.asarray(space.encode(x))
    for y in (space.middle(sent), space.to_model(jax.random.split(jax.random.key(0), 64), sent)):
        back = space.decode(np.asarray(space.to_host(y)))
        np.testing.assert_array_equal(back, x)
        assert back.dtype == x.dtype
    np.testing.assert_array_equal(space.from_model(space.middle(sent)), np.float32(x))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(("lo", "quantum"), [(0.0, 1.0), (-7.25, 0.125), (3e6, 2.0)])
def test_a_flat_model_of_counted_numbers_costs_the_log_of_their_number(bits, lo, quantum):
    levels = Levels(lo, 2**bits, quantum)
    x = levels.values(draw.integers(0, 2**bits, (10, 6)), np.dtype("float64"))
    space = Channels(fit(x, levels, normalize="range"), levels)
    assert space.interval == (-1.0, 1.0)
    y = space.to_model(jax.random.split(jax.random.key(0), 10), jnp.asarray(space.encode(x)))
    assert float(jnp.max(jnp.abs(y))) <= 1
    of_model = jnp.full(10, 6 * np.log(0.5))  # 1 / 2 on [-1, 1]
    found = likelihood.bits_per_dim(of_model + space.log_volumes(y), 6, 1.0)
    np.testing.assert_allclose(found, bits, rtol=1e-6)
    assert space.log_volume(6) == pytest.approx(float(space.log_volumes(y)[0]))


def test_counted_numbers_behind_a_logarithm_have_the_density_of_their_levels():
    """The probabilities of all levels sum to one, each the integral of the density over its bin."""
    x = np.arange(1, 65)[:, None]
    levels = levels_of([x])
    space = Channels(fit(x, levels, transform="log"), levels)
    places = (np.arange(64) + 0.5) / 64
    edges = jnp.asarray(space.map.forward((x + places)[..., None])).reshape(-1, 1)
    density = np.exp(np.asarray(standard_normal(np.asarray(edges)) + space.log_volumes(edges))).reshape(64, 64)
    total = density.mean(1).sum()
    y = space.map.forward(np.array([[1.0], [65.0]]))[:, 0]
    assert total == pytest.approx(stats.norm.cdf(y[1]) - stats.norm.cdf(y[0]), rel=1e-4)


def test_images_of_bytes_are_gray_levels_and_other_numbers_are_not():
    gray = Form.of(Dataset("x", np.zeros((3, 2, 2, 1), np.uint8), gray_levels=256))
    assert (gray.pictured, gray.level_count, gray.kind) == (True, 256, "image")
    volume = Form.of(Dataset("x", np.zeros((3, 2, 2, 2, 1), np.uint8), gray_levels=256))
    assert (volume.pictured, volume.level_count, volume.kind) == (False, 256, "volume")
    table = Form.of(Dataset("x", np.arange(6, dtype=np.int16).reshape(3, 2) - 2))
    assert (table.gray_levels, table.levels, table.dtype) == (None, Levels(-2.0, 6), "int16")
    wide = Dataset("x", np.asarray([[0], [2**40]]))
    assert wide.levels is None and wide.examples.dtype == np.float64
    # what is sent of gray levels is what they are
    np.testing.assert_array_equal(GrayLevels(256).encode(np.arange(4)), np.arange(4))


def test_one_scale_for_all_channels_keeps_the_directions_of_vectors():
    x = draw.normal([1.0, -2.0], [3.0, 1.0], (500, 6, 2))
    found = fit(x, per_channel=False)
    assert len(found.scale) == 1 and len(found.shift) == 2
    assert np.mean(found.forward(x) ** 2) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("x", "how", "words"),
    [
        (POSITIVE - 0.5, {"transform": "log"}, r"above 0, but the smallest of channel [01] is -0\.4.*asinh.* or log1p"),
        (POSITIVE - 5, {"transform": "log1p"}, r"above -1, but the smallest of channel \d is -4\.99.*asinh, which"),
        (1e-200 * POSITIVE, {}, r"column 0: its values lie so close to 0 .* their squares are 0; divide by"),
        (1e-39 * POSITIVE, {"normalize": "none"}, "cannot tell them apart"),
    ],
)
def test_data_that_a_map_does_not_fit_are_refused(x, how, words):
    with pytest.raises(ValueError, match=words):
        fit(x, **how)


def test_levels_outside_of_those_of_training_are_refused():
    train = Dataset("x", np.arange(10)[:, None])
    compare(train, Dataset("x", np.arange(4, 8)[:, None]))
    with pytest.raises(ValueError, match=r"'test' runs from 0 to 11, split 'train' only from 0 to 9: no probability"):
        compare(train, Dataset("x", np.arange(12)[:, None]))
    with pytest.raises(ValueError, match="x holds 12, but the training data lie between 0 and 9"):
        Channels(levels=train.levels).encode(np.asarray([[3], [12]]))
    with pytest.raises(ValueError, match=r"2\.5, which lies between two multiples of the quantum 1"):
        Channels(levels=train.levels).encode(np.asarray([[2.5]]))
    with pytest.raises(ValueError, match=r"counted numbers need 2 to 16,777,216 levels"):
        Levels(0.0, 2**24 + 1)


def test_a_constant_channel_is_mentioned_and_keeps_its_scale(caplog):
    found = fit(np.stack([np.full(30, 7.0), np.arange(30.0)], 1), name="flat")
    assert found.scale[0] == 1.0
    assert "flat: channel 0 is constant, 7 in every training example" in caplog.text
    np.testing.assert_allclose(found.forward(np.asarray([[7.0, 14.5]])), 0.0, atol=1e-12)
