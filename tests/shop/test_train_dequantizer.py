"""A dequantizer is trained over a run's folder, resumes there, and leaves the score alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from runs import ROOT, same_bits, stand_in

import scorejax as sj
from scorejax import data
from scorejax.experiment import assemble as build
from scorejax.experiment import config
from scorejax.experiment.recipes import dequantization, train_dequantizer
from scorejax.experiment.training.loop import Finished
from scorejax.likelihood import bound_bits
from scorejax.models import FlowDequantizer
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import CheckpointError, ConfigError
from scorejax.runtime.writers import read_log
from scorejax.scores import analytic

DIGITS = str(ROOT / "configs/vp_digits.py") + ":tiny"


def tiny(*overrides):
    return config.load(DIGITS, ["dequantizer.features=4", *overrides])


def weights(workdir):
    return dequantization.restore(workdir, build.dataset(tiny()))


def image_score(law, process):
    """The exact score of a law on flattened images."""
    of_vectors = law.score(process)
    return lambda x, t: of_vectors(x.reshape(x.shape[0], -1), t).reshape(x.shape)


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A run's folder with the checkpoint of a score, in whose place stands an exact one: it need not be compiled."""
    law, chosen = analytic.gaussian(np.full(64, -0.4), np.full(64, 0.3)), tiny()
    monkeypatch.setattr(build, "score", lambda config, process, module, params, **_: image_score(law, process))
    stand_in(chosen, tmp_path)
    return tmp_path


def test_a_dequantizer_is_trained_beside_its_score_and_found_there(workdir):
    assert train_dequantizer.train_dequantizer(tiny(), workdir) == Finished(4, None)
    assert [record["step"] for record in read_log(workdir / "dequantizer")] == [2, 4]
    assert checkpoint.steps(workdir) == [1]
    examples = build.dataset(tiny()).examples[:3]
    u, log_q = weights(workdir)(jax.random.split(jax.random.key(0), 3), jnp.asarray(examples))
    assert u.shape == examples.shape and log_q.shape == (3,)
    assert np.all((u > 0) & (u < 1))
    with pytest.raises(ConfigError, match=r"dequantizer.components = 2"):
        train_dequantizer.train_dequantizer(tiny("dequantizer.components=3"), workdir)


@pytest.mark.slow
def test_a_training_resumed_half_way_is_the_uninterrupted_one_bit_for_bit(workdir):
    train_dequantizer.train_dequantizer(tiny(), workdir)
    whole = jax.device_get(weights(workdir).args)
    (workdir / "dequantizer").rename(workdir / "whole")
    train_dequantizer.train_dequantizer(tiny("dequantizer.steps=2"), workdir)
    assert not same_bits(jax.device_get(weights(workdir).args), whole)
    train_dequantizer.train_dequantizer(tiny(), workdir)
    assert same_bits(jax.device_get(weights(workdir).args), whole)


def test_what_cannot_be_trained_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoints"):
        train_dequantizer.train_dequantizer(tiny(), tmp_path)
    with pytest.raises(ConfigError, match="--mode=train_dequantizer"):
        weights(tmp_path)
    for examples, words in (
        (data.Dataset("vectors", np.zeros((2, 3), np.float32)), "only grey levels"),
        (data.Dataset("odd", np.zeros((2, 3, 3, 1), np.uint8), gray_levels=17), "even width"),
    ):
        with pytest.raises(ConfigError, match=words):
            dequantization.network(tiny(), examples)


@pytest.mark.slow
def test_training_closes_the_gap_between_uniform_noise_and_the_probability_of_the_levels():
    """A narrow Gaussian over four wide levels: its density changes twentyfold within one, its score is exact."""
    law, sde, levels = analytic.gaussian([0.1, -0.2], [[0.03, 0.02], [0.02, 0.03]]), sj.vp(t_min=1e-4), 4
    score, module = image_score(law, sde), FlowDequantizer(8, components=4, blocks=1, heads=2, flows=2)
    draws = np.asarray(law.sample(jax.random.key(0), 4_000))
    examples = jnp.asarray(np.clip(np.floor((draws + 1) * 2), 0, 3), jnp.uint8).reshape(-1, 1, 2, 1)
    # the entropy of the levels, from their frequencies: no bits per dimension are lower
    counts = np.unique(np.asarray(examples).reshape(-1, 2), axis=0, return_counts=True)[1] / 4_000
    least = -np.sum(counts * np.log2(counts)) / 2

    def bits(key, params, batch, samples):
        draw = None if params is None else dequantization.bind(module, params, levels)
        return bound_bits(key, sde, score, batch, levels, dequantizer=draw, samples=samples, chunk=samples).value.mean()

    optimizer = optax.adam(1e-2)

    @jax.jit
    def train_for(key):
        params = dequantization.init_params(key, module, (1, 2, 1))

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
