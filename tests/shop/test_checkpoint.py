"""What was saved is what is read, bit for bit; damage is noticed, and an older checkpoint serves."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scorejax.runtime import checkpoint, parallel
from scorejax.runtime.errors import CheckpointError


class State(NamedTuple):
    step: Any
    params: Any
    ema: Any
    opt_state: Any
    key: Any


def make_state(key, width=5):
    params = {"dense": {"kernel": jax.random.normal(key, (3, width)), "half": jnp.ones(4, jnp.bfloat16)}}
    return State(jnp.int32(7), params, jax.tree.map(lambda p: p + 1, params), optax.adam(1e-3).init(params), key)


@pytest.fixture(scope="module")
def state():
    return parallel.replicate(make_state(jax.random.key(3)))


@pytest.fixture(scope="module")
def target():
    return jax.eval_shape(make_state, jax.random.key(0))._asdict()


@pytest.fixture(scope="module")
def saved_once(state, tmp_path_factory):
    """A workdir with checkpoints of steps 10, 20 and 30."""
    workdir = tmp_path_factory.mktemp("saved")
    checkpoints = checkpoint.Checkpoints(workdir)
    for step in (10, 20, 30):
        checkpoints.save(step, state._replace(step=jnp.int32(step)))
    checkpoints.wait()
    checkpoints.close()
    return workdir


@pytest.fixture
def saved(saved_once, tmp_path):
    return shutil.copytree(saved_once, tmp_path / "run")


def same_bits(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in pairs)


def test_what_is_read_is_what_was_saved_bit_for_bit(saved, state, target):
    restored = checkpoint.Checkpoints(saved).restore(target)
    assert restored.step == 30
    expected = parallel.to_host(state._replace(step=jnp.int32(30))._asdict())
    assert same_bits(restored.fields, expected)
    assert jax.tree.structure(restored.fields["opt_state"]) == jax.tree.structure(target["opt_state"])


def test_the_average_is_read_alone(saved, state, target):
    restored = checkpoint.restore_ema(saved, target["ema"])
    assert restored.step == 30
    assert list(restored.fields) == ["ema"]
    assert same_bits(restored.fields["ema"], parallel.to_host(state.ema))
    assert checkpoint.restore_ema(saved, target["ema"], step=10).step == 10


def test_only_the_newest_and_every_kth_are_kept(tmp_path, state):
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2, keep_every=20)
    for step in range(10, 61, 10):
        checkpoints.save(step, state)
    checkpoints.wait()
    checkpoints.close()
    assert checkpoint.steps(tmp_path) == [20, 40, 50, 60]


def test_nothing_there_is_no_checkpoint(tmp_path, target):
    assert checkpoint.Checkpoints(tmp_path).restore(target) is None
    with pytest.raises(CheckpointError, match="train first"):
        checkpoint.restore_ema(tmp_path, target["ema"])


def test_a_step_that_is_not_there_names_those_that_are(saved, target):
    with pytest.raises(CheckpointError, match="choose one of 10, 20, 30"):
        checkpoint.restore_ema(saved, target["ema"], step=11)


def array_files(saved, step):
    return [path for path in (saved / "checkpoints" / str(step) / "state").rglob("d/*") if path.is_file()]


def truncate(saved, step):
    for path in array_files(saved, step):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(saved, step):
    for path in array_files(saved, step):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


def lose_the_record(saved, step):
    shutil.rmtree(saved / "checkpoints" / str(step) / "record")


def lose_the_arrays(saved, step):
    shutil.rmtree(saved / "checkpoints" / str(step) / "state")


def forge_the_checksum(saved, step):
    path = saved / "checkpoints" / str(step) / "record" / "metadata"
    path.write_text(path.read_text().replace('"checksums": {', '"checksums": {"x": 0, ').replace('"ema": ', '"ema": 1'))


def take_the_place_of_another_step(saved, step):
    shutil.rmtree(saved / "checkpoints" / str(step))
    shutil.copytree(saved / "checkpoints" / "10", saved / "checkpoints" / str(step))


DAMAGES = (
    *(truncate, flip_a_bit, lose_the_record, lose_the_arrays, forge_the_checksum, take_the_place_of_another_step),
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(saved, state, target, damage, caplog):
    damage(saved, 30)
    with caplog.at_level("WARNING", logger="absl"):
        assert checkpoint.restore_ema(saved, target["ema"]).step == 20
    assert "falling back to 20" in caplog.text
    checkpoints = checkpoint.Checkpoints(saved)
    assert checkpoints.restore(target).step == 20
    checkpoints.save(30, state)  # what was lost can be written again
    checkpoints.wait()
    assert checkpoints.restore(target).step == 30


def test_folders_that_are_no_steps_are_passed_over(saved, target):
    for name in ("²", "٣", "3a", "-4", "40.orbax-checkpoint-tmp"):
        (saved / "checkpoints" / name).mkdir()
    assert checkpoint.steps(saved) == [10, 20, 30]
    assert checkpoint.restore_ema(saved, target["ema"]).step == 30
    assert checkpoint.Checkpoints(saved).restore(target).step == 30


HANGING = """
import shutil, sys
from runs import Averaged
import numpy as np
from scorejax.runtime import checkpoint

checkpoints = checkpoint.Checkpoints(sys.argv[1])
shutil.rmtree(sys.argv[1])
open(sys.argv[1], "w").close()
try:
    checkpoints.save(1, Averaged(np.ones(3)))
    checkpoints.wait()
except checkpoint.CheckpointError as error:
    print(error)
checkpoints.close()
"""


@pytest.mark.slow
def test_a_program_whose_folder_is_gone_ends_at_once(tmp_path):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests/shop'}"}
    command = [sys.executable, "-c", HANGING, str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    why = ("Not a directory", "No such file or directory")  # whichever step of the writing notices it first
    assert "could not be written" in done.stdout and any(words in done.stdout for words in why)


def test_when_none_can_be_read_training_does_not_start_afresh(saved, target):
    for step in (10, 20, 30):
        lose_the_arrays(saved, step)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
        checkpoint.Checkpoints(saved).restore(target)
    assert checkpoint.steps(saved) == [10, 20, 30]


def test_a_checkpoint_of_another_network_is_not_mistaken_for_a_damaged_one(saved):
    other = jax.eval_shape(lambda key: make_state(key, width=6), jax.random.key(0))._asdict()
    with pytest.raises(CheckpointError, match=r"kernel.*\(3, 5\).*\(3, 6\)"):
        checkpoint.Checkpoints(saved).restore(other)
    assert checkpoint.steps(saved) == [10, 20, 30]


def test_a_newer_layout_is_refused(saved, target):
    for step in (10, 20, 30):
        path = saved / "checkpoints" / str(step) / "record" / "metadata"
        path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(CheckpointError, match="update scorejax"):
        checkpoint.Checkpoints(saved).restore(target)


def test_a_full_disk_is_named_and_leaves_earlier_checkpoints_intact(saved, state, target, monkeypatch):
    import orbax.checkpoint as ocp

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints = checkpoint.Checkpoints(saved)
    with monkeypatch.context() as patch:
        patch.setattr(ocp.type_handlers.NumpyHandler, "serialize", full)
        with pytest.raises(CheckpointError, match=r"No space left on device; earlier .* intact: 10, 20, 30"):
            checkpoints.save(40, state)
            checkpoints.wait()
    checkpoints.close()
    assert checkpoint.steps(saved) == [10, 20, 30]
    restored = checkpoint.Checkpoints(saved).restore(target)
    assert restored.step == 30


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write checkpoints to"):
        checkpoint.Checkpoints(tmp_path / "file")


def test_a_checksum_sees_values_shapes_and_types():
    a = {"x": np.arange(6, dtype=np.float32)}
    others = [{"x": a["x"].reshape(2, 3)}, {"x": a["x"].view(np.int32)}, {"x": a["x"][::-1]}]
    assert len({checkpoint.checksum(tree) for tree in [a, *others]}) == 4
    assert checkpoint.checksum({"x": jnp.arange(6.0)}) == checkpoint.checksum(a)
