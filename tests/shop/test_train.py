"""Training goes on as if it had never stopped, compiles once, and keeps what is not finite off the disk."""

import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import same_bits, small, stored

from scorejax import data, objectives
from scorejax.experiment import assemble as build
from scorejax.experiment.training import loop, train
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError, DivergedError
from scorejax.runtime.writers import read_log


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 8 steps that was never interrupted."""
    workdir = tmp_path_factory.mktemp("whole")
    assert train.train(small(), workdir) == train.Finished(8, None)
    return workdir


def parts_of(config):
    """What a training step is made of."""
    sde, examples = build.sde(config), build.dataset(config)
    network, optimizer = build.network(config, examples), build.optimizer(config)
    feeder = data.feed(examples, config.train.batch, config.seed, sharding=parallel.replicated())
    state = train.init_state(network, optimizer, examples.shape, jax.random.key(config.seed))
    return sde, network, optimizer, feeder, parallel.replicate(state)


def test_a_run_leaves_the_files_that_the_manual_names(whole):
    names = {path.name for path in whole.iterdir()}
    assert {"checkpoints", "config.json", "metrics.jsonl", "tensorboard"} <= names
    assert [record["step"] for record in read_log(whole)] == [4, 8]
    assert {"loss", "grad_norm", "lr"} <= read_log(whole)[0].keys()


def test_a_run_resumed_half_way_is_the_uninterrupted_run_bit_for_bit(whole, tmp_path):
    train.train(small("train.steps=4", "optim.decay=none"), tmp_path / "plain")
    train.train(small("train.steps=8", "optim.decay=none"), tmp_path / "plain")
    train.train(small("optim.decay=none"), tmp_path / "whole")
    half, full = (stored(small(), tmp_path / name) for name in ("plain", "whole"))
    assert half.step == full.step == 8
    assert same_bits(half.fields, full.fields)
    assert [record["step"] for record in read_log(tmp_path / "plain")] == [4, 8]


def test_a_second_start_of_a_finished_run_changes_nothing(whole):
    before = stored(small(), whole)
    assert train.train(small(), whole) == train.Finished(8, None)
    assert same_bits(stored(small(), whole).fields, before.fields)
    assert [record["step"] for record in read_log(whole)] == [4, 8]


def test_steps_that_are_taken_again_are_logged_once(whole, tmp_path):
    workdir = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints" / "8")  # killed after step 8 was logged, before it was saved
    train.train(small(), workdir)
    assert [record["step"] for record in read_log(workdir)] == [4, 8]
    assert same_bits(stored(small(), workdir).fields, stored(small(), whole).fields)


@pytest.mark.slow
def test_the_run_does_not_depend_on_how_data_reach_the_device(whole, tmp_path):
    train.train(small("data.resident_mib=0"), tmp_path)
    streamed, resident = stored(small(), tmp_path), stored(small(), whole)
    for a, b in zip(jax.tree.leaves(streamed.fields), jax.tree.leaves(resident.fields), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_steps_in_one_call_are_steps_in_many(whole, tmp_path):
    train.train(small("train.steps_per_call=1"), tmp_path)
    one, four = stored(small(), tmp_path), stored(small(), whole)
    for a, b in zip(jax.tree.leaves(one.fields), jax.tree.leaves(four.fields), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_the_step_compiles_once_and_reuses_the_memory_of_its_state():
    config = small()
    sde, network, optimizer, feeder, state = parts_of(config)
    update = train.make_update(config, sde, network, optimizer, feeder)
    chunk = parallel.train_map(loop.repeat(update, 4))
    compilations = []
    listener = lambda event, _, **__: compilations.append(event) if "backend_compile" in event else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        for call in range(5):
            before = state
            state, metrics = chunk(state, feeder.payload(4 * call, 4))
            assert metrics["loss"].shape == (4,)
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
            if call == 0:
                assert len(compilations) == 1
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert len(compilations) == 1
    assert int(state.step) == 20


@pytest.mark.slow
def test_a_step_is_the_gradient_step_written_out_by_hand():
    config = small("optim.warmup=1", "optim.decay=none", "ema.warmup=false", "ema.decay=0.9", "optim.clip=0")
    sde, network, optimizer, feeder, state = parts_of(config)
    update = train.make_update(config, sde, network, optimizer, feeder)
    new, _ = parallel.train_map(loop.repeat(update, 1))(jax.tree.map(jnp.copy, state), feeder.payload(0, 1))

    keys = data.example_keys(jax.random.fold_in(state.key, train.EXAMPLES), 0, 16)
    t = objectives.draw_times(jax.random.fold_in(jax.random.fold_in(state.key, train.TIMES), 0), sde, 16, "stratified")
    x0, _ = feeder.draw(feeder.payload(0, 1), 0)

    def loss(params):
        score = build.score(config, sde, network, params)
        own = jax.vmap(functools.partial(jax.random.fold_in, data=1))(keys)
        return jnp.mean(objectives.denoising(own, sde, score, x0, t=t, time_sampling="stratified"))

    # Adam's first step is the learning rate times the sign of the gradient, wherever that is not tiny.
    gradient = jax.grad(loss)(state.params)
    for old, step, g, average in zip(*map(jax.tree.leaves, (state.params, new.params, gradient, new.ema)), strict=True):
        clear = np.abs(g) > 1e-4
        np.testing.assert_allclose(np.asarray(step - old)[clear], -0.01 * np.sign(g)[clear], rtol=1e-3)
        np.testing.assert_allclose(average, 0.9 * old + 0.1 * step, rtol=1e-5, atol=1e-6)


def test_the_average_warms_up_if_asked():
    ema, params = {"w": jnp.zeros(1)}, {"w": jnp.ones(1)}
    config = small("ema.decay=0.999", "ema.warmup=true")
    assert float(loop.average(config, ema, params, jnp.int32(0))["w"][0]) == pytest.approx(0.9)
    assert float(loop.average(config, ema, params, jnp.int32(10**6))["w"][0]) == pytest.approx(0.001, rel=1e-3)
    config = small("ema.decay=0.999", "ema.warmup=false")
    assert float(loop.average(config, ema, params, jnp.int32(0))["w"][0]) == pytest.approx(0.001, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_the_run_at_its_step_and_never_reaches_the_disk(tmp_path, monkeypatch):
    original = train.make_update

    def poisoned(*arguments):
        update = original(*arguments)

        def step(state, payload):
            nan = jnp.where(state.step >= 6, jnp.nan, 0.0)
            state, metrics = update(state, payload)
            return state._replace(params=jax.tree.map(lambda p: p + nan, state.params)), {
                name: value + nan for name, value in metrics.items()
            }

        return step

    monkeypatch.setattr(train, "make_update", poisoned)
    with pytest.raises(DivergedError, match=r"step 6 \(call of steps 4..7\).*last good checkpoint is that of step 4"):
        train.train(small(), tmp_path)
    kept = stored(small(), tmp_path)
    assert kept.step == 4
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept.fields))


def test_a_workdir_of_another_config_is_refused_with_the_differing_keys(whole):
    with pytest.raises(ConfigError, match=r"optim.lr: 0.01 there, 0.1 now; model.depth|model.depth.*optim.lr"):
        train.train(small("optim.lr=0.1", "model.depth=2"), whole)
    with pytest.raises(ConfigError, match=r"train.steps: 8 there, 12 now"):  # the decay depends on it
        train.train(small("train.steps=12"), whole)


def test_what_changes_no_number_may_change(whole):
    changes = ("sampler.steps=3", "eval.batch=7", "train.log_every=2", "train.keep=2", "data.data_dir=/elsewhere")
    assert train.train(small(*changes), whole).step == 8


@pytest.mark.slow
def test_conditional_training_in_bfloat16_works(tmp_path):
    config = small("data.name=moons", "model.conditional=true", "model.dtype=bfloat16", "train.steps=4")
    assert train.train(config, tmp_path).step == 4
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(stored(config, tmp_path).fields["params"]))
