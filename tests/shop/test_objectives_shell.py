"""Runs trained by a variational bound: hybrid, vlb, and the bound in continuous time of a learned process."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known import subject_of
from runs import same_bits, small, stored

from scorejax import data
from scorejax.experiment import assemble, checks
from scorejax.experiment.evaluation import bits, evaluate
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.trained import restore
from scorejax.experiment.training.train import init_state, make_update, train
from scorejax.objectives import LossHistory
from scorejax.reverse.variance import LearnedRange
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError

CHAIN = ("sde=ddpm:schedule=cosine:n=5", "model.learned_range=true", "sampler.steps=4")
KINDS = {
    "hybrid": (*CHAIN, "objective=hybrid"),
    "vlb": (*CHAIN, "objective=vlb", "objective.time_sampling=importance"),
    "learned": ("sde=learned:gamma_min=-6", "objective=continuous_vlb", "sampler.steps=4"),
}
SHORT = ("sampler.t_min=none", "sampler.stepper=ancestral", "eval.samples=6", "eval.batch=6")


def run(kind, *overrides):
    return small(*KINDS[kind], *SHORT, *overrides)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of every kind, of 8 steps, never interrupted."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, folder in folders.items():
        train(run(kind), folder)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_resumed_half_way_is_the_uninterrupted_run_bit_for_bit(kind, whole, tmp_path):
    for steps in (4, 8):
        train(run(kind, f"train.steps={steps}"), tmp_path)
    half, full = stored(run(kind), tmp_path), stored(run(kind), whole[kind])
    assert half.step == full.step == 8
    assert same_bits(half.fields, full.fields)


@pytest.mark.slow
def test_a_run_by_the_bound_alone_remembers_its_losses(whole):
    memory = stored(run("vlb"), whole["vlb"]).fields["carry"]
    assert isinstance(memory, LossHistory)
    assert memory.losses.shape == (5, 10) and memory.counts.sum() == 8 * 16
    assert np.all(memory.counts >= 10), "so the last steps drew by their losses"
    assert np.ptp(np.asarray(memory.proposal())) > 0.05
    assert "carry" not in stored(run("hybrid"), whole["hybrid"]).fields


@pytest.mark.slow
def test_a_learned_schedule_is_trained_averaged_and_used(whole):
    config = run("learned")
    fields = stored(config, whole["learned"]).fields
    ends, average = (fields[name]["process"] for name in ("params", "ema"))
    start = assemble.sde(config)
    for name in ("gamma_min", "gamma_max"):
        assert ends[name] != getattr(start, name) and ends[name] != average[name]
    gamma = restore(config, whole["learned"]).sde.gamma(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(gamma, [average["gamma_min"], average["gamma_max"]], rtol=1e-6)


@pytest.mark.parametrize("kind", ["hybrid", "learned"])
@pytest.mark.slow
def test_samples_of_such_a_run_can_be_drawn(kind, whole):
    x = evaluate.sample(run(kind, "eval.grid=6"), whole[kind])
    assert x.shape == (6, 4) and np.isfinite(x).all()


def step_of(kind, lanes):
    """A training step in as many lanes as a pod would have devices, on its first state."""
    recipe = make_recipe(run(kind))
    optimizer, examples = recipe.optimizer(assemble.optimizer(recipe.config)), recipe.given.examples
    feeder = data.feed(examples, 16, 0, parts=lanes, local=tuple(range(lanes)), sharding=parallel.replicated())
    update = make_update(recipe, optimizer, feeder)
    mapped = jax.vmap(lambda lane, *given: update(*given), axis_name=parallel.AXIS, in_axes=(0, None, None))

    def step(key):
        return mapped(jnp.arange(lanes), init_state(recipe, optimizer, key), feeder.payload(0, 1))

    return step


@pytest.mark.slow
def test_every_device_remembers_the_losses_of_the_whole_batch():
    # One step is run, so its program need not be fast.
    cheap = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    key = jax.random.key(0)
    steps = (jax.jit(step_of("vlb", lanes)).lower(key).compile(compiler_options=cheap) for lanes in (1, 4))
    (one, _), (four, _) = (step(key) for step in steps)
    for single, several in zip(jax.tree.leaves(one.carry), jax.tree.leaves(four.carry), strict=True):
        assert np.all(several == several[:1]), "the devices disagree"
        np.testing.assert_allclose(several[0], single[0], rtol=1e-4)
    assert one.carry.counts.sum() == 16


@pytest.mark.parametrize("kind", ["hybrid", "vlb"])
def test_the_network_runs_once_for_its_score_and_its_variances(kind):
    calls = []

    def count(call, args, kwargs, context):
        calls.append(context.module.path == () and context.method_name == "__call__")
        return call(*args, **kwargs)

    step = step_of(kind, 1)
    with nn.intercept_methods(count):
        jax.eval_shape(step, jax.random.key(0))
    assert sum(calls) == 2, "once to make its parameters, once in the step"


@pytest.mark.parametrize("kind", ["hybrid", "vlb"])
def test_the_bound_is_taken_at_the_times_that_were_drawn(kind):
    recipe = make_recipe(run(kind))
    objective, history = recipe.objective, recipe.carry(jax.random.key(0))
    t = jnp.arange(1, 6) / 5
    seen = []

    def score(x, at):
        seen.append(at)
        return -x

    head = LearnedRange(lambda x, at: jnp.full_like(x, 0.5))
    keys = jax.random.split(jax.random.key(0), 5)
    loss = objective.loss(keys, recipe.sde, score, head, jnp.ones((5, 2)), t, history)
    np.testing.assert_allclose(seen[0], t, rtol=1e-6)
    assert loss.shape == (5,) and np.isfinite(loss).all()
    if kind == "vlb":
        history = objective.remember(history, t, loss)
        np.testing.assert_allclose(history.losses[:, -1], loss[::-1] / 5, rtol=1e-5)  # newest last, noisiest first
        assert set(np.asarray(objective.draw(history, jax.random.key(1), 200)).tolist()) == set(np.asarray(t).tolist())


def test_the_halves_of_the_output_are_prediction_and_range():
    recipe = make_recipe(run("hybrid"))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), recipe.shapes())
    params["dense_out"]["bias"] = jnp.repeat(jnp.array([0.7, -1.0, 1.0]), jnp.array([4, 2, 2]))
    x, t = jnp.zeros((1, 4)), jnp.array([0.4])
    model = recipe.model(params)
    np.testing.assert_allclose(-model.sde.sigma(0.4) * model.score(x, t, None), 0.7, rtol=1e-5)
    np.testing.assert_allclose(model.learned_range(None).network(x, t), [[0.0, 0.0, 1.0, 1.0]], atol=1e-6)


@pytest.mark.slow
def test_the_bound_of_an_exact_score_is_the_truth_for_a_learned_process(tmp_path):
    exact = (
        "recipe=exact_recipes:Bounded",
        "init_from=known",
        "data.normalize=none",
        "eval.bound=400",
        "eval.likelihood_examples=200",
    )
    config = run("learned", "sde.gamma_min=-12", "sde.gamma_max=8", *exact)
    model, examples = subject_of(config)
    result = bits.bits_per_dim(model, examples, assemble.dataset(config, "test"), tmp_path, None)
    # the decoder's noise has no mean over 200 examples of 4 dimensions: 0.5 / sqrt(2 * 800) nats
    assert abs(result["bound"] - result["truth"]) < 0.1
    assert abs(result["bits_per_dim"] - result["truth"]) < 0.01


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["objective=vlb"], ["learned_range"]),
        (["model.learned_range=true"], ["hybrid", "'denoising'"]),
        (["objective=hybrid", "model.learned_range=true"], ["'vp'", "ddpm", "continuous_vlb"]),
        ([*KINDS["hybrid"], "objective.weighting=likelihood"], ["objective.weighting", "hybrid"]),
        ([*KINDS["vlb"], "objective.lambda_vlb=0.1"], ["objective.lambda_vlb", "vlb"]),
        ([*KINDS["hybrid"], "objective.time_sampling=importance"], ["importance", "chain"]),
        (["sde=learned"], ["continuous_vlb", "'denoising'"]),
        (["recipe.predicts=previous_mean"], ["VP has no levels", "ddpm"]),
        ([*KINDS["hybrid"], "recipe.predicts=edm", "sampler.t_min=none"], ["model.learned_range", "'edm'"]),
    ],
)
def test_what_does_not_fit_together_is_told(overrides, words):
    with pytest.raises(ConfigError) as caught:
        config = small(*overrides)
        checks.check(config)
        make_recipe(config).shapes()
    assert all(word in str(caught.value) for word in words), str(caught.value)
