"""Labels, vectors and sequences as conditions: what they may change, what they may not, and how they are hidden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import scorejax as sj
from scorejax.models import MLP, DDPMpp
from scorejax.models.condition import tokens
from scorejax.models.layers import AttentionBlock

RNG = np.random.default_rng(2)
D = 5
A1, A2, NONE = RNG.standard_normal(D), RNG.standard_normal(D), np.zeros(D)
SENTENCES = np.float32([[A1, A2, NONE], [A2, A1, NONE], [NONE, A2, A1], [A1] + 2 * [NONE], 3 * [NONE], [A1, A1, NONE]])
H = jnp.broadcast_to(np.float32(RNG.standard_normal((4, 4, 8))), (6, 4, 4, 8))  # the same features for all of them
SMALL = {"features": 8, "channel_multipliers": (1,), "blocks_per_level": 1, "attention_resolutions": ()}
UNET = DDPMpp(**SMALL, condition="sequence", condition_dim=D)
BLOCK = AttentionBlock(init_scale=1.0)


@pytest.fixture(scope="module")
def params():
    """Those of an attention block, drawn, and told to speak."""
    draw = jax.jit(lambda key: BLOCK.init(key, H, tokens(jnp.asarray(SENTENCES))))(jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf + 0.1 * RNG.standard_normal(leaf.shape).astype(np.float32), draw)


@pytest.fixture(scope="module")
def attend(params):
    """What the block says, told these sentences."""
    return jax.jit(lambda sentences: BLOCK.apply(params, H[: len(sentences)], tokens(sentences)))


def differ(a, b):
    return np.abs(a - b).max() > 1e-2


def test_a_sequence_is_the_set_of_its_tokens(attend):
    out = attend(SENTENCES)
    np.testing.assert_allclose(out[0], out[1], atol=1e-5)
    np.testing.assert_allclose(out[0], out[2], atol=1e-5)
    assert differ(out[0], out[3]) and differ(out[3], out[4])


def test_a_token_of_zeros_is_not_there_not_even_in_the_softmax(attend):
    np.testing.assert_allclose(attend(SENTENCES)[:2], attend(SENTENCES[:2, :2]), atol=1e-5)
    assert np.isfinite(attend(SENTENCES)).all()


def test_attention_may_go_to_none_of_the_tokens(attend):
    # once or twice the same token: alone with each other they would weigh the same
    out = attend(SENTENCES)
    assert differ(out[3], out[5])


def test_a_small_condition_is_not_mistaken_for_none(attend, make_params):
    small = np.full((6, 3, D), 1e-6, np.float32)
    assert differ(attend(small), attend(0 * small))


def test_zero_is_a_condition_and_only_nan_is_none(make_params):
    """Continuous at zero, different from absence, number by number; and what is absent has no gradient of NaN."""
    network = MLP(features=8, depth=1, condition="vector", condition_dim=2)
    params = make_params(network, (6, 2), condition=np.zeros((6, 2), np.float32))
    given = np.float32([[0, 0], [1e-6, 0], [np.nan, 0], [0, np.nan], [np.nan, np.nan], [np.nan, 0]])

    def run(params, given):
        return network.apply({"params": params}, jnp.ones((6, 2)), jnp.full(6, 300.0), given)

    out = jax.jit(run)(params, given)
    np.testing.assert_allclose(out[0], out[1], atol=1e-4)
    assert all(differ(out[i], out[j]) for i in (0, 2, 3) for j in (2, 3, 4) if i != j)
    np.testing.assert_allclose(out[2], out[5], atol=1e-6)
    gradients = jax.jit(jax.grad(lambda params, given: jnp.sum(run(params, given)), argnums=(0, 1)))(params, given)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_a_token_of_nan_is_absent_like_one_of_zeros(attend):
    padded = np.where(SENTENCES == 0, np.nan, SENTENCES)
    np.testing.assert_allclose(attend(padded), attend(SENTENCES), atol=1e-6)


@pytest.mark.slow
def test_the_output_follows_the_tokens_of_its_own_example_alone(make_params):
    x = jnp.ones((3, 4, 4, 1))
    params = make_params(UNET, x.shape, condition=SENTENCES[:3])

    def first(sentences):
        return jnp.sum(UNET.apply({"params": params}, x, jnp.full(3, 300.0), sentences)[0])

    gradient = np.asarray(jax.jit(jax.grad(first))(SENTENCES[:3]))
    assert np.all(np.abs(gradient[0, :2]).max(-1) > 1e-4)
    np.testing.assert_array_equal(gradient[1:], 0)
    assert np.isfinite(gradient).all()


def test_a_sequence_says_nothing_before_training():
    draw = jax.jit(lambda key: BLOCK.init(key, H, tokens(jnp.asarray(SENTENCES))))(jax.random.key(0))["params"]
    alone = {name: leaf for name, leaf in draw.items() if not name.startswith("cross_")}
    assert draw.keys() - alone.keys() == {f"cross_{part}" for part in ("query", "key", "value", "out")}
    told = jax.jit(lambda h: BLOCK.apply({"params": draw}, h, tokens(jnp.asarray(SENTENCES))))(H)
    np.testing.assert_allclose(told, jax.jit(lambda h: BLOCK.apply({"params": alone}, h))(H), rtol=1e-6, atol=1e-7)


def test_a_vector_says_nothing_before_training():
    mlp = MLP(features=8, depth=1, condition="vector", condition_dim=D)
    draw = jax.jit(mlp.init)(jax.random.key(0), jnp.zeros((2, 2)), jnp.ones(2), SENTENCES[:2, 0])["params"]
    assert not draw["condition"]["kernel"].any()


@pytest.mark.parametrize("network", [UNET, DDPMpp(**SMALL, condition="vector", condition_dim=D)], ids=["seq", "vec"])
def test_a_network_grows_by_its_condition_alone(network, make_params):
    shape, given = (1, 4, 4, 1), SENTENCES[:1] if network is UNET else SENTENCES[:1, 0]
    shapes = [
        flatten_dict(jax.tree.map(jnp.shape, tree), sep="/")
        for tree in (make_params(DDPMpp(**SMALL), shape), make_params(network, shape, condition=given))
    ]
    assert shapes[0].items() < shapes[1].items()
    assert all("cross_" in name or "embedding/condition/" in name for name in shapes[1].keys() - shapes[0].keys())


def test_a_vector_changes_the_output_of_its_own_example(make_params):
    network, vectors = MLP(features=8, depth=1, condition="vector", condition_dim=D), SENTENCES[:3, 0]
    params = make_params(network, (3, 2), condition=vectors)
    run = jax.jit(lambda vectors: network.apply({"params": params}, jnp.ones((3, 2)), jnp.full(3, 300.0), vectors))
    out, other = run(vectors), run(np.float32([A1, NONE, NONE]))
    np.testing.assert_allclose(out[::2], other[::2], atol=1e-5)
    assert differ(out[1], other[1])
    np.testing.assert_allclose(other[1], other[2], atol=1e-5)


def test_sequences_are_hidden_and_guided_as_labels_are(params):
    hidden = sj.guidance.drop_labels(jax.random.key(0), jnp.asarray(SENTENCES), 0.0, 0.5)
    gone = np.asarray(hidden == 0).all((1, 2))
    assert 0 < gone[[0, 1, 2, 3, 5]].sum() < 5
    np.testing.assert_array_equal(hidden[~gone], SENTENCES[~gone])

    def apply_fn(params, x, label, sentences):
        return BLOCK.apply(params, x, tokens(sentences))

    sde, t = sj.vp(), jnp.full(6, 0.5)
    score = sj.make_conditional_score(sde, apply_fn, params)

    @jax.jit
    def values():
        guided = [sj.guidance.classifier_free_batched(score, SENTENCES, 0.0, scale)(H, t) for scale in (0.0, 1.0, 3.0)]
        return score(H, t, jnp.asarray(SENTENCES)), score(H, t, jnp.zeros(SENTENCES.shape)), guided

    cond, uncond, guided = values()
    assert differ(cond, uncond)
    for scale, found in zip((0.0, 1.0, 3.0), guided, strict=True):
        np.testing.assert_allclose(found, uncond + scale * (cond - uncond), atol=1e-4)


@pytest.mark.parametrize(
    ("network", "condition", "words"),
    [
        (MLP(condition="text"), None, "one of .*'label', 'vector', 'sequence'.* got 'text'"),
        (MLP(condition="vector"), None, "condition='vector' does not go with num_classes=None and condition_dim=None"),
        (MLP(condition_dim=5), None, "condition='label' does not go with .*condition_dim=5"),
        (MLP(condition="vector", condition_dim=5, num_classes=2), None, "does not go with num_classes=2"),
        (MLP(condition="sequence", condition_dim=5), None, "no attention .*condition='vector'"),
        (MLP(condition="vector", condition_dim=5), None, r"pass floats of shape \(B, 5\); NaN means 'no condition'"),
        (MLP(condition="vector", condition_dim=5), np.zeros((2, 4)), r"with B = 2, got float32 of shape \(2, 4\)"),
        (MLP(condition="vector", condition_dim=5), np.zeros((2, 5), int), "must be floats .* got int32"),
        (UNET, np.zeros((2, 5)), r"floats of shape \(B, L, 5\) with B = 2, got float32 of shape \(2, 5\)"),
    ],
)
def test_what_does_not_fit_is_named(network, condition, words):
    x = np.zeros((2, 2) if isinstance(network, MLP) else (2, 4, 4, 1))
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(network.init, jax.random.key(0), x, np.ones(2), condition)
