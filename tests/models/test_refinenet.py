import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models import NCSN, NCSNv2
from scorejax.models.refinenet_layers import InstanceNormPlus, ResidualBlock, Style, level_weights
from scorejax.models.refinenet_layers import resize as eager_resize

SHAPE = (2, 8, 8, 3)
TINY = functools.partial(NCSNv2, features=4)
X = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
SIGMAS = np.array([0.1, 3.0], np.float32)


def shapes(model, shape):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape), jnp.ones(shape[0]))["params"]


@functools.cache
def compiled(model):
    return jax.jit(model.apply)


def evaluate(model, params, x=X, labels=SIGMAS):
    return np.asarray(compiled(model)({"params": params}, x, labels))


@pytest.fixture(scope="module")
def params(make_params):
    def gain(path, leaf):
        return 1 + leaf if path[-1].key in ("gamma", "alpha") else leaf

    return jax.tree_util.tree_map_with_path(gain, make_params(TINY(), SHAPE))


@pytest.fixture(scope="module")
def plain(params):
    return evaluate(TINY(), params)


# ---- networks ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_network_of_the_jax_code_has_its_number_of_parameters():
    """Of the others, those of the configs, `tests/shop/test_every_config.py` counts them."""
    tree = shapes(NCSNv2(refine_multipliers=(2, 2, 2, 1)), (1, 64, 64, 3))
    assert sum(leaf.size for leaf in jax.tree.leaves(tree)) == 33_970_563


@pytest.mark.parametrize(
    ("kind", "stages", "shape"),
    [(NCSN, 4, (1, 28, 28, 1)), (NCSNv2, 6, (1, 28, 28, 1)), (NCSNv2, 5, (2, 7, 5, 4)), (NCSNv2, 4, (1, 1, 1, 3))],
)
def test_every_image_size_and_channel_count_comes_back_as_it_went_in(kind, stages, shape):
    model = kind(features=4, stages=stages, dtype=jnp.bfloat16)
    out, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros(shape), jnp.ones(shape[0]))
    assert (out.shape, out.dtype) == (shape, jnp.float32)


@pytest.mark.parametrize(
    ("stages", "sizes", "channels", "refined"),
    [
        (4, (64, 32, 32, 32), (4, 8, 8, 8), (8, 8, 4, 4)),
        (5, (64, 32, 16, 16, 16), (4, 8, 8, 16, 16), (16, 8, 8, 4, 4)),
        (6, (64, 32, 16, 8, 8, 8), (4, 8, 8, 8, 16, 16), (16, 8, 8, 8, 4, 4)),
    ],
)
@pytest.mark.slow
def test_every_stage_but_the_first_and_the_last_two_halves_the_image(stages, sizes, channels, refined):
    model, x = TINY(stages=stages), jnp.zeros((1, 64, 64, 3))
    apply = functools.partial(model.apply, capture_intermediates=True)
    _, state = jax.eval_shape(apply, {"params": shapes(model, x.shape)}, x, jnp.ones(1))
    down, up = (
        [state["intermediates"][name.format(i)]["__call__"][0].shape[2:] for i in range(stages)]
        for name in ("stage_{}_block_1", "refine_{}")
    )
    assert down == list(zip(sizes, channels, strict=True))
    assert up == list(zip(sizes[::-1], refined, strict=True))


@pytest.mark.slow
def test_the_output_is_an_unconditional_field_divided_by_sigma(params, plain):
    other = evaluate(TINY(), params, labels=np.array([1.0, 1.0], np.float32))
    np.testing.assert_allclose(plain * SIGMAS[:, None, None, None], other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_bfloat16_computes_nearly_the_same(params, plain):
    rough = evaluate(TINY(dtype=jnp.bfloat16), params)
    assert 1e-5 < np.abs(rough - plain).max() / plain.std() < 0.2


def test_every_convolution_but_the_last_is_computed_in_the_compute_type(params):
    text = jax.jit(TINY(dtype=jnp.bfloat16).apply).lower({"params": params}, X, SIGMAS).as_text()
    types = re.findall(r"stablehlo\.convolution.*-> tensor<[0-9x]*x(\w+)>", text)
    assert types == ["bf16"] * (len(types) - 1) + ["f32"]
    assert len(types) > 50


def test_remat_recomputes_every_block_and_leaves_the_tree_as_it_is(params):
    assert jax.tree.structure(shapes(TINY(remat=True), SHAPE)) == jax.tree.structure(params)
    # Two blocks of each of four stages down, and one up.
    program = jax.make_jaxpr(TINY(remat=True).apply)({"params": params}, X, SIGMAS)
    assert sum(equation.primitive.name.startswith(("remat", "checkpoint")) for equation in program.eqns) == 12


@pytest.mark.parametrize(
    ("model", "shape", "call", "message"),
    [
        (TINY(), (2, 8, 3), {}, r"NCSNv2 takes images .* got an array of shape \(2, 8, 3\)"),
        (TINY(stages=3), SHAPE, {}, r"stages must be one of \(4, 5, 6\), got 3"),
        (TINY(interpolation="bilinear"), SHAPE, {}, "one of .*align_corners.*half_pixel.*got 'bilinear'"),
        (TINY(nonlinearity="sin"), SHAPE, {}, "one of .*elu.*got 'sin'"),
        (TINY(channel_ddof=2), SHAPE, {}, "channel_ddof must be one of .*got 2"),
        (TINY(features=0), SHAPE, {}, "features must be at least 1, got 0"),
        (TINY(refine_multipliers=(1, 2, 1, 1)), SHAPE, {}, "4 whole numbers.* the first must be 2.*got"),
        (TINY(refine_multipliers=(2, 1)), SHAPE, {}, "4 whole numbers"),
        (TINY(noise_levels=(0.01, 1.0, 10)), SHAPE, {}, "largest > smallest"),
        (TINY(), SHAPE, {"condition": np.zeros(2, int)}, "unconditional network"),
        (TINY(), SHAPE, {"labels": np.ones(())}, "one noise label per example"),
        (NCSN(features=4, num_levels=0), SHAPE, {}, "num_levels must be at least 1, got 0"),
        (NCSN(features=4), (2, 8, 3), {}, "NCSN takes images"),
    ],
)
def test_what_does_not_fit_is_named(model, shape, call, message):
    call = {"labels": np.ones(2), **call}
    with pytest.raises(ValueError, match=message):
        model.init(jax.random.key(0), np.zeros(shape), **call)


# ---- noise levels --------------------------------------------------------------------------------------------


def test_a_label_is_one_level_or_a_mean_of_two_neighbours_and_never_a_level_that_is_not_there():
    weights = jax.jit(level_weights, static_argnums=1)(np.array([0.0, 3.0, 1.25, -0.5, 3.5]), 4)
    expected = [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0.75, 0.25, 0], [np.nan] * 4, [np.nan] * 4]
    np.testing.assert_allclose(weights, expected)


def test_the_norm_of_every_level_starts_near_the_identity():
    told = jax.jit(InstanceNormPlus().init)(jax.random.key(0), X, np.eye(5, dtype=np.float32)[[0, 0]])["params"]
    gamma, alpha, beta = np.split(np.asarray(told["embedding"]), 3, axis=1)
    assert gamma.shape == (5, 3)
    assert 0 < max(np.abs(gamma - 1).max(), np.abs(alpha - 1).max()) < 0.1
    assert not np.any(beta)


def test_a_level_s_norm_is_the_unconditional_norm_with_the_parameters_of_that_level():
    table = np.random.default_rng(2).standard_normal((3, 9)).astype(np.float32)
    apply = jax.jit(InstanceNormPlus().apply)
    told = apply({"params": {"embedding": table}}, X, np.eye(3, dtype=np.float32)[[2, 0]])
    for example, level in ((0, 2), (1, 0)):
        gamma, alpha, beta = np.split(table[level], 3)
        own = apply({"params": {"gamma": gamma, "alpha": alpha, "beta": beta}}, X)
        np.testing.assert_allclose(told[example], own[example], rtol=1e-5, atol=1e-6)


# ---- InstanceNorm++ ------------------------------------------------------------------------------------------


@functools.cache
def compiled_norm(ddof):
    return jax.jit(InstanceNormPlus(ddof).apply)


def norm(x, alpha=0.7, ddof=0):
    ones = np.ones(x.shape[-1], np.float32)
    params = {"gamma": 2 * ones, "alpha": np.float32(alpha) * ones, "beta": ones}
    return np.asarray(compiled_norm(ddof)({"params": params}, x))


def test_the_norm_sees_neither_the_scale_nor_the_brightness_of_an_image():
    np.testing.assert_allclose(norm(5 * X - 3), norm(X), atol=1e-3)


def test_the_norm_sees_the_brightness_of_a_channel_against_the_others():
    shifted = X + np.array([0, 0, 5], np.float32)
    assert np.abs(norm(shifted) - norm(X)).max() > 0.1
    np.testing.assert_allclose(norm(shifted, alpha=0), norm(X, alpha=0), atol=1e-4)


@pytest.mark.parametrize("ddof", [0, 1])
def test_channel_means_come_back_with_spread_alpha_and_channels_with_spread_gamma(ddof):
    x = X + np.array([0, 2, 5], np.float32)
    out = (np.asarray(norm(x, ddof=ddof)) - 1) / 2
    means = out.mean(axis=(1, 2))
    np.testing.assert_allclose(means.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(means.std(axis=1, ddof=ddof), 0.7, rtol=1e-3)
    np.testing.assert_allclose(out.std(axis=(1, 2)), 1, rtol=1e-3)


@pytest.mark.parametrize("ddof", [0, 1])
def test_an_image_of_one_channel_is_normalised_plainly(ddof):
    x = X[..., :1]
    expected = (x - x.mean(axis=(1, 2), keepdims=True)) / x.std(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(norm(x, ddof=ddof), 2 * expected + 1, rtol=1e-3, atol=1e-3)


# ---- sizes and weights ---------------------------------------------------------------------------------------

resize = jax.jit(eager_resize, static_argnums=(1, 2, 3))


@pytest.mark.parametrize(("old", "new"), [((4, 6), (8, 12)), ((3, 5), (5, 10))])
def test_aligned_corners_continue_a_ramp_from_corner_to_corner(old, new):
    def ramp(height, width):
        rows, columns = np.linspace(-1, 1, height), np.linspace(0, 3, width)
        return np.float32(rows[:, None] + columns)[None, :, :, None]

    np.testing.assert_allclose(resize(ramp(*old), *new, "bilinear_align_corners"), ramp(*new), atol=1e-5)


def test_half_pixels_keep_the_mean_of_a_doubled_image_and_mix_neighbours_3_to_1():
    doubled = np.asarray(resize(X, 16, 16, "bilinear_half_pixel"))
    np.testing.assert_allclose(doubled.mean(axis=(1, 2)), X.mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(doubled[:, 0, 1], 0.75 * X[:, 0, 0] + 0.25 * X[:, 0, 1], atol=1e-5)


def test_the_nearest_pixel_is_repeated():
    np.testing.assert_array_equal(resize(X, 16, 16, "nearest"), X.repeat(2, axis=1).repeat(2, axis=2))


@pytest.mark.parametrize("interpolation", ["bilinear_align_corners", "bilinear_half_pixel", "nearest"])
def test_one_pixel_spreads_over_all(interpolation):
    out = resize(X[:, :1, :2], 3, 2, interpolation)
    np.testing.assert_allclose(out, X[:, :1, :2].repeat(3, axis=1), rtol=1e-5)


def test_weights_and_biases_start_uniform_within_one_over_the_root_of_their_fan_in():
    block = ResidualBlock(64, Style(), entry=True)
    params = jax.jit(block.init)(jax.random.key(0), jnp.zeros((1, 4, 4, 16)), None)["params"]
    for name, fan_in in (("conv_0", 9 * 16), ("conv_1", 9 * 16), ("shortcut", 16)):
        kernel, bias = np.asarray(params[name]["kernel"]), np.asarray(params[name]["bias"])
        assert np.prod(kernel.shape[:-1]) == fan_in
        assert max(np.abs(kernel).max(), np.abs(bias).max()) <= fan_in**-0.5
        np.testing.assert_allclose(kernel.var() * fan_in, 1 / 3, rtol=0.1)
        assert np.abs(bias).max() > 0.5 * fan_in**-0.5
    for name in ("gamma", "alpha"):
        assert 0 < np.abs(params["norm_0"][name] - 1).max() < 0.1
    assert not np.any(params["norm_0"]["beta"])
