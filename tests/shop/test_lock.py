"""A folder has one process that writes in it; a second one is refused in one line, at once, and touches nothing."""

import os
import subprocess
import sys

import pytest
from runs import ROOT, toy

from scorejax.__main__ import main
from scorejax.experiment import modes
from scorejax.experiment.training.train import train
from scorejax.runtime import lock
from scorejax.runtime.errors import RunError

HOLDER = """
import sys
from scorejax.runtime import lock

with lock.held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of 8 steps."""
    folder = tmp_path_factory.mktemp("run")
    train(toy("Point"), folder)
    return folder


@pytest.fixture(scope="module")
def holder(run):
    """Another process, which holds the lock of that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Neither signal handlers nor logging of the test process are changed."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("scorejax.runtime.errors.show_log", lambda: None)


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", modes.MODES)
def test_no_mode_writes_where_another_process_does(run, holder, mode, capsys, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests/shop")
    monkeypatch.setattr("scorejax.data.load", None)  # it is refused before the data are read
    before = content(run)
    assert main([f"--workdir={run}", f"--mode={mode}"]) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and errors.startswith(f"error: {run.resolve()} is in use: process {holder.pid} on ")
    assert "has been writing there since 20" in errors and f"kill {holder.pid}" in errors
    assert content(run) == before


def test_a_training_that_makes_its_folder_is_not_joined_by_another(run, holder):
    with pytest.raises(lock.LockedError, match=f"process {holder.pid}"):
        train(toy("Point"), run)


def test_a_lock_ends_with_its_process_and_its_file_says_nothing(run, holder):
    holder.kill()
    holder.wait()
    with lock.held(run), lock.held(run):  # within a process they are nested
        assert (run / lock.FILE).is_file()
    with lock.held(run):
        pass


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    import errno

    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with caplog.at_level("WARNING", logger="absl"), lock.held(tmp_path):
        assert "no locks" in caplog.text


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match=r"cannot write in .*file/run: Not a directory; "),
        lock.held(tmp_path / "file/run"),
    ):
        pass
