import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import scorejax as sj
from scorejax.models import DDPM, MLP, NCSN, ImageHead, NCSNpp, NCSNv2, VectorHead, head_on, init_head, last_norm
from scorejax.models.layers import GroupNorm, conv3x3
from scorejax.models.variance_heads import with_input_of


class Tiny(nn.Module):
    """A network that ends as the image networks do."""

    @nn.compact
    def __call__(self, x, labels, class_labels=None, train=False):
        h = conv3x3(8, "conv_in")(x) * labels[:, None, None, None]
        return conv3x3(3, "conv_out")(nn.silu(GroupNorm(name="norm_out")(h)))


@pytest.fixture(scope="module")
def frozen(make_params):
    x, labels = normal(2, 4, 4, 3), np.array([1.0, 2.0], np.float32)
    return Tiny(), {"params": make_params(Tiny(), x.shape)}, x, labels


@pytest.fixture(scope="module")
def vectors(make_params):
    network = MLP(8, 1)
    return network, {"params": make_params(network, (2, 5))}, normal(2, 5), None


def normal(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def some_params(*arguments):
    """Parameters of a head in which no layer is silent, from numpy."""
    rng, shapes = np.random.default_rng(2), jax.eval_shape(lambda key: init_head(key, *arguments), jax.random.key(0))

    def draw(leaf):
        return rng.standard_normal(leaf.shape).astype(np.float32) / np.sqrt(
            max(leaf.size / leaf.shape[-1], 1), dtype="f"
        )

    return jax.tree.map(draw, shapes)


def test_the_last_features_are_what_the_last_norm_was_given(frozen):
    module, params, x, labels = frozen

    @jax.jit
    def run():
        out, features = with_input_of("norm_out", lambda: module.apply(params, x, labels))
        weights = params["params"]
        h = nn.silu(GroupNorm().apply({"params": weights["norm_out"]}, features))
        again = conv3x3(3, "conv_out").apply({"params": weights["conv_out"]}, h)
        return out, module.apply(params, x, labels), again

    out, plain, again = run()
    np.testing.assert_allclose(out, plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(again, out, rtol=1e-4, atol=1e-5)


def test_a_layer_that_does_not_exist_is_refused(frozen):
    module, params, x, labels = frozen
    with pytest.raises(ValueError, match="layer named 'norm_end', got 0"):
        with_input_of("norm_end", lambda: module.apply(params, x, labels))


@pytest.mark.parametrize("deep", [False, True])
def test_an_image_head_starts_at_nothing_and_knows_its_features(deep):
    features, labels = normal(2, 4, 4, 8), np.array([1.0, 500.0], np.float32)
    head, key = ImageHead(3, deep=deep), jax.random.key(1)
    rng, shapes = np.random.default_rng(2), jax.eval_shape(head.init, key, features, labels)["params"]
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), shapes)
    last = jax.jit(lambda: head.init(key, features, labels)["params"]["conv_out"])()  # whatever comes before
    apply = jax.jit(head.apply)
    out = apply({"params": {**params, "conv_out": last}}, features, labels)
    assert out.shape == (2, 4, 4, 3)
    assert np.abs(out).max() < 1e-3
    assert ("block" in params) == deep
    assert np.std(apply({"params": params}, features, labels)) > 0.1


def test_a_vector_head_starts_at_zero():
    x, labels = np.ones((2, 5), np.float32), np.array([1.0, 500.0], np.float32)
    out, _ = jax.jit(VectorHead(16).init_with_output)(jax.random.key(0), x, x, labels)
    np.testing.assert_array_equal(out, np.zeros((2, 5)))


def score_of(network, params, sde, **options):
    """A network as a score, carrying its parameters."""
    apply = Partial(lambda variables, x, label: network.apply(variables, x, label), params)
    return sj.make_score(sde, lambda apply, x, label: apply(x, label), apply, label=sde.label, **options)


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_a_head_on_a_network_trains_alone(frozen, vectors, kind):
    sde = sj.vp()
    network, variables, x, _ = frozen if kind == "image" else vectors
    head = ImageHead(3) if kind == "image" else VectorHead(16)
    t = jnp.array([0.1, 0.2])
    params = some_params(sde, score_of(network, variables, sde), head, x.shape[1:])

    def loss(frozen, params):
        function = head_on(sde, score_of(network, frozen, sde), head, params)
        return jnp.sum((function(x, t) - 1.0) ** 2)

    still, moving = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, params)
    assert all(np.all(leaf == 0.0) for leaf in jax.tree.leaves(still))
    assert any(np.any(leaf != 0.0) for leaf in jax.tree.leaves(moving))


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_a_head_says_of_each_example_what_it_says_of_it_alone(frozen, vectors, kind):
    """Also at times of their own: the first example is not repeated over the batch."""
    sde, t = sj.vp(), np.array([0.1, 0.9], np.float32)
    network, variables, x, _ = frozen if kind == "image" else vectors
    head = ImageHead(3, deep=True) if kind == "image" else VectorHead(16)
    score = score_of(network, variables, sde)
    function = jax.jit(head_on(sde, score, head, some_params(sde, score, head, x.shape[1:])))

    def value(x, t):
        return np.asarray(function(x, t))

    together = value(x, t)
    assert together.shape == x.shape
    for i in range(2):
        np.testing.assert_allclose(value(x[i : i + 1], t[i : i + 1])[0], together[i], rtol=1e-4, atol=1e-5)
    for one, other in ((x[::-1], t), (x, t[::-1])):  # it heeds both the point and the time
        assert np.abs(value(one, other)[0] - together[0]).max() > 1e-2


def test_a_head_reads_what_the_network_was_really_given(frozen):
    """Under EDM's preconditioning a network sees scaled points; so must the head on it."""
    network, params, x, _ = frozen
    sde, t = sj.vp(), np.array([0.3, 0.6], np.float32)
    head = ImageHead(3)
    score = score_of(network, params, sde, predicts="edm", sigma_data=0.5)
    weights = some_params(sde, score, head, x.shape[1:])

    @jax.jit
    def both(x, t):
        size = 1.0 / jnp.sqrt(sde.variance(t) + 0.25 * sde.alpha(t) ** 2)
        _, features = with_input_of("norm_out", lambda: network.apply(params, sde.scale(size, t, x), sde.label(t)))
        return head_on(sde, score, head, weights)(x, t), head.apply({"params": weights}, features, sde.label(t))

    found, expected = both(x, t)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_beside_its_score_a_head_costs_its_own_layers_alone(frozen):
    network, variables, x, _ = frozen
    sde, t, head = sj.vp(), jnp.array([0.1, 0.2]), ImageHead(3)
    score = score_of(network, variables, sde)
    params = some_params(sde, score, head, x.shape[1:])

    def convolutions(function):
        return jax.jit(function).lower(score, params, x, t).compile().as_text().count(" convolution(")

    alone = convolutions(lambda score, params, x, t: score(x, t))
    both = convolutions(lambda score, params, x, t: (score(x, t), head_on(sde, score, head, params)(x, t)))
    assert alone == 2
    assert both == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ncsn", "ncsnv2", "ddpm", "output_skip"])
def test_every_image_network_has_a_last_feature_map(name):
    sde = sj.smld() if name.startswith("ncsn") else sj.vp()
    unet = {"channel_multipliers": (1, 1), "blocks_per_level": 1, "attention_resolutions": (), "dropout": 0.0}
    network = {
        "ncsn": NCSN(4, num_levels=10),
        "ncsnv2": NCSNv2(4, noise_levels=(50.0, 0.01, 10)),
        "ddpm": DDPM(8, **unet),
        "output_skip": NCSNpp(8, progressive="output_skip", embedding="positional", scale_by_sigma=False, **unet),
    }[name]
    head = ImageHead(1, layer=last_norm(network))
    x = jnp.zeros((1, 8, 8, 1))
    variables = jax.eval_shape(network.init, jax.random.key(0), x, jnp.ones(1))

    def shapes(variables):
        params = init_head(jax.random.key(0), sde, score_of(network, variables, sde), head, (8, 8, 1))
        return params, head_on(sde, score_of(network, variables, sde), head, params)(x, jnp.ones(1))

    params, value = jax.eval_shape(shapes, variables)
    assert params["conv_out"]["kernel"].shape == (3, 3, 8 if name in ("ddpm", "output_skip") else 4, 1)
    assert value.shape == x.shape
