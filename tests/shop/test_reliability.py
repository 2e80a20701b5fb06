"""A run that is killed, again and again and in the middle of saving, ends as if it had never been disturbed."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from runs import ROOT, SMALL, same_bits, small, stored

from scorejax.experiment.training.train import train
from scorejax.runtime.writers import read_log

pytestmark = pytest.mark.slow

STEPS = 2400
RUN = (f"train.steps={STEPS}", "train.checkpoint_every=40", "train.log_every=40", "model.features=64", "train.keep=3")


POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def start(workdir):
    overrides = [f"--config.{text}" for text in (*SMALL, *RUN)]  # later ones win
    command = [sys.executable, "main.py", "--config=configs/vp_gaussian.py", f"--workdir={workdir}", *overrides]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process, seconds=120):
    """Poll until the condition holds; True if it did while the process was alive."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return True
        time.sleep(0.0005)
    return False


def newest(workdir):
    folder = workdir / "checkpoints"
    return max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=0)


def saving(workdir):
    return any((workdir / "checkpoints").glob("*orbax-checkpoint-tmp*"))


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    """The workdir of a run that was stopped in every way, and what it said each time."""
    workdir = tmp_path_factory.mktemp("disturbed") / "run"
    history = []

    def disturb(how, when):
        process = start(workdir)
        reached = wait_for(when, process)
        process.send_signal(how)
        out, err = process.communicate(timeout=120)
        history.append((how, reached, process.returncode, out, err))

    disturb(signal.SIGKILL, lambda: workdir.exists())  # before there is anything
    disturb(signal.SIGKILL, lambda: saving(workdir))  # the first save
    for _ in range(2):
        seen = newest(workdir)
        disturb(signal.SIGKILL, lambda seen=seen: newest(workdir) > seen + 100 and saving(workdir))
    for how in POLITE:
        seen = newest(workdir)
        disturb(how, lambda seen=seen: newest(workdir) > seen + 100)
    process = start(workdir)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return workdir, history


def test_it_was_killed_while_it_was_running_and_saving(disturbed):
    _, history = disturbed
    assert all(reached for _, reached, *_ in history)
    assert [code for how, _, code, *_ in history if how == signal.SIGKILL] == [-signal.SIGKILL] * 4


@pytest.mark.parametrize("how", POLITE)
def test_a_polite_signal_saves_and_leaves_with_the_command_that_goes_on(disturbed, how):
    _, history = disturbed
    [(_, _, code, out, err)] = [entry for entry in history if entry[0] == how]
    assert code == 128 + how, err[-2000:]
    assert f"stopped by {how.name}; to go on: python main.py --workdir={disturbed[0]}\n" in out
    assert "Traceback" not in err


def test_the_final_state_is_that_of_the_undisturbed_run_bit_for_bit(disturbed, tmp_path):
    workdir, _ = disturbed
    train(small(*RUN), tmp_path)
    a, b = stored(small(*RUN), workdir), stored(small(*RUN), tmp_path)
    assert a.step == b.step == STEPS
    assert same_bits(a.fields, b.fields)


def test_no_step_is_logged_twice_and_none_is_missing(disturbed):
    workdir, _ = disturbed
    assert [record["step"] for record in read_log(workdir)] == list(range(40, STEPS + 1, 40))


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own, where this may mount one."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(where)], capture_output=True, check=False
    )
    if os.geteuid() != 0 or mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=False)


def test_a_run_on_a_full_disk_stops_in_one_line(disk):
    process = start(disk / "run")
    assert wait_for(lambda: newest(disk / "run") > 0, process)
    with contextlib.suppress(OSError), (disk / "of somebody else").open("wb", buffering=0) as file:
        while file.write(bytes(2**16)):
            pass
    _, err = process.communicate(timeout=200)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert process.returncode == 1, err[-3000:]
    assert len(errors) == 1 and "No space left on device" in errors[0], err[-3000:]
    whole = stored(small(*RUN), disk / "run")
    assert str(whole.step) in errors[0].partition("intact: ")[2].split(", ")


def test_samples_that_do_not_fit_on_the_disk_are_refused_before_they_are_drawn(disk):
    train(small(), disk / "run")
    command = [sys.executable, "main.py", f"--workdir={disk / 'run'}", "--mode=sample", "--config.eval.samples=1000000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1, done.stderr[-3000:]
    assert done.stderr.splitlines()[-1].endswith(
        ".npy: No space left on device; make room there or choose another --workdir, then give the same command again"
    )
