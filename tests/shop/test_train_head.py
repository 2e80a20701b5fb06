"""Variance heads are trained over a run's folder, resume there, are found there, and predict variances."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import ROOT, same_bits, small, stand_in

from scorejax import analytic, build, checkpoint, config, evaluate, heads, modes, train_head
from scorejax import data as data_lib
from scorejax.errors import CheckpointError, ConfigError
from scorejax.loop import Finished
from scorejax.metrics import read_log

DIGITS = str(ROOT / "configs/vp_digits.py") + ":tiny"


def tiny(*overrides):
    return config.load(DIGITS, ["eval.after_training=false", *overrides])


def model_of(workdir):
    examples = build.dataset(tiny())
    return evaluate.restore(tiny(), workdir, examples), examples


def restored(workdir, kind):
    model, examples = model_of(workdir)
    return heads.restore(workdir, kind, tiny(), model.process, model.module, model.params, examples)


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
        head = restored(digits, kind)
        output, value = of_head(head.head, score, x, t)
        noise = -model.process.scale(model.process.sigma(t), t, value)
        found = head.value(output, noise)
        assert found.shape == x.shape and np.all(np.isfinite(found)) and np.std(output) > 0
        np.testing.assert_array_equal(found, output if kind == "npr" else output - noise**2)
    assert checkpoint.steps(digits) == [1]


def test_a_head_on_a_score_at_hand_is_the_head_that_restore_gives(digits):
    model, examples = model_of(digits)
    where = digits, "npr", tiny(), model.process, model.module, model.params, examples
    score, trained = build.score(tiny(), model.process, model.module, model.params), heads.load(*where)
    own, at_hand = heads.restore(*where), trained.on(model.process, score)
    assert jax.tree.structure(own) == jax.tree.structure(at_hand)
    jax.tree.map(np.testing.assert_array_equal, own, at_hand)
    # the weights of the network are leaves, so arguments of compiled programs, not constants
    assert len(jax.tree.leaves(own)) >= len(jax.tree.leaves(model.params)) + len(jax.tree.leaves(trained)) > 40


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
        restored(digits, "ocm")
    record = digits / "heads" / "npr" / "score.json"
    kept = record.read_text()
    try:
        record.write_text(json.dumps({"step": 3, "checksum": 1}))
        with pytest.raises(ConfigError, match="trained beside the score of step 3"):
            restored(digits, "npr")
        with pytest.raises(ConfigError, match="delete the folder and train it again"):
            train_head.train_head(tiny(), digits)
    finally:
        record.write_text(kept)


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
    head = heads.restore(tmp_path, kind, chosen, sde, model.module, model.params, examples)
    t = jnp.repeat(jnp.array([0.1, 0.2, 0.4, 0.7]), 200)
    x = sde.perturb(jnp.asarray(examples.examples[:800]), t, jax.random.normal(jax.random.key(0), (800, 4)))
    found = head(x, t, -sde.scale(sde.sigma(t), t, score(x, t)))
    inverse = np.linalg.inv(data_lib.GAUSSIAN_COVARIANCE)
    for i in range(0, 800, 200):
        signal, noise = float(sde.alpha(t[i])) ** 2, float(sde.variance(t[i]))
        exact = np.diag(signal * np.linalg.inv(signal * np.eye(4) + noise * inverse))
        worst = {"npr": 0.05, "sn": 0.1, "ocm": 0.02}[kind]
        assert np.sqrt(np.mean((found[i : i + 200] - exact) ** 2)) < worst
