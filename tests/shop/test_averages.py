"""Averages of weights of a length that is chosen after the training."""

import jax
import numpy as np
import pytest
from runs import same_bits, stored, toy

from scorejax.experiment import averages, modes
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.trained import restore
from scorejax.experiment.training.train import train
from scorejax.numerics import power_averages
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import CheckpointError, ConfigError

KEEPING = ("ema.lengths=0.05,0.10", "ema.snapshot_every=2", "optim.decay=none", "train.steps=16")


def keeping(*overrides):
    return toy("Point", *KEEPING, *overrides)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("averages")
    train(keeping(), workdir)
    return workdir


def test_snapshots_are_the_power_averages_of_the_weights(run):
    assert averages.steps(run) == [2, 4, 6, 8, 10, 12, 14, 16]
    found = stored(keeping(), run).fields["powers"]
    with np.load(run / "averages" / "16.npz") as file:
        for i in range(2):
            np.testing.assert_array_equal(file[f"{i}['at']"], found[i]["at"])


def test_the_average_is_that_of_the_path(tmp_path, run):
    """Weights of every step are kept by checkpoints, and averaged by the definition."""
    train(keeping("train.checkpoint_every=1", "train.log_every=1", "train.keep=20"), tmp_path)
    recipe = make_recipe(keeping())
    path = [restore_params(tmp_path, recipe, step) for step in range(1, 17)]
    for i, length in enumerate((0.05, 0.10)):
        average, g = np.zeros_like(path[0]), power_averages.exponent(length)
        for step, point in enumerate(path, 1):
            average += (1 - (1 - 1 / step) ** (g + 1)) * (point - average)
        np.testing.assert_allclose(stored(keeping(), run).fields["powers"][i]["at"], average, rtol=1e-4, atol=1e-6)


def restore_params(workdir, recipe, step):
    folder = workdir / "checkpoints" / str(step)
    return checkpoint._read(folder, {"params": recipe.shapes()})["params"]["at"].astype(np.float64)


def test_a_run_resumed_half_way_keeps_the_same_averages_and_forgets_later_snapshots(tmp_path, run):
    train(keeping("train.steps=8"), tmp_path)
    averages.save(tmp_path, 10, (0.05, 0.10), ({"at": np.float32(np.nan)},) * 2)  # as after a crash
    train(keeping(), tmp_path)
    assert same_bits(stored(keeping(), tmp_path).fields, stored(keeping(), run).fields)
    for step in averages.steps(run):
        with (
            np.load(run / "averages" / f"{step}.npz") as a,
            np.load(tmp_path / "averages" / f"{step}.npz") as b,
        ):
            assert all(np.array_equal(a[name], b[name]) for name in a.files)


def test_lengths_of_the_snapshots_come_back_and_others_lie_between(run):
    shapes = make_recipe(keeping()).shapes()
    own = stored(keeping(), run).fields["powers"]
    short, middle, long = (averages.read(run, shapes, length) for length in (0.05, 0.07, 0.10))
    assert {step for _, step in (short, middle, long)} == {16}
    for (found, _), known in zip((short, long), own, strict=True):
        np.testing.assert_allclose(found["at"], known["at"], rtol=1e-4, atol=1e-6)
    gap = np.abs(own[0]["at"] - own[1]["at"])
    assert np.all(np.abs(middle[0]["at"] - own[0]["at"]) < 1.1 * gap + 1e-6)
    assert not np.allclose(middle[0]["at"], own[0]["at"], atol=1e-3 * float(gap.max()))


def test_what_the_mode_makes_is_what_evaluations_take(tmp_path, run):
    chosen = keeping("eval.average=0.07")
    modes.run("ema", chosen, run)
    kept = run / "averages" / "length-0.07.npz"
    assert kept.is_file()
    made = restore(chosen, run)
    again, step = averages._combined(run, make_recipe(chosen).shapes(), 0.07)
    assert made.step == step == 16 and same_bits(made.params, again)
    assert not same_bits(made.params, restore(keeping(), run).params)
    # the kept file alone is enough
    (tmp_path / "averages").mkdir()
    (tmp_path / "averages" / kept.name).write_bytes(kept.read_bytes())
    assert same_bits(averages.read(tmp_path, make_recipe(chosen).shapes(), 0.07)[0], made.params)


def test_what_is_missing_is_said(tmp_path, run):
    shapes = make_recipe(keeping()).shapes()
    with pytest.raises(CheckpointError, match="no snapshots"):
        averages.read(tmp_path, shapes, 0.07)
    with pytest.raises(ConfigError, match=r"eval\.average=0\.1"):
        modes.run("ema", keeping(), run)
    with pytest.raises(ConfigError, match="this run keeps none"):
        modes.run("train", toy("Point", "eval.average=0.1"), tmp_path)
    with pytest.raises(ConfigError, match="go together"):
        train(toy("Point", "ema.lengths=0.05"), tmp_path)
    with pytest.raises(ConfigError, match="names a length twice"):
        train(toy("Point", "ema.lengths=0.05,0.05", "ema.snapshot_every=2"), tmp_path)
    with pytest.raises(CheckpointError, match="has shape"):
        averages.read(run, jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((9,), leaf.dtype), shapes), 0.05)
