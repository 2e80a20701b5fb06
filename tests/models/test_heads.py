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
def frozen():
    x, labels = jax.random.normal(jax.random.key(0), (2, 4, 4, 3)), jnp.array([1.0, 2.0])
    module = Tiny()
    params = module.init(jax.random.key(1), x, labels)
    return module, params, x, labels


def test_the_last_features_are_what_the_last_norm_was_given(frozen):
    module, params, x, labels = frozen
    run = jax.jit(lambda: with_input_of("norm_out", lambda: module.apply(params, x, labels)))
    out, features = run()
    np.testing.assert_allclose(out, module.apply(params, x, labels), rtol=1e-5, atol=1e-6)
    weights = params["params"]
    h = nn.silu(GroupNorm().apply({"params": weights["norm_out"]}, features))
    again = conv3x3(3, "conv_out").apply({"params": weights["conv_out"]}, h)
    np.testing.assert_allclose(again, out, rtol=1e-4, atol=1e-5)


def test_a_layer_that_does_not_exist_is_refused(frozen):
    module, params, x, labels = frozen
    with pytest.raises(ValueError, match="layer named 'norm_end', got 0"):
        with_input_of("norm_end", lambda: module.apply(params, x, labels))


@pytest.mark.parametrize("deep", [False, True])
def test_an_image_head_starts_at_nothing_and_knows_its_features(deep):
    features, labels = jax.random.normal(jax.random.key(0), (2, 4, 4, 8)), jnp.array([1.0, 500.0])
    head = ImageHead(3, deep=deep)
    params = jax.jit(head.init)(jax.random.key(1), features, labels)
    out = jax.jit(head.apply)(params, features, labels)
    assert out.shape == (2, 4, 4, 3)
    assert np.abs(out).max() < 1e-3
    assert ("block" in params["params"]) == deep
    kernel = params["params"]["conv_out"]["kernel"]
    params["params"]["conv_out"]["kernel"] = jax.random.normal(jax.random.key(2), kernel.shape)
    assert np.std(jax.jit(head.apply)(params, features, labels)) > 0.1


def test_a_vector_head_starts_at_zero():
    x, labels = jnp.ones((2, 5)), jnp.array([1.0, 500.0])
    head = VectorHead(16)
    params = head.init(jax.random.key(0), x, x, labels)
    np.testing.assert_array_equal(head.apply(params, x, x, labels), jnp.zeros((2, 5)))


def score_of(network, params, sde, **options):
    """A network as a score, carrying its parameters."""
    apply = Partial(lambda variables, x, label: network.apply(variables, x, label), params)
    return sj.make_score(sde, lambda apply, x, label: apply(x, label), apply, label=sde.label, **options)


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_a_head_on_a_network_trains_alone(frozen, kind):
    sde = sj.vp()
    if kind == "image":
        network, variables, x, _ = frozen
        head = ImageHead(3)
    else:
        network, x = MLP(8, 1), jnp.ones((2, 5))
        variables = network.init(jax.random.key(0), x, jnp.ones(2))
        head = VectorHead(16)
    t = jnp.array([0.1, 0.2])
    params = init_head(jax.random.key(1), sde, score_of(network, variables, sde), head, x.shape[1:])

    def loss(frozen, params):
        function = head_on(sde, score_of(network, frozen, sde), head, params)
        return jnp.sum((function(x, t) - 1.0) ** 2)

    still, moving = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, params)
    assert all(np.all(leaf == 0.0) for leaf in jax.tree.leaves(still))
    assert any(np.any(leaf != 0.0) for leaf in jax.tree.leaves(moving))


def loud(params):
    """Weights of which no layer is silent, as the last one of a new network is."""
    hat = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + np.float32(0.3 * hat.standard_normal(leaf.shape)), params)


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_a_head_says_of_each_example_what_it_says_of_it_alone(frozen, kind):
    """Also at times of their own: the first example is not repeated over the batch."""
    sde, t = sj.vp(), jnp.array([0.1, 0.9])
    if kind == "image":
        network, variables, x, _ = frozen
        head = ImageHead(3, deep=True)
    else:
        network, x = MLP(8, 1), jax.random.normal(jax.random.key(0), (2, 5))
        variables = loud(jax.jit(network.init)(jax.random.key(0), x, jnp.ones(2)))
        head = VectorHead(16)
    score = score_of(network, variables, sde)
    value = jax.jit(head_on(sde, score, head, loud(init_head(jax.random.key(1), sde, score, head, x.shape[1:]))))
    together = value(x, t)
    assert together.shape == x.shape
    for i in range(2):
        np.testing.assert_allclose(value(x[i : i + 1], t[i : i + 1])[0], together[i], rtol=1e-4, atol=1e-5)
    for one, other in ((x[::-1], t), (x, t[::-1])):  # it heeds both the point and the time
        assert np.abs(value(one, other)[0] - together[0]).max() > 1e-2


def test_a_head_reads_what_the_network_was_really_given(frozen):
    """Under EDM's preconditioning a network sees scaled points; so must the head on it."""
    network, params, x, _ = frozen
    sde, t = sj.vp(), jnp.array([0.3, 0.6])
    head = ImageHead(3)
    score = score_of(network, params, sde, predicts="edm", sigma_data=0.5)
    weights = jax.tree.map(jnp.ones_like, init_head(jax.random.key(1), sde, score, head, x.shape[1:]))
    size = 1.0 / jnp.sqrt(sde.variance(t) + 0.25 * sde.alpha(t) ** 2)
    _, features = with_input_of("norm_out", lambda: network.apply(params, sde.scale(size, t, x), sde.label(t)))
    expected = head.apply({"params": weights}, features, sde.label(t))
    np.testing.assert_allclose(head_on(sde, score, head, weights)(x, t), expected, rtol=1e-4, atol=1e-5)


def test_beside_its_score_a_head_costs_its_own_layers_alone(frozen):
    network, variables, x, _ = frozen
    sde, t, head = sj.vp(), jnp.array([0.1, 0.2]), ImageHead(3)
    score = score_of(network, variables, sde)
    params = init_head(jax.random.key(1), sde, score, head, x.shape[1:])

    def convolutions(function):
        return jax.jit(function).lower(score, params, x, t).compile().as_text().count(" convolution(")

    alone = convolutions(lambda score, params, x, t: score(x, t))
    both = convolutions(lambda score, params, x, t: (score(x, t), head_on(sde, score, head, params)(x, t)))
    assert alone == 2
    assert both == 3


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
