"""Class labels: training hides some, the network then knows "no class", and guidance leads away from it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import conditional_run, out_of_a_hat, small

from scorejax import data, guidance
from scorejax.experiment import assemble, steering
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.trained import Trained, restore
from scorejax.experiment.training.train import init_state, make_update, train
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError

MOONS = ("data=moons", "recipe.conditional=true", "optim.warmup=1", "optim.clip=0")
NULL = 2  # there are two moons


@functools.cache
def compiled_step(label_dropout: float, parts: int):
    """A training step on one device or several, compiled in a hurry, and what it takes."""
    recipe = make_recipe(small(*MOONS, f"recipe.label_dropout={label_dropout}"))
    optimizer, examples = recipe.optimizer(assemble.optimizer(recipe.config)), recipe.given.examples
    feeder = data.feed(examples, 16, 0, parts=parts, local=tuple(range(parts)), sharding=parallel.replicated())
    state = init_state(recipe, optimizer, jax.random.key(1))
    # The last layers of a new network are silent; here they are to speak.
    state = state._replace(params=jax.tree.map(lambda p: p + 0.1, state.params))
    update = make_update(recipe, optimizer, feeder)
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


@pytest.mark.slow
def test_hidden_labels_train_the_null_class_and_labels_that_are_not_hidden_do_not():
    before, after, _ = step(0.0)
    np.testing.assert_array_equal(before[NULL], after[NULL])
    assert np.all(before[:NULL] != after[:NULL])
    before, after, _ = step(0.5)
    assert np.all(before != after)


@pytest.mark.slow
def test_hiding_labels_draws_from_a_stream_of_its_own():
    same = jnp.ones((NULL + 1, 16))  # classes that differ in nothing
    np.testing.assert_allclose(step(0.0, classes=same)[2], step(0.5, classes=same)[2], rtol=1e-6)
    assert step(0.0)[2] != step(0.5)[2]


@pytest.mark.slow
def test_the_same_labels_are_hidden_on_any_number_of_devices():
    one, two = step(0.5), step(0.5, parts=2)
    np.testing.assert_allclose(one[2], two[2], rtol=1e-5)
    np.testing.assert_allclose(one[1], two[1], atol=1e-5)


def test_a_guided_network_is_its_conditional_and_its_null_score_combined():
    recipe = make_recipe(small(*MOONS, "recipe.label_dropout=0.1"))
    model = recipe.model(out_of_a_hat(recipe.shapes()))
    x, t = jax.random.normal(jax.random.key(1), (4, 2)), jnp.linspace(0.1, 0.9, 4)
    labels = jnp.arange(4) % 2
    null = steering.null_condition(model)
    assert null == NULL
    guided = guidance.classifier_free_batched(model.score, labels, null, 3.0)(x, t)
    cond, uncond = model.score_given(labels)(x, t), model.score_given(jnp.full(4, NULL))(x, t)
    assert jnp.abs(cond - uncond).max() > 0.1
    np.testing.assert_allclose(guided, uncond + 3.0 * (cond - uncond), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(guidance.classifier_free_batched(model.score, labels, null, 1.0)(x, t), cond)


def test_other_parameters_do_not_compile_a_guided_score_again():
    traced = []

    @jax.jit
    def value(score):
        traced.append(1)
        return score(jnp.ones((2, 2)), jnp.full(2, 0.5))

    recipe = make_recipe(small(*MOONS, "recipe.label_dropout=0.1"))
    for seed in (0, 1):
        labelled = recipe.model(out_of_a_hat(recipe.shapes(), seed)).score
        value(guidance.classifier_free_batched(labelled, jnp.array([seed, 1]), NULL, jnp.float32(1.0 + seed)))
    assert len(traced) == 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("guidance=classifier_free",), "takes no class labels.*recipe.conditional=true"),
        (
            ("guidance=classifier_free:scale=2", "recipe.conditional=true"),
            "label was hidden.*recipe.label_dropout=0.1",
        ),
    ],
)
def test_guidance_of_a_network_without_labels_or_without_a_null_label_is_refused(overrides, words):
    config = small("data=moons", *overrides)
    recipe = make_recipe(config)
    with pytest.raises(ConfigError, match=words):
        steering.classes(config, Trained(config, recipe, recipe.shapes(), 0))


@pytest.mark.slow
def test_embeddings_of_ones_own_are_trained_with_and_drawn_for(tmp_path):
    rng = np.random.default_rng(0)
    config = conditional_run(tmp_path, rng.standard_normal((40, 2)), rng.standard_normal((40, 3)), "model.features=8")
    train(config, tmp_path / "run")
    assert evaluate.sample(config, tmp_path / "run").shape == (5, 2)
    trained, examples = restore(config, tmp_path / "run"), assemble.dataset(config)
    assert np.isnan(steering.null_condition(trained.model))
    wanted = steering.classes(config, trained).wanted(jnp.arange(5))
    np.testing.assert_array_equal(wanted, examples.labels[:5])


def test_sequences_of_ones_own_become_cross_attention(tmp_path):
    network = "model=ddpmpp:features=16:channel_multipliers=(1,):blocks_per_level=1:attention_resolutions=()"
    config = conditional_run(tmp_path, np.zeros((40, 4, 4), np.uint8), np.ones((40, 2, 3)), network)
    recipe = make_recipe(config)
    examples, module, params = recipe.given.examples, recipe.network, recipe.shapes()
    assert (module.condition, module.condition_dim, module.num_classes) == ("sequence", 3, None)
    assert params["mid_attention"]["cross_key"]["kernel"].shape == (3, 16)

    def guided(params, x, t):
        trained = Trained(config, recipe, params, 0)
        wanted = steering.classes(config, trained).wanted(jnp.arange(5))
        null = steering.null_condition(trained.model)
        return guidance.classifier_free_batched(trained.model.score, wanted, null, 2.0)(x, t)

    x, t = jnp.zeros((5, *examples.shape)), jnp.ones(5)
    assert jax.eval_shape(guided, params, x, t).shape == x.shape


def test_a_network_that_knows_no_conditions_is_named():
    recipe = make_recipe(small("data=digits", "model=ncsnv2", "recipe.conditional=true"))
    with pytest.raises(ConfigError, match=r"'ncsnv2' takes no conditions; for data = 'digits'.* choose ddpmpp, ncsnpp"):
        recipe.shapes()
