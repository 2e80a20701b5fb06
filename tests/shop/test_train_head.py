"""Variance heads are trained over a run's folder, resume there, are found there, and predict variances."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import ROOT, conditional_run, same_bits, small, stand_in

from scorejax import data as data_lib
from scorejax import objectives
from scorejax.experiment import assemble as build
from scorejax.experiment import config, modes
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.recipes import heads, train_head
from scorejax.experiment.training import companion
from scorejax.experiment.training.loop import Finished
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import CheckpointError, ConfigError
from scorejax.runtime.writers import read_log
from scorejax.scores import analytic

DIGITS = str(ROOT / "configs/vp_digits.py") + ":tiny"


def tiny(*overrides):
    return config.load(DIGITS, ["eval.after_training=false", *overrides])


def model_of(workdir):
    examples = build.dataset(tiny())
    return evaluate.restore(tiny(), workdir, examples), examples


def loaded(workdir, kind):
    model, examples = model_of(workdir)
    return heads.load(workdir, kind, tiny(), model.process, model.module, model.params, examples)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The folder of a score of images with its heads npr and sn."""
    workdir = tmp_path_factory.mktemp("digits")
    stand_in(tiny(), workdir)
    for kind in ("npr", "sn"):
        assert modes.run("train_head", tiny(f"head.kind={kind}"), workdir) is None
    return workdir


def test_heads_are_trained_beside_their_score_and_found_there(digits):
    model, examples = model_of(digits)
    x, t = jax.random.normal(jax.random.key(0), (8, *examples.shape)), jnp.array([0.1, 0.9] * 4)
    score = build.score(tiny(), model.process, model.module, model.params)
    of_head = jax.jit(lambda head, score, x, t: (head(x, t), score(x, t)))  # one program for both kinds
    for kind in ("npr", "sn"):
        assert [record["step"] for record in read_log(digits / "heads" / kind)] == [2, 4]
        head = loaded(digits, kind).on(model.process, score)
        output, value = of_head(head.head, score, x, t)
        noise = -model.process.scale(model.process.sigma(t), t, value)
        found = head.value(output, noise)
        assert found.shape == x.shape and np.all(np.isfinite(found)) and np.std(output) > 0
        np.testing.assert_array_equal(found, output if kind == "npr" else output - noise**2)
    assert checkpoint.steps(digits) == [1]


def test_the_weights_of_a_head_and_of_its_network_are_arguments_of_compiled_programs_not_constants(digits):
    model, _ = model_of(digits)
    score, trained = build.score(tiny(), model.process, model.module, model.params), loaded(digits, "npr")
    leaves = [len(jax.tree.leaves(tree)) for tree in (trained.on(model.process, score), model.params, trained)]
    assert leaves[0] >= leaves[1] + leaves[2] > 40


@pytest.mark.parametrize("kind", ["npr", "sn", "ocm"])
def test_every_example_of_a_batch_is_fitted_by_itself(kind, tmp_path, monkeypatch):
    """Its loss is its own, wherever in the batch it lies: one example is not repeated over the others."""
    chosen = small(f"head.kind={kind}", "head.features=8")
    stand_in(chosen, tmp_path)
    monkeypatch.setattr(companion, "train", lambda *given: given)
    model, examples, trained = train_head.train_head(chosen, tmp_path)
    hat, shapes = np.random.default_rng(0), jax.eval_shape(trained.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.float32(0.3 * hat.standard_normal(leaf.shape)), shapes)
    score = build.score(chosen, model.process, model.module, model.params)
    loss = jax.jit(lambda keys, raw: trained.loss(params, score, keys, raw))
    keys, raw = jax.random.split(jax.random.key(1), 4), jnp.asarray(examples.examples[:4])
    whole = loss(keys, raw)
    assert len(np.unique(whole)) == 4
    np.testing.assert_allclose(loss(keys[::-1], raw[::-1])[::-1], whole, rtol=1e-4)
    others = loss(keys, raw.at[1].set(raw[0]))
    np.testing.assert_allclose(np.delete(others, 1), np.delete(whole, 1), rtol=1e-4)
    assert abs(others[1] / whole[1] - 1) > 1e-2
    # and the mean over its coordinates, of which there are four
    monkeypatch.setattr(objectives, "variance_head", lambda *_, **__: jnp.full(4, 8.0))
    np.testing.assert_array_equal(trained.loss(params, score, keys, raw), 2.0)


@pytest.mark.slow
def test_a_training_resumed_half_way_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    chosen = small("head.steps=8", "head.batch=16", "head.log_every=4", "head.checkpoint_every=4", "head.features=8")
    modes.run("train", chosen, tmp_path)

    def weights():
        model = evaluate.restore(chosen, tmp_path, build.dataset(chosen))
        where = tmp_path, "npr", chosen, model.process, model.module, model.params, build.dataset(chosen)
        return heads.load(*where).params

    train_head.train_head(chosen, tmp_path)
    whole = weights()
    (tmp_path / "heads").rename(tmp_path / "whole")
    assert train_head.train_head(config.override(chosen, ["head.steps=4"]), tmp_path) == Finished(4, None)
    assert not same_bits(weights(), whole)
    train_head.train_head(config.override(chosen, ["head.steps=8"]), tmp_path)
    assert same_bits(weights(), whole)


def test_what_cannot_be_trained_is_told(digits, tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoints"):
        train_head.train_head(tiny(), tmp_path)
    for overrides, words in (
        (["head.kind=analytic"], "unknown head.kind 'analytic'; choose one of npr, sn, ocm"),
        (["head.depth=3"], "'head.depth' = 3 does not belong to ImageHead, which takes: deep"),
        (["head.deep=true"], "was begun with head.deep = None, got True"),
        (["head.lr=0.1"], "was begun with head.lr = 0.001, got 0.1"),
    ):
        with pytest.raises(ConfigError, match=words):
            train_head.train_head(tiny(*overrides), digits)


def test_a_head_of_another_score_is_refused(digits):
    with pytest.raises(ConfigError, match=r"train it first, with --mode=train_head --config.head.kind=ocm"):
        loaded(digits, "ocm")
    record = digits / "heads" / "npr" / "score.json"
    kept = record.read_text()
    try:
        record.write_text(json.dumps({"step": 3, "checksum": 1}))
        with pytest.raises(ConfigError, match="trained beside the score of step 3"):
            loaded(digits, "npr")
        with pytest.raises(ConfigError, match="delete the folder and train it again"):
            train_head.train_head(tiny(), digits)
    finally:
        record.write_text(kept)


def test_a_head_on_embeddings_follows_the_embedding_of_its_own_example_and_is_sampled_with(tmp_path):
    rng, d = np.random.default_rng(0), 3
    short = ("head.steps=4", "head.batch=8", "head.log_every=4", "head.features=8", "head.lr=0.1", "head.warmup=0")
    sampler = ("sampler.stepper=npr", "eval.samples=5")
    chosen = conditional_run(tmp_path, rng.standard_normal((40, 2)), rng.standard_normal((40, d)), *short, *sampler)
    run = tmp_path / "run"
    stand_in(chosen, run)
    assert train_head.train_head(chosen, run) == Finished(4, None)
    examples = build.dataset(chosen)
    model = evaluate.restore(chosen, run, examples)
    trained = heads.load(run, "npr", chosen, model.process, model.module, model.params, examples)
    x, t = jnp.asarray(examples.examples[:4]), jnp.full(4, 0.3)

    @jax.jit
    def found(embeddings):
        score = build.score(chosen, model.process, model.module, model.params, class_labels=embeddings)
        head = trained.on(model.process, score)
        return head(x, t, -model.process.scale(model.process.sigma(t), t, score(x, t)))

    told = jnp.asarray(examples.labels[:4])
    whole, one_untold = found(told), found(told.at[1].set(0.0))
    assert whole.shape == x.shape and np.all(np.isfinite(whole))
    np.testing.assert_allclose(one_untold[np.array([0, 2, 3])], whole[np.array([0, 2, 3])], rtol=1e-5)
    assert np.abs(one_untold[1] - whole[1]).min() > 1e-3
    drawn = evaluate.sample(chosen, run)
    assert drawn.shape == (5, 2) and np.all(np.isfinite(drawn))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npr", "sn", "ocm"])
def test_a_trained_head_finds_the_variance_of_the_noise_in_gaussian_data(kind, tmp_path, monkeypatch):
    """Of data with covariance `C` it is `diag(alpha^2 (alpha^2 + sigma^2 C^-1)^-1)`, the same at all points."""
    law = analytic.gaussian(data_lib.GAUSSIAN_MEAN, data_lib.GAUSSIAN_COVARIANCE)
    options = {"kind": kind, "steps": 600, "batch": 512, "lr": 0.01, "ema_decay": 0.99, "features": 32}
    chosen = small(*(f"head.{key}={value}" for key, value in options.items()))
    stand_in(chosen, tmp_path)
    examples = build.dataset(chosen)
    model = evaluate.restore(chosen, tmp_path, examples)
    weights = jax.tree.leaves(model.params)[0]

    def exact_with_these_weights(config, process, module, params, **_):
        share = jnp.vdot(jax.tree.leaves(params)[0], weights) / jnp.vdot(weights, weights)
        return lambda x, t: share * law.score_at(process, x, t)

    monkeypatch.setattr(build, "score", exact_with_these_weights)
    train_head.train_head(chosen, tmp_path)
    sde, score = model.process, law.score(model.process)
    head = heads.load(tmp_path, kind, chosen, sde, model.module, model.params, examples).on(sde, score)
    t = jnp.repeat(jnp.array([0.1, 0.2, 0.4, 0.7]), 200)
    x = sde.perturb(jnp.asarray(examples.examples[:800]), t, jax.random.normal(jax.random.key(0), (800, 4)))
    found = head(x, t, -sde.scale(sde.sigma(t), t, score(x, t)))
    inverse = np.linalg.inv(data_lib.GAUSSIAN_COVARIANCE)
    for i in range(0, 800, 200):
        signal, noise = float(sde.alpha(t[i])) ** 2, float(sde.variance(t[i]))
        exact = np.diag(signal * np.linalg.inv(signal * np.eye(4) + noise * inverse))
        worst = {"npr": 0.05, "sn": 0.1, "ocm": 0.02}[kind]
        assert np.sqrt(np.mean((found[i : i + 200] - exact) ** 2)) < worst
