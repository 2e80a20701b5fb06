"""Variance heads are trained over a run's folder, resume there, are found there, and predict variances."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import ROOT, conditional_run, out_of_a_hat, same_bits, small, stand_in, store
from toy_recipes import VECTORS

from scorejax import data as data_lib
from scorejax import objectives
from scorejax.experiment import assemble, config, modes
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.evaluation.subject import Subject
from scorejax.experiment.evaluation.variances import restored_beside
from scorejax.experiment.recipe import Batch, make_recipe
from scorejax.experiment.recipes.variance_head import KINDS, VarianceHead
from scorejax.experiment.trained import restore
from scorejax.experiment.training.beside import own_config, train_beside
from scorejax.experiment.training.loop import Finished
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import CheckpointError, ConfigError
from scorejax.runtime.writers import read_log

DIGITS = str(ROOT / "configs/vp_digits.py") + ":tiny"


def tiny(*overrides):
    return config.load(DIGITS, ["eval.after_training=false", *overrides])


def loaded(chosen, workdir, kind):
    """The score of a run, and its head of a kind."""
    trained = restore(chosen, workdir)
    return trained, restored_beside(Subject(trained), workdir, f"heads/{kind}")


def train_head(chosen, workdir):
    return train_beside(VarianceHead, chosen, workdir)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The folder of a score of images with its heads npr and sn."""
    workdir = tmp_path_factory.mktemp("digits")
    stand_in(tiny(), workdir)
    for kind in ("npr", "sn"):
        assert modes.run("train_head", tiny(f"head.kind={kind}"), workdir) is None
    return workdir


@pytest.mark.slow
def test_heads_are_trained_next_to_their_score_and_found_there(digits):
    of_head = jax.jit(lambda head, score, x, t: (head(x, t), score(x, t)))  # one program for both kinds
    for kind in ("npr", "sn"):
        assert [record["step"] for record in read_log(digits / "heads" / kind)] == [2, 4]
        trained, own = loaded(tiny(), digits, kind)
        x = jax.random.normal(jax.random.key(0), (8, *trained.recipe.given.examples.shape))
        t, sde, score = jnp.array([0.1, 0.9] * 4), trained.sde, trained.model.score_given(None)
        head = own.model.variance_head(sde, score)
        output, value = of_head(head.network, score, x, t)
        noise = -sde.scale(sde.sigma(t), t, value)
        found = head.value(output, noise)
        assert found.shape == x.shape and np.all(np.isfinite(found)) and np.std(output) > 0
        np.testing.assert_array_equal(found, output if kind == "npr" else output - noise**2)
    assert checkpoint.steps(digits) == [1]


@pytest.mark.slow
def test_the_weights_of_a_head_and_of_its_network_are_arguments_of_compiled_programs_not_constants(digits):
    trained, own = loaded(tiny(), digits, "npr")
    bound = own.model.variance_head(trained.sde, trained.model.score_given(None))
    leaves = [len(jax.tree.leaves(tree)) for tree in (bound, trained.params, own.params)]
    assert leaves[0] >= leaves[1] + leaves[2] > 40


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_example_of_a_batch_is_fitted_by_itself(kind, tmp_path):
    """Its loss is its own, wherever in the batch it lies: one example is not repeated over the others."""
    chosen = small(f"head.kind={kind}", "head.features=8")
    stand_in(chosen, tmp_path)
    beside = restore(chosen, tmp_path).beside
    recipe = make_recipe(own_config(chosen, VarianceHead), beside=beside)
    params, sde, score = out_of_a_hat(recipe.shapes()), beside.model.sde, beside.model.score_given(None)

    @jax.jit
    def loss(keys, raw):
        batch = Batch(raw, raw, None, jnp.int32(0), keys[0], keys[0], jnp.int32(0), 1)
        return recipe.loss(params, None, batch, keys)[0]

    @jax.jit
    def of_all_coordinates(keys, raw):
        head = recipe.model(params).variance_head(sde, score).network
        own = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
        return objectives.variance_head(own, sde, score, raw, head=head, target=KINDS[kind].target)

    keys, raw = jax.random.split(jax.random.key(1), 4), jnp.asarray(recipe.given.examples.examples[:4])
    whole = loss(keys, raw)
    assert len(np.unique(whole)) == 4
    np.testing.assert_allclose(loss(keys[::-1], raw[::-1])[::-1], whole, rtol=1e-4)
    others = loss(keys, raw.at[1].set(raw[0]))
    np.testing.assert_allclose(np.delete(others, 1), np.delete(whole, 1), rtol=1e-4)
    assert abs(others[1] / whole[1] - 1) > 1e-2
    # and the mean over its coordinates, of which there are four
    np.testing.assert_allclose(whole, of_all_coordinates(keys, raw) / 4, rtol=1e-5)


@pytest.mark.slow
def test_a_training_resumed_half_way_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    chosen = small("head.steps=8", "head.batch=16", "head.log_every=4", "head.checkpoint_every=4", "head.features=8")
    modes.run("train", chosen, tmp_path)
    weights = lambda: loaded(chosen, tmp_path, "npr")[1].params  # noqa: E731
    train_head(chosen, tmp_path)
    whole = weights()
    (tmp_path / "heads").rename(tmp_path / "whole")
    assert train_head(config.override(chosen, ["head.steps=4"]), tmp_path) == Finished(4, None)
    assert not same_bits(weights(), whole)
    train_head(config.override(chosen, ["head.steps=8"]), tmp_path)
    assert same_bits(weights(), whole)


@pytest.mark.slow
def test_what_cannot_be_trained_is_named(digits, tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoints"):
        train_head(tiny(), tmp_path)
    for overrides, words in (
        (["head.kind=analytic"], "'head.kind' takes one of npr, sn, ocm, got 'analytic'"),
        (["head.kind=ocm", "head.depth=3"], "head.depth belongs to heads of vectors; those of images take deep"),
        (["head.deep=true"], "was begun with head.deep = None, got True"),
        (["head.lr=0.1"], "was begun with head.lr = 0.001, got 0.1"),
    ):
        with pytest.raises(ConfigError, match=words):
            train_head(tiny(*overrides), digits)


@pytest.mark.slow
def test_a_head_of_another_score_is_refused(digits):
    with pytest.raises(ConfigError, match=r"train it first, with --mode=train_head --config.head.kind=ocm"):
        loaded(tiny(), digits, "ocm")
    record = digits / "heads" / "npr" / "score.json"
    kept = record.read_text()
    try:
        record.write_text(json.dumps({"step": 3, "checksum": 1}))
        with pytest.raises(ConfigError, match="trained next to the score of step 3"):
            loaded(tiny(), digits, "npr")
        with pytest.raises(ConfigError, match="delete the folder and train it again"):
            train_head(tiny(), digits)
    finally:
        record.write_text(kept)


@pytest.mark.slow
def test_a_head_on_embeddings_follows_the_embedding_of_its_own_example_and_is_sampled_with(tmp_path):
    rng, d = np.random.default_rng(0), 3
    short = ("head.steps=4", "head.batch=8", "head.log_every=4", "head.features=8", "head.lr=0.1", "head.warmup=0")
    sampler = ("sampler.stepper=npr", "eval.samples=5")
    chosen = conditional_run(tmp_path, rng.standard_normal((40, 2)), rng.standard_normal((40, d)), *short, *sampler)
    run = tmp_path / "run"
    stand_in(chosen, run)
    assert train_head(chosen, run) == Finished(4, None)
    trained, own = loaded(chosen, run, "npr")
    examples, sde, bind = trained.recipe.given.examples, trained.sde, own.model.variance_head
    x, t = jnp.asarray(examples.examples[:4]), jnp.full(4, 0.3)

    @jax.jit
    def found(embeddings):
        score = trained.model.score_given(embeddings)
        return bind(sde, score)(x, t, -sde.scale(sde.sigma(t), t, score(x, t)))

    given = jnp.asarray(examples.labels[:4])
    whole, one_without = found(given), found(given.at[1].set(0.0))
    assert whole.shape == x.shape and np.all(np.isfinite(whole))
    np.testing.assert_allclose(one_without[np.array([0, 2, 3])], whole[np.array([0, 2, 3])], rtol=1e-5)
    assert np.abs(one_without[1] - whole[1]).min() > 1e-3
    drawn = evaluate.sample(chosen, run)
    assert drawn.shape == (5, 2) and np.all(np.isfinite(drawn))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_head_finds_the_variance_of_the_noise_in_gaussian_data(kind, tmp_path):
    """Of data with covariance `C` it is `diag(alpha^2 (alpha^2 + sigma^2 C^-1)^-1)`, the same at all points."""
    options = {"kind": kind, "steps": 600, "batch": 512, "lr": 0.01, "ema_decay": 0.99, "features": 32}
    chosen = small("recipe=toy_recipes:Exact", *(f"head.{key}={value}" for key, value in options.items()))
    store({"w": np.ones(3, np.float32)}, tmp_path)
    train_head(chosen, tmp_path)
    sde, score = assemble.sde(chosen), VECTORS.score(assemble.sde(chosen))
    trained, own = loaded(chosen, tmp_path, kind)
    head = own.model.variance_head(sde, score)
    t = jnp.repeat(jnp.array([0.1, 0.2, 0.4, 0.7]), 200)
    x0 = jnp.asarray(trained.recipe.given.examples.examples[:800])
    x = sde.perturb(x0, t, jax.random.normal(jax.random.key(0), (800, 4)))
    found = head(x, t, -sde.scale(sde.sigma(t), t, score(x, t)))
    inverse = np.linalg.inv(data_lib.GAUSSIAN_COVARIANCE)
    for i in range(0, 800, 200):
        signal, noise = float(sde.alpha(t[i])) ** 2, float(sde.variance(t[i]))
        exact = np.diag(signal * np.linalg.inv(signal * np.eye(4) + noise * inverse))
        worst = {"npr": 0.05, "sn": 0.1, "ocm": 0.02}[kind]
        assert np.sqrt(np.mean((found[i : i + 200] - exact) ** 2)) < worst
