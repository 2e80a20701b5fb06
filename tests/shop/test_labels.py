"""Class labels: training hides some, the network then knows "no class", and guidance leads away from it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import conditional_run, small

from scorejax import data, guidance
from scorejax.experiment import assemble as build
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.training import train
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError

MOONS = ("data.name=moons", "model.conditional=true", "optim.warmup=1", "optim.clip=0")
NULL = 2  # there are two moons


@functools.cache
def compiled_step(label_dropout: float, parts: int):
    """A training step on one device or several, compiled in a hurry, and what it takes."""
    config = small(*MOONS, f"model.label_dropout={label_dropout}")
    process, examples = build.sde(config), build.dataset(config)
    network, optimizer = build.network(config, examples), build.optimizer(config)
    feeder = data.feed(examples, 16, 0, parts=parts, local=tuple(range(parts)), sharding=parallel.replicated())
    state = train.init_state(network, optimizer, examples.shape, jax.random.key(1))
    # The last layers of a new network are silent; here they are to speak.
    state = state._replace(params=jax.tree.map(lambda p: p + 0.1, state.params))
    update = train.make_update(config, process, network, optimizer, feeder)
    mapped = jax.vmap(lambda lane, *args: update(*args), axis_name=parallel.AXIS, in_axes=(0, None, None))
    inputs = (jnp.arange(parts), state, feeder.payload(0, 1))
    cheap = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(mapped).lower(*inputs).compile(compiler_options=cheap), inputs


def step(label_dropout: float, parts: int = 1, classes=None):
    """The class vectors before a training step and after it, and its loss."""
    run, (lanes, state, payload) = compiled_step(label_dropout, parts)
    before = state.params["classes"]["table"]["embedding"] if classes is None else classes
    params = {**state.params, "classes": {"table": {"embedding": before}}}
    after, metrics = run(lanes, state._replace(params=params), payload)
    return before, after.params["classes"]["table"]["embedding"][0], metrics["loss"][0]


def test_hidden_labels_train_the_null_class_and_labels_that_are_not_hidden_do_not():
    before, after, _ = step(0.0)
    np.testing.assert_array_equal(before[NULL], after[NULL])
    assert np.all(before[:NULL] != after[:NULL])
    before, after, _ = step(0.5)
    assert np.all(before != after)


def test_hiding_labels_draws_from_a_stream_of_its_own():
    same = jnp.ones((NULL + 1, 16))  # classes that differ in nothing
    np.testing.assert_allclose(step(0.0, classes=same)[2], step(0.5, classes=same)[2], rtol=1e-6)
    assert step(0.0)[2] != step(0.5)[2]


def test_the_same_labels_are_hidden_on_any_number_of_devices():
    one, two = step(0.5), step(0.5, parts=2)
    np.testing.assert_allclose(one[2], two[2], rtol=1e-5)
    np.testing.assert_allclose(one[1], two[1], atol=1e-5)


def test_a_guided_network_is_its_conditional_and_its_null_score_combined():
    config = small(*MOONS, "model.label_dropout=0.1")
    process, examples = build.sde(config), build.dataset(config)
    network = build.network(config, examples)
    params = jax.tree.map(lambda p: p + 0.1, build.init_params(jax.random.key(0), network, examples.shape))
    x, t = jax.random.normal(jax.random.key(1), (4, 2)), jnp.linspace(0.1, 0.9, 4)
    labels = jnp.arange(4) % 2
    null = build.null_label(config, examples)
    assert null == NULL

    def given(labels):
        return build.score(config, process, network, params, class_labels=labels)(x, t)

    labelled = build.labelled_score(config, process, network, params)
    guided = guidance.classifier_free_batched(labelled, labels, null, 3.0)(x, t)
    cond, uncond = given(labels), given(jnp.full(4, null))
    assert jnp.abs(cond - uncond).max() > 0.1
    np.testing.assert_allclose(guided, uncond + 3.0 * (cond - uncond), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(guidance.classifier_free_batched(labelled, labels, null, 1.0)(x, t), cond)


def test_other_parameters_do_not_compile_a_guided_score_again():
    config = small(*MOONS, "model.label_dropout=0.1")
    process, examples = build.sde(config), build.dataset(config)
    traced = []

    @jax.jit
    def value(score):
        traced.append(1)
        return score(jnp.ones((2, 2)), jnp.full(2, 0.5))

    for seed in (0, 1):
        network = build.network(config, examples)
        params = build.init_params(jax.random.key(seed), network, examples.shape)
        labelled = build.labelled_score(config, process, network, params)
        value(guidance.classifier_free_batched(labelled, jnp.array([seed, 1]), NULL, jnp.float32(1.0 + seed)))
    assert len(traced) == 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((), "model.conditional = False and model.label_dropout = 0.0"),
        (("model.conditional=true",), "model.conditional = True and model.label_dropout = 0.0.*label_dropout=0.1"),
    ],
)
def test_guidance_without_a_null_label_is_refused(overrides, words):
    config = small("data.name=moons", *overrides)
    with pytest.raises(ConfigError, match=words):
        build.null_label(config, build.dataset(config))


def test_a_network_without_classes_has_no_labelled_score():
    config = small("data.name=moons")
    network = build.network(config, build.dataset(config))
    with pytest.raises(ConfigError, match="takes no class labels"):
        build.labelled_score(config, build.sde(config), network, {})


@pytest.mark.slow
def test_embeddings_of_ones_own_are_trained_with_and_drawn_for(tmp_path):
    rng = np.random.default_rng(0)
    config = conditional_run(tmp_path, rng.standard_normal((40, 2)), rng.standard_normal((40, 3)), "model.features=8")
    examples = build.dataset(config)
    train.train(config, tmp_path / "run")
    assert evaluate.sample(config, tmp_path / "run").shape == (5, 2)
    assert build.null_label(config, examples) == 0.0
    np.testing.assert_array_equal(build.sample_labels(config, examples), examples.labels[:5])


def test_sequences_of_ones_own_become_cross_attention(tmp_path):
    network = ("model.name=ddpmpp", "model.depth=none", "model.channel_multipliers=(1,)", "model.blocks_per_level=1")
    x, labels = np.zeros((40, 4, 4), np.uint8), np.ones((40, 2, 3))
    config = conditional_run(tmp_path, x, labels, *network, "model.attention_resolutions=()")
    process, examples = build.sde(config), build.dataset(config)
    module = build.network(config, examples)
    assert (module.condition, module.condition_dim, module.num_classes) == ("sequence", 3, None)
    params = jax.eval_shape(lambda: build.init_params(jax.random.key(0), module, examples.shape))
    assert params["mid_attention"]["cross_key"]["kernel"].shape == (3, 16)

    def guided(params, x, t):
        labelled, told = build.labelled_score(config, process, module, params), build.sample_labels(config, examples)
        return guidance.classifier_free_batched(labelled, told, build.null_label(config, examples), 2.0)(x, t)

    x, t = jnp.zeros((5, *examples.shape)), jnp.ones(5)
    assert jax.eval_shape(guided, params, x, t).shape == x.shape


def test_a_network_that_knows_no_conditions_is_named():
    config = small("data.name=digits", "model.name=ncsnv2", "model.depth=none", "model.conditional=true")
    with pytest.raises(ConfigError, match="'ncsnv2' knows no conditions; choose mlp, ddpmpp"):
        build.network(config, build.dataset(config))
