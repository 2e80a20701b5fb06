"""What a recipe remembers between steps, what it logs, and its several optimizers: by recipes of a few numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import same_bits, stored, toy

from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.training.loop import Finished
from scorejax.experiment.training.train import train
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import CheckpointError
from scorejax.runtime.writers import read_log

# One process for everything that needs eight devices: starting one costs more than what it computes.
EIGHT = """
import json, sys, jax, numpy as np
sys.path.insert(0, sys.argv[2])
from runs import toy
from scorejax.experiment.training.train import train
from scorejax.runtime.errors import RunError

workdir, said = sys.argv[1], {"devices": jax.device_count()}
train(toy("Buffering"), f"{workdir}/whole")
train(toy("Buffering", "train.steps=4"), f"{workdir}/half")
train(toy("Buffering"), f"{workdir}/half")
train(toy("Remembering", "train.steps=4"), f"{workdir}/shared")
train(toy("Buffering", "train.steps=4"), f"{workdir}/own")
for name in ("Drifting", "of_one"):
    try:
        train(toy("Drifting" if name == "Drifting" else "Buffering"), f"{workdir}/{name}")
        said[name] = "nothing was said"
    except (RuntimeError, RunError) as error:
        said[name] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def remembering(tmp_path_factory):
    """An uninterrupted run with a carry that all devices share."""
    workdir = tmp_path_factory.mktemp("remembering")
    assert train(toy("Remembering"), workdir) == Finished(8, None)
    return workdir


@pytest.fixture(scope="module")
def eight(on_eight_devices, tmp_path_factory, request):
    """What eight devices said, and where they left their runs; in `of_one` they found a run of one device."""
    workdir = tmp_path_factory.mktemp("eight")
    train(toy("Buffering", "train.steps=4"), workdir / "of_one")
    printed = on_eight_devices(EIGHT, workdir, request.path.parent)
    return workdir, json.loads(printed.splitlines()[-1])


def fields(workdir, devices, recipe="Buffering"):
    """The newest state of a run of so many devices, each of which has a carry of its own."""
    made = make_recipe(toy(recipe))
    one = jax.eval_shape(made.carry, jax.random.key(0))
    carry = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((devices, *leaf.shape), leaf.dtype), one)
    checkpoints = checkpoint.Checkpoints(workdir)
    target = {"step": jax.ShapeDtypeStruct((), jnp.int32), "params": made.shapes(), "ema": made.shapes()}
    found = checkpoints.restore({**target, "carry": carry}, per_device=("carry",))
    checkpoints.close()
    return found.fields


def test_a_shared_carry_is_updated_at_every_step_and_saved(remembering):
    state = stored(toy("Remembering"), remembering)
    drawn = state.fields["carry"]["drawn"]
    losses = [record["loss"] for record in read_log(remembering)]  # the means over four steps
    expected = 16 * 4 * sum(losses) / (1 + 0.01 * drawn.mean())
    np.testing.assert_allclose(state.fields["carry"]["sum"], expected, rtol=1e-5)
    assert len(np.unique(drawn)) == 3  # drawn once, from the key of the run


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["Remembering", "Buffering"])
def test_a_run_with_a_carry_resumed_half_way_is_the_uninterrupted_one_bit_for_bit(recipe, remembering, tmp_path):
    whole = remembering
    if recipe == "Buffering":
        train(toy(recipe), whole := tmp_path / "whole")
    train(toy(recipe, "train.steps=4"), tmp_path / "half")
    read = (
        (lambda where: fields(where, 1)) if recipe == "Buffering" else (lambda where: stored(toy(recipe), where).fields)
    )
    half = read(tmp_path / "half")
    train(toy(recipe), tmp_path / "half")
    assert same_bits(read(tmp_path / "half"), read(whole))
    assert not same_bits(half["carry"], read(whole)["carry"])


@pytest.mark.slow
@pytest.mark.fake_devices
def test_a_carry_of_each_devices_own_is_saved_restored_and_resumed_bit_for_bit(eight):
    workdir, said = eight
    assert said["devices"] == 8
    whole, half = fields(workdir / "whole", 8), fields(workdir / "half", 8)
    assert whole["carry"]["buffer"].shape == (8, 4, 4) and whole["step"] == 8
    assert same_bits(whole, half)
    assert len({row.tobytes() for row in whole["carry"]["buffer"]}) == 8
    before = fields(workdir / "own", 8)["carry"]
    changed = (before["buffer"] != whole["carry"]["buffer"]).any(axis=(1, 2))
    assert changed.all()  # each device went on with its own


@pytest.mark.slow
@pytest.mark.fake_devices
def test_another_number_of_devices_is_refused_where_each_has_a_carry_of_its_own(eight):
    workdir, said = eight
    with pytest.raises(
        CheckpointError, match=r"saved by 8 devices, each with a carry of its own.* resume on 8 devices"
    ):
        train(toy("Buffering"), workdir / "own")
    assert said["of_one"].startswith("CheckpointError")
    assert "saved by 1 devices" in said["of_one"] and "cannot go on with 8" in said["of_one"]
    assert checkpoint.steps(workdir / "own") == checkpoint.steps(workdir / "of_one") == [4]


@pytest.mark.slow
@pytest.mark.fake_devices
def test_a_shared_carry_goes_on_with_another_number_of_devices(eight, remembering):
    workdir, _ = eight
    train(toy("Remembering"), workdir / "shared")
    changed, one = stored(toy("Remembering"), workdir / "shared"), stored(toy("Remembering"), remembering)
    assert changed.step == one.step == 8
    for a, b in zip(jax.tree.leaves(changed.fields), jax.tree.leaves(one.fields), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.fake_devices
def test_a_carry_that_should_be_shared_and_is_not_is_caught(eight):
    workdir, said = eight
    assert said["Drifting"].startswith("RuntimeError: devices hold different values of")
    assert "carry" in said["Drifting"]
    assert not checkpoint.steps(workdir / "Drifting")


def test_named_metrics_of_a_loss_are_logged_as_means_over_the_batch_and_the_steps(remembering):
    records = read_log(remembering)
    assert [record["step"] for record in records] == [4, 8]
    assert [record["step_before"] for record in records] == [1.5, 5.5]
    assert all(0 < record["furthest"] < 1.02 * np.sqrt(2 * record["loss"]) for record in records)


def test_several_optimizers_each_move_what_they_are_for(tmp_path):
    config = toy("Several:speed=0.25", "train.steps=1", "train.log_every=1", "train.checkpoint_every=1", "optim.clip=0")
    train(config, tmp_path)
    state = stored(config, tmp_path)
    point, slow = state.fields["params"]["fast"], state.fields["params"]["slow"]
    np.testing.assert_allclose(np.abs(point), 0.01, rtol=1e-3)  # Adam's first step is the learning rate
    mean = slow / 0.25  # one step of gradient descent on half the squared distance, from zero
    np.testing.assert_array_equal(np.sign(point), np.sign(mean))
    [record] = read_log(tmp_path)
    np.testing.assert_allclose(record["grad_norm"], np.sqrt(2) * np.linalg.norm(mean), rtol=1e-5)
    assert np.abs(mean).max() > 0.05
