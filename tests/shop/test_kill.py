"""A killed run of any kind of training goes on by the same command, and ends bit for bit as one that was not killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = 900
RUN = (f"train.steps={STEPS}", "train.checkpoint_every=50", "train.log_every=50", "eval.after_training=false")
# Reads the newest state of each folder and prints a checksum of every byte of it.
CHECKSUMS = """
import hashlib, sys
import jax, numpy as np
from scorejax.experiment import assemble, workdir
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.training.train import restore_or_init
from scorejax.runtime import checkpoint

for folder in sys.argv[1:]:
    recipe = make_recipe(workdir.saved_config(folder))
    checkpoints = checkpoint.Checkpoints(folder)
    state, step = restore_or_init(checkpoints, recipe, recipe.optimizer(assemble.optimizer(recipe.config)))
    checkpoints.close()
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(state._replace(key=jax.random.key_data(state.key))):
        total.update(np.asarray(leaf).tobytes())
    carry = [np.asarray(leaf) for leaf in jax.tree.leaves(state.carry)]
    print(step, total.hexdigest(), *(f"{leaf.shape[0]}:{float(np.ptp(leaf, axis=0).max()) > 0}" for leaf in carry))
"""


def environment(devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "NPROC": "8", "PYTHONPATH": str(ROOT)}


def start(name, workdir, devices):
    overrides = [f"--config.{text}" for text in RUN]
    command = [sys.executable, "main.py", f"--config={name}:tiny", f"--workdir={workdir}", *overrides]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(devices), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def newest(workdir):
    return max((int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()), default=0)


def finish(process):
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "devices"), [("flow", 1), ("energy", 2), ("adversarial", 1)])
def test_a_killed_run_ends_as_one_that_was_not(name, devices, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(name, killed, devices)
    end = time.monotonic() + 200
    while newest(killed) < 100 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert 100 <= newest(killed) < STEPS
    assert "resuming from the checkpoint of step" in finish(start(name, killed, devices))
    finish(start(name, whole, devices))
    command = [sys.executable, "-c", CHECKSUMS, str(killed), str(whole)]
    done = subprocess.run(command, env=environment(devices), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one, other = done.stdout.splitlines()
    assert one == other
    step, _, *carry = one.split()
    assert int(step) == STEPS
    if name == "energy":
        assert carry == ["2:True"]  # a buffer for each device, and the two differ
