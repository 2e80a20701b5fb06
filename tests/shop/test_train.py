"""Training goes on as if it had never stopped, compiles once, and keeps what is not finite off the disk."""

import functools
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import same_bits, small, stored, toy

from scorejax import data, objectives
from scorejax.experiment import assemble
from scorejax.experiment.assemble import score as scores
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.training import loop
from scorejax.experiment.training.loop import Finished
from scorejax.experiment.training.state import EXAMPLES, TIMES, average, repeat
from scorejax.experiment.training.train import feed, init_state, make_update, train
from scorejax.experiment.workdir import saved_config
from scorejax.runtime import checkpoint, parallel
from scorejax.runtime.errors import ConfigError, DivergedError
from scorejax.runtime.writers import read_log


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 8 steps that was never interrupted."""
    workdir = tmp_path_factory.mktemp("whole")
    assert train(small(), workdir) == Finished(8, None)
    return workdir


def parts_of(config):
    """What a training step is made of: the recipe, the feeder, the step, and the state before the first."""
    recipe = make_recipe(config)
    optimizer, feeder = recipe.optimizer(assemble.optimizer(config)), feed(config, recipe.given.examples)
    state = init_state(recipe, optimizer, jax.random.key(config.seed))
    return recipe, feeder, make_update(recipe, optimizer, feeder), parallel.replicate(state)


@pytest.mark.slow
def test_a_run_leaves_the_files_that_the_manual_names(whole):
    names = {path.name for path in whole.iterdir()}
    assert {"checkpoints", "config.json", "metrics.jsonl", "tensorboard"} <= names
    assert [record["step"] for record in read_log(whole)] == [4, 8]
    assert {"loss", "grad_norm", "lr"} <= read_log(whole)[0].keys()


@pytest.mark.slow
def test_a_run_resumed_half_way_is_the_uninterrupted_run_bit_for_bit(whole, tmp_path):
    assert train(small("train.steps=4"), tmp_path) == Finished(4, None)
    half = stored(small(), tmp_path)
    assert train(small("train.steps=8"), tmp_path) == Finished(8, None)
    resumed, full = stored(small(), tmp_path), stored(small(), whole)
    assert half.step == 4 and resumed.step == full.step == 8
    assert same_bits(resumed.fields, full.fields) and not same_bits(half.fields, full.fields)
    assert [record["step"] for record in read_log(tmp_path)] == [4, 8]


def test_a_second_start_of_a_finished_run_changes_nothing(whole):
    before = stored(small(), whole)
    assert train(small(), whole) == Finished(8, None)
    assert same_bits(stored(small(), whole).fields, before.fields)
    assert [record["step"] for record in read_log(whole)] == [4, 8]


def test_steps_that_are_taken_again_are_logged_once(whole, tmp_path):
    workdir = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints" / "8")  # killed after step 8 was logged, before it was saved
    train(small(), workdir)
    assert [record["step"] for record in read_log(workdir)] == [4, 8]
    assert same_bits(stored(small(), workdir).fields, stored(small(), whole).fields)


@pytest.mark.slow
def test_the_run_does_not_depend_on_how_data_reach_the_device(whole, tmp_path):
    train(small("data.resident_mib=0"), tmp_path)
    streamed, resident = stored(small(), tmp_path), stored(small(), whole)
    for a, b in zip(jax.tree.leaves(streamed.fields), jax.tree.leaves(resident.fields), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_steps_in_one_call_are_steps_in_many(whole, tmp_path):
    train(small("train.steps_per_call=1"), tmp_path)
    one, four = stored(small(), tmp_path), stored(small(), whole)
    for a, b in zip(jax.tree.leaves(one.fields), jax.tree.leaves(four.fields), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_the_step_compiles_once_and_reuses_the_memory_of_its_state():
    _, feeder, update, state = parts_of(small())
    chunk = parallel.train_map(repeat(update, 4))
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
    recipe, feeder, update, state = parts_of(config)
    new, _ = parallel.train_map(repeat(update, 1))(jax.tree.map(jnp.copy, state), feeder.payload(0, 1))

    keys = data.example_keys(jax.random.fold_in(state.key, EXAMPLES), 0, 16)
    t = objectives.draw_times(jax.random.fold_in(jax.random.fold_in(state.key, TIMES), 0), recipe.sde, 16, "stratified")
    x0 = recipe.given.space.to_model(None, feeder.draw(feeder.payload(0, 1), 0)[0])

    def loss(params):
        score = scores.score(recipe.sde, recipe.network, params, "noise")
        own = jax.vmap(functools.partial(jax.random.fold_in, data=1))(keys)
        given = {"t": t, "time_sampling": "stratified"}
        return jnp.mean(objectives.denoising(own, recipe.sde, lambda x, t: score(x, t, None), x0, **given))

    # Adam's first step is the learning rate times the sign of the gradient, wherever that is not tiny.
    gradient = jax.jit(jax.grad(loss))(state.params)
    for old, step, g, ema in zip(*map(jax.tree.leaves, (state.params, new.params, gradient, new.ema)), strict=True):
        clear = np.abs(g) > 1e-4
        np.testing.assert_allclose(np.asarray(step - old)[clear], -0.01 * np.sign(g)[clear], rtol=1e-3)
        np.testing.assert_allclose(ema, 0.9 * old + 0.1 * step, rtol=1e-5, atol=1e-6)


def test_the_average_warms_up_if_asked():
    ema, params = {"w": jnp.zeros(1)}, {"w": jnp.ones(1)}
    config = small("ema.decay=0.999", "ema.warmup=true")
    assert float(average(config, ema, params, jnp.int32(0))["w"][0]) == pytest.approx(0.9)
    assert float(average(config, ema, params, jnp.int32(10**6))["w"][0]) == pytest.approx(0.001, rel=1e-3)
    config = small("ema.decay=0.999", "ema.warmup=false")
    assert float(average(config, ema, params, jnp.int32(0))["w"][0]) == pytest.approx(0.001, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_the_run_at_its_step_and_never_reaches_the_disk(tmp_path):
    config = toy("Poisoned:at=6")
    with pytest.raises(DivergedError, match=r"step 6 \(call of steps 4..7\).*last good checkpoint is that of step 4"):
        train(config, tmp_path)
    kept = stored(config, tmp_path)
    assert kept.step == 4
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept.fields))


OVERSHOOTING = ("optim.lr=1e9", "train.checkpoint_every=1", "train.log_every=1")
# With steps too long by 1e9 the losses are 1, 1e18, 1e36 and infinite: the third step has ruined the point.


def test_a_checkpoint_is_good_when_the_next_loss_has_confirmed_it(tmp_path):
    config = toy("Overshooting", *OVERSHOOTING)
    with pytest.raises(DivergedError, match=r"at step 3 .*last good checkpoint is that of step 2; lower optim.lr"):
        train(config, tmp_path)
    assert checkpoint.steps(tmp_path) == [1, 2]


def test_a_divergence_in_the_last_step_is_not_the_result(tmp_path):
    with pytest.raises(DivergedError, match=r"at step 3 .*last good checkpoint is that of step 2"):
        train(toy("Overshooting", *OVERSHOOTING, "train.steps=3"), tmp_path)
    assert checkpoint.steps(tmp_path) == [1, 2]


def test_parameters_that_are_not_finite_are_not_saved(tmp_path):
    with pytest.raises(DivergedError, match=r"parameters are not finite after step 0; no checkpoint was saved yet"):
        train(toy("Leaping", "train.checkpoint_every=1", "train.log_every=1"), tmp_path)
    assert checkpoint.steps(tmp_path) == []


def test_a_state_that_a_signal_cut_off_is_not_good_if_its_loss_is_not_finite(tmp_path, monkeypatch):
    class Signaling(loop.Progress):
        def update(self, step, *given):
            super().update(step, *given)
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    config = toy("Overshooting", *OVERSHOOTING)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "Progress", Signaling)
        patch.setattr(loop.Bookkeeper, "confirm", None)
        assert train(config, tmp_path).interrupted == "SIGTERM"
    assert checkpoint.steps(tmp_path) == [1, 2, 3]
    with pytest.raises(DivergedError, match=r"last good checkpoint is that of step 2"):
        train(config, tmp_path)
    assert checkpoint.steps(tmp_path) == [1, 2]


def test_after_a_divergence_the_run_goes_on_in_its_folder_with_a_lower_rate(tmp_path, caplog):
    with pytest.raises(ConfigError, match=r"optim.lr: "):
        train(toy("Overshooting", "train.steps=4"), tmp_path)
        train(toy("Overshooting", "optim.lr=0.5"), tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(DivergedError):
        train(toy("Overshooting", *OVERSHOOTING), tmp_path)
    gentler = toy("Overshooting", *OVERSHOOTING, "optim.lr=0.5", "optim.warmup=3", "train.steps=5")
    with pytest.raises(ConfigError, match=r"train.batch: "):
        train(toy("Overshooting", *OVERSHOOTING, "optim.lr=0.5", "train.batch=8"), tmp_path)
    with caplog.at_level("INFO", logger="absl"):
        assert train(gentler, tmp_path) == Finished(5, None)
    assert "after the divergence, from step 2 on: optim.lr 1000000000.0 -> 0.5, optim.warmup 1 -> 3" in caplog.text
    assert saved_config(tmp_path).optim.lr == 0.5
    with pytest.raises(ConfigError, match=r"optim.lr: 0.5 there"):  # it holds until then alone
        train(toy("Overshooting", *OVERSHOOTING), tmp_path)


def test_a_workdir_of_another_config_is_refused_with_the_differing_keys(whole):
    with pytest.raises(ConfigError, match=r"optim.lr: 0.01 there, 0.1 now; model.depth|model.depth.*optim.lr"):
        train(small("optim.lr=0.1", "model.depth=2"), whole)


def test_a_run_whose_learning_rate_decays_keeps_its_length(tmp_path):
    """What each step computes depends on it; without decay a run may be lengthened."""
    train(toy("Point", "optim.decay=cosine"), tmp_path)
    with pytest.raises(ConfigError, match=r"train.steps: 8 there, 12 now"):
        train(toy("Point", "optim.decay=cosine", "train.steps=12"), tmp_path)


def test_what_changes_no_number_may_change(whole):
    changes = ("sampler.steps=3", "eval.batch=7", "train.log_every=2", "train.keep=2", "data.resident_mib=100")
    assert train(small(*changes), whole).step == 8


@pytest.mark.slow
def test_conditional_training_in_bfloat16_works(tmp_path):
    config = small("data=moons", "recipe.conditional=true", "model.dtype=bfloat16", "train.steps=4")
    assert train(config, tmp_path).step == 4
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(stored(config, tmp_path).fields["params"]))
