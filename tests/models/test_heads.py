import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models.heads import ImageHead, VectorHead, head_on, with_input_of
from scorejax.models.layers import GroupNorm, conv3x3
from scorejax.models.mlp import MLP


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


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_a_head_on_a_network_trains_alone(frozen, kind):
    if kind == "image":
        network, variables, x, t = frozen
        head = ImageHead(3)
        params = head.init(jax.random.key(3), jnp.zeros((1, 4, 4, 8)), t[:1])["params"]
    else:
        network, x, t = MLP(8, 1), jnp.ones((2, 5)), jnp.array([0.1, 0.2])
        variables = network.init(jax.random.key(0), x, t)
        head = VectorHead(16)
        params = head.init(jax.random.key(1), x, x, t)["params"]

    def loss(frozen, params):
        function = head_on(network, frozen, head, params, label=lambda t: 999.0 * t)
        return jnp.sum((function(x, t) - 1.0) ** 2)

    still, moving = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables["params"], params)
    assert all(np.all(leaf == 0.0) for leaf in jax.tree.leaves(still))
    assert any(np.any(leaf != 0.0) for leaf in jax.tree.leaves(moving))
