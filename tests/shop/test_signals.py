"""A signal ends a run in any mode under its own name, with the exit code that a shell expects and what goes on."""

import os
import signal

import pytest
from runs import ROOT, stored, toy

from scorejax.__main__ import main
from scorejax.experiment import modes
from scorejax.experiment.training import loop
from scorejax.experiment.training.train import train
from scorejax.runtime.interruption import SIGNALS, Interruption, Stopped, exit_code, name_signals

CONFIG = f"--config={ROOT / 'configs/vp_gaussian.py'}"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
    """Handlers of the test process are put back, and its log is left alone."""
    monkeypatch.setattr("scorejax.runtime.errors.show_log", lambda: None)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("mode", modes.MODES)
def test_a_signal_is_named_in_every_mode(mode, number, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(modes.MODES, mode, lambda *_: send(number))
    assert main([CONFIG, f"--mode={mode}", f"--workdir={tmp_path}"]) == CODES[number] == exit_code(number.name)
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"kept in {tmp_path}: no checkpoint yet, and every result that was finished",
        f"stopped by {number.name}; to go on: scorejax {CONFIG} --mode={mode} --workdir={tmp_path}",
    ]
    assert not said.err


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_training_saves_at_a_signal_and_names_it(number, tmp_path, monkeypatch):
    class Signaling(loop.Progress):
        def update(self, *given):
            super().update(*given)
            send(number)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "Progress", Signaling)
        found = train(toy("Point", "train.steps=400"), tmp_path)
    assert found.interrupted == number.name and 0 < found.step < 400
    assert stored(toy("Point"), tmp_path).step == found.step


def test_a_second_signal_ends_training_at_once_and_what_was_kept_is_said(tmp_path, monkeypatch, capsys):
    def insist(config, workdir):
        with Interruption():
            send(signal.SIGINT)
            send(signal.SIGINT)

    train(toy("Point"), tmp_path)
    monkeypatch.setitem(modes.MODES, "train", insist)
    assert main([f"--workdir={tmp_path}"]) == 130
    said = capsys.readouterr().out
    assert f"kept in {tmp_path}: the checkpoint of step 8, and" in said and "stopped by SIGINT; to go on" in said


def test_a_hangup_is_ignored_under_nohup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    name_signals()
    send(signal.SIGHUP)
    with Interruption() as interruption:
        send(signal.SIGHUP)
        assert interruption.requested is None
    with pytest.raises(Stopped, match="SIGTERM"):
        send(signal.SIGTERM)
