"""A dequantizer is trained over a run's folder, resumes there, and leaves the score alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from runs import ROOT, same_bits, store

import scorejax as sj
from scorejax import data
from scorejax.experiment import config, modes
from scorejax.experiment.evaluation.subject import Subject
from scorejax.experiment.evaluation.variances import restored_beside
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.recipes.dequantizer import Dequantizer
from scorejax.experiment.trained import restore
from scorejax.experiment.training.beside import own_config, train_beside
from scorejax.experiment.training.loop import Finished
from scorejax.likelihood import bound_bits
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import CheckpointError, ConfigError
from scorejax.runtime.writers import read_log
from scorejax.scores import analytic

DIGITS = str(ROOT / "configs/vp_digits.py") + ":tiny"


def tiny(*overrides):
    """A run with an exact score, which need not be compiled."""
    return config.load(DIGITS, ["recipe=toy_recipes:Exact", "dequantizer.features=4", *overrides])


def trained(workdir):
    score = restore(tiny(), workdir)
    return restored_beside(Subject(score), workdir, "dequantizer")


def image_score(law, process):
    """The exact score of a law on flattened images."""
    of_vectors = law.score(process)
    return lambda x, t: of_vectors(x.reshape(x.shape[0], -1), t).reshape(x.shape)


@pytest.fixture
def workdir(tmp_path):
    """A run's folder with the checkpoint of a score."""
    store({"w": np.ones(3, np.float32)}, tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_dequantizer_is_trained_next_to_its_score_and_found_there(workdir):
    assert modes.run("train_dequantizer", tiny(), workdir) is None
    assert [record["step"] for record in read_log(workdir / "dequantizer")] == [2, 4]
    assert checkpoint.steps(workdir) == [1]
    found = trained(workdir)
    assert found.step == 4
    examples = found.recipe.given.examples.examples[:3]
    u, log_q = found.model.dequantizer(jax.random.split(jax.random.key(0), 3), jnp.asarray(examples))
    assert u.shape == examples.shape and log_q.shape == (3,)
    assert np.all((u > 0) & (u < 1))
    with pytest.raises(ConfigError, match=r"dequantizer.components = 2"):
        train_beside(Dequantizer, tiny("dequantizer.components=3"), workdir)


@pytest.mark.slow
def test_a_training_resumed_half_way_is_the_uninterrupted_one_bit_for_bit(workdir):
    assert train_beside(Dequantizer, tiny(), workdir) == Finished(4, None)
    whole = trained(workdir).params
    (workdir / "dequantizer").rename(workdir / "whole")
    assert train_beside(Dequantizer, tiny("dequantizer.steps=2"), workdir) == Finished(2, None)
    assert not same_bits(trained(workdir).params, whole)
    train_beside(Dequantizer, tiny(), workdir)
    assert same_bits(trained(workdir).params, whole)


def dequantizer(examples, *overrides):
    """The recipe for data of one's own."""
    return make_recipe(own_config(tiny(*overrides), Dequantizer), examples)


def test_what_cannot_be_trained_is_named(workdir, tmp_path_factory):
    with pytest.raises(CheckpointError, match="no checkpoints"):
        train_beside(Dequantizer, tiny(), tmp_path_factory.mktemp("empty"))
    with pytest.raises(ConfigError, match="--mode=train_dequantizer"):
        trained(workdir)
    for examples, words in (
        (data.Dataset("vectors", np.zeros((2, 3), np.float32)), "only gray levels"),
        (data.Dataset("odd", np.zeros((2, 3, 3, 1), np.uint8), gray_levels=17), "even width"),
    ):
        with pytest.raises(ConfigError, match=words):
            dequantizer(examples).shapes()


@pytest.mark.slow
def test_training_closes_the_gap_between_uniform_noise_and_the_probability_of_the_levels():
    """A narrow Gaussian over four wide levels: its density changes twentyfold within one, its score is exact."""
    law, sde, levels = analytic.gaussian([0.1, -0.2], [[0.03, 0.02], [0.02, 0.03]]), sj.vp(t_min=1e-4), 4
    score = image_score(law, sde)
    draws = np.asarray(law.sample(jax.random.key(0), 4_000))
    examples = jnp.asarray(np.clip(np.floor((draws + 1) * 2), 0, 3), jnp.uint8).reshape(-1, 1, 2, 1)
    layers = ("features=8", "components=4", "blocks=1", "heads=2", "flows=2")
    recipe = dequantizer(
        data.Dataset("levels", np.asarray(examples), gray_levels=levels), *(f"dequantizer.{layer}" for layer in layers)
    )
    # the entropy of the levels, from their frequencies: no bits per dimension are lower
    counts = np.unique(np.asarray(examples).reshape(-1, 2), axis=0, return_counts=True)[1] / 4_000
    least = -np.sum(counts * np.log2(counts)) / 2

    def bits(key, params, batch, samples):
        draw = None if params is None else recipe.model(params).dequantizer
        return bound_bits(key, sde, score, batch, levels, dequantizer=draw, samples=samples, chunk=samples).value.mean()

    optimizer = optax.adam(1e-2)

    @jax.jit
    def train_for(key):
        params = recipe.init(key)

        def step(carry, i):
            params, state = carry
            own = jax.random.fold_in(key, i)
            batch = examples[jax.random.randint(own, (128,), 0, 4_000)]
            gradient = jax.grad(lambda p: bits(own, p, batch, 4))(params)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(300))[0][0]

    params = train_for(jax.random.key(1))
    measure = jax.jit(lambda params: bits(jax.random.key(2), params, examples, 16))
    uniform, learned = float(measure(None)), float(measure(params))
    assert least - 0.02 < learned < uniform
    assert learned - least < 0.3 * (uniform - least), (least, learned, uniform)
