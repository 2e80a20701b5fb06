import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models.multiscale_conv import MultiscaleConv, temporal_bumps

SMALL = {"features": 3, "depth": 1, "scales": 3, "dense_features": 5, "dense_depth": 1, "dense_maps": 2, "bumps": 4}
SMALL |= {"pixel_features": 3, "pixel_depth": 1}
X = np.random.default_rng(0).standard_normal((2, 7, 5, 1)).astype(np.float32)
LABELS = np.array([3.0, 640.0], np.float32)


def test_bumps_are_gaussians_around_equally_spaced_labels_and_sum_to_one():
    labels = np.array([2.0, 4.0, 5.5, 8.0])
    centers = np.array([2.0, 5.0, 8.0])  # as wide as they are apart
    bumps = np.exp(-((labels[:, None] - centers) ** 2) / (2 * 3.0**2))
    expected = bumps / bumps.sum(1, keepdims=True)
    np.testing.assert_allclose(temporal_bumps(jnp.asarray(labels), (2.0, 8.0), 3), expected, rtol=1e-5)


def by_hand(params, x, labels):
    """The output for one scale, with convolutions as sums over shifted images."""

    def conv(x, kernel):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        h, w = x.shape[1:3]
        return sum(padded[:, i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3))

    def halved(x):
        x = np.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), mode="edge")
        return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4

    def layer(name, x):
        return x @ params[name]["kernel"] + params[name]["bias"]

    h, w = x.shape[1:3]
    half, quarter = halved(x), halved(halved(x))
    total = conv(x, params["conv_0_scale_0"]["kernel"]) + params["conv_0_scale_0"]["bias"]
    total += conv(half, params["conv_0_scale_1"]["kernel"]).repeat(2, 1).repeat(2, 2)[:, :h, :w]
    coarse = conv(quarter, params["conv_0_scale_2"]["kernel"]).repeat(2, 1).repeat(2, 2)[:, : half.shape[1]]
    total += coarse[:, :, : half.shape[2]].repeat(2, 1).repeat(2, 2)[:, :h, :w]
    dense = np.tanh(layer("dense_maps", np.tanh(layer("dense_0", x.reshape(len(x), -1)))))
    maps = np.concatenate([np.log1p(np.exp(total)), dense.reshape(len(x), h, w, 2)], axis=-1)
    pixels = np.tanh(layer("pixel_0", maps))
    y = np.einsum("bhwf,fjo->bhwjo", pixels, params["readout"]) + params["readout_bias"]
    return np.einsum("bhwjo,bj->bhwo", y, np.asarray(temporal_bumps(jnp.asarray(labels), (0.0, 999.0), 4)))


def test_the_output_is_that_of_the_formulas(make_params):
    model = MultiscaleConv(**SMALL, learned_range=True)
    params = make_params(model, X.shape)
    out = model.apply({"params": params}, X, LABELS)
    assert out.shape == (2, 7, 5, 2)
    exact = by_hand(jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params), X.astype(float), LABELS)
    np.testing.assert_allclose(out, exact, atol=2e-5)


@pytest.mark.parametrize("branch", ["depth", "dense_depth"])
def test_either_branch_works_alone_and_each_image_by_itself(branch, make_params):
    model = MultiscaleConv(**{**SMALL, branch: 0}, centered_input=False)
    params = make_params(model, X.shape)
    out = model.apply({"params": params}, X, LABELS)
    np.testing.assert_allclose(model.apply({"params": params}, X[::-1], LABELS[::-1]), out[::-1], atol=1e-5)
    centered = MultiscaleConv(**{**SMALL, branch: 0})
    np.testing.assert_allclose(centered.apply({"params": params}, 2 * X - 1, LABELS), out, atol=1e-5)
    other = model.apply({"params": params}, np.stack([X[0], X[0]]), LABELS)
    np.testing.assert_allclose(other[0], out[0], atol=1e-5)
    assert np.abs(other[1] - out[1]).max() > 0.01


def test_an_untrained_network_puts_out_nothing_and_learns():
    model = MultiscaleConv(**SMALL)

    @jax.jit
    def first(key):
        out, variables = model.init_with_output(key, X, LABELS)
        return out, jax.grad(lambda v: jnp.sum(model.apply(v, X, LABELS)))(variables)

    out, slope = first(jax.random.key(0))
    np.testing.assert_array_equal(out, np.zeros_like(X))
    assert np.abs(slope["params"]["readout"]).max() > 0


@pytest.mark.parametrize(
    ("fields", "arguments", "message"),
    [
        ({}, (X[0], LABELS), "takes images"),
        ({"depth": 0, "dense_depth": 0}, (X, LABELS), "nothing looks at the image"),
        ({"bumps": 1}, (X, LABELS), "bumps must be at least 2"),
        ({}, (X, LABELS[:1]), "one noise label per example"),
        ({}, (X, LABELS, np.zeros(2)), "takes no condition"),
    ],
)
def test_what_does_not_fit_is_named(fields, arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiscaleConv(**fields).init(jax.random.key(0), *arguments)
