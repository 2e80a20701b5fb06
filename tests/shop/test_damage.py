"""A damaged file is named with what to do, or what it held is computed again; it is never used."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
from known import config_of
from runs import toy

from scorejax.experiment import workdir
from scorejax.experiment.config import to_dict
from scorejax.experiment.evaluation import evaluate, reference, variances
from scorejax.experiment.training.train import train
from scorejax.reverse.gamma import Gamma
from scorejax.runtime.errors import RunError, explained, os_errors
from scorejax.runtime.ledger import Ledger
from scorejax.runtime.writers import read_log

CONTENTS = {
    "cut off": b'{"done": 3, "check',
    "empty": b"",
    "binary": b"\xff\xfe\x00\x9c" * 9,
    "another kind": b"[]",
    "a number": b"-5",
    "deep": b"[" * 100_000,
    "without what is wanted": b"{}",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of 8 steps."""
    folder = tmp_path_factory.mktemp("trained")
    train(toy("Point"), folder)
    return folder


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_damaged_config_is_named_and_written_again_from_the_one_that_is_given(trained, tmp_path, content, caplog):
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(RunError, match=r"config.json is damaged: .+; give --config=NAME"):
        workdir.saved_config(folder)
    with caplog.at_level("WARNING", logger="absl"):
        assert train(toy("Point"), folder).step == 8
    assert "config.json is damaged" in caplog.text
    assert to_dict(workdir.saved_config(folder)) == to_dict(workdir.saved_config(trained))


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_damaged_record_of_the_score_is_named(trained, tmp_path, content):
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / "score.json").write_bytes(content)
    with pytest.raises(RunError, match=r"score.json is damaged: .+; delete it if"):
        workdir.check_beside(folder, {"w": np.zeros(1)})


def damaged_marks():
    yield from CONTENTS.items()
    for rows in (-5, 1.5, "3", 99):
        yield f"done {rows!r}", json.dumps({"done": rows, "checksums": {"y": 0}}).encode()


@pytest.mark.parametrize("content", dict(damaged_marks()).values(), ids=dict(damaged_marks()))
def test_rows_of_a_damaged_ledger_are_computed_again(tmp_path, content, caplog):
    folder = written(tmp_path)
    (folder / "done.json").write_bytes(content)
    assert computed_again(tmp_path, caplog)


def cut(path):
    os.truncate(path, path.stat().st_size - 5)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def lose(path):
    path.unlink()


def replace(path):
    path.write_bytes(b"no array")


@pytest.mark.parametrize("damage", [cut, flip, lose, replace])
def test_rows_whose_array_is_damaged_are_computed_again(tmp_path, damage, caplog):
    damage(written(tmp_path) / "y.npy")
    assert computed_again(tmp_path, caplog)


def written(folder):
    ledger = Ledger(folder, "x", 5, {})
    ledger.write(0, 3, {"y": np.arange(3.0), "z": np.ones((3, 2), np.uint8)})
    return ledger.folder


def computed_again(folder, caplog):
    with caplog.at_level("WARNING", logger="absl"):
        ledger = Ledger(folder, "x", 5, {})
    assert ledger.done == 0
    [line] = [record.message for record in caplog.records]
    assert "damaged" in line and line.endswith("its rows are computed again")
    rows = ledger.fill([(0, 5, {"y": np.arange(5.0), "z": np.zeros((5, 2), np.uint8)})])
    return rows["y"].tolist() == [0, 1, 2, 3, 4] and Ledger(folder, "x", 5, {}).done == 5


def test_rows_that_are_whole_are_used_again_without_a_word(tmp_path, caplog):
    written(tmp_path)
    assert Ledger(tmp_path, "x", 5, {}).done == 3 and not caplog.records


def test_a_ledger_that_was_opened_twice_keeps_the_rows_of_the_one_that_wrote_first(tmp_path):
    first, second = (Ledger(tmp_path, "x", 5, {}) for _ in range(2))
    first.write(0, 3, {"y": np.arange(3.0)})
    with pytest.raises(RunError, match=rf"process {os.getpid()} on .+ has written rows there since"):
        second.write(0, 1, {"y": np.zeros(1)})
    assert first.fill([(3, 5, {"y": np.arange(3.0, 5.0)})])["y"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_damaged_report_is_set_aside_and_written_again(tmp_path, content, caplog):
    path = tmp_path / "eval" / "step-7.json"
    path.parent.mkdir()
    path.write_bytes(content)
    config = config_of("Density", "eval.likelihood_examples=4", "eval.batch=4", "eval.samples=0")
    evaluate.evaluate(config, tmp_path)
    assert json.loads(path.read_text())["likelihood"]["examples"] == 4
    if content != b"{}":
        assert path.with_name("step-7.json.damaged").read_bytes() == content and "is damaged" in caplog.text


def test_damaged_lines_of_a_log_are_left_out_and_counted(trained, tmp_path, caplog):
    folder = shutil.copytree(trained, tmp_path / "run")
    log = folder / "metrics.jsonl"
    whole = read_log(folder)
    log.write_bytes(b'\xff\xfe\n7\n[]\n{}\n{"step": "x"}\n' + log.read_bytes() + b'{"step": 9, "lo')
    assert read_log(folder) == whole
    assert "5 of its" in caplog.text
    assert train(toy("Point"), folder).step == 8
    assert read_log(folder) == whole and len(log.read_bytes().splitlines()) == len(whole)


def whole_statistic(path):
    names = Gamma.__dataclass_fields__
    np.savez(path, **{name: np.ones(2) if name != "count" else 3 for name in names})


def cut_archive(path):
    os.truncate(path, path.stat().st_size // 2)


def wrong_checksum(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 140] ^= 1  # among the values of the first array
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def bare_array(path):
    with path.open("wb") as file:
        np.save(file, np.ones(3))


@pytest.mark.parametrize("damage", [cut_archive, wrong_checksum, empty, replace, bare_array])
@pytest.mark.parametrize("read", [lambda path: variances.read(path, None), lambda path: reference.load(path, None, 2)])
def test_a_damaged_archive_is_named(tmp_path, damage, read):
    path = tmp_path / "a.npz"
    whole_statistic(path)
    if "reference" in read.__code__.co_names:
        np.savez(path, mu=np.ones(2), sigma=np.eye(2))
    damage(path)
    with pytest.raises(RunError, match=r"a\.npz.*(damaged|cannot be read|holds mu)"):
        read(str(path))


@pytest.mark.parametrize("number", ["ENOSPC", "EROFS", "EACCES", "EDQUOT", "ENOTDIR", "ENOENT", "EISDIR", "EIO"])
def test_errors_of_the_system_say_where_what_and_what_to_do(number):
    error = OSError(getattr(errno, number), os.strerror(getattr(errno, number)))
    where, what, remedy = explained(error, "run/x.npy").replace(": ", "; ", 1).split("; ", 2)
    assert (where, what) == ("run/x.npy", error.strerror) and len(remedy) > 20
    assert "[Errno" not in explained(error)
    named = OSError(error.errno, error.strerror, "run/named")
    with pytest.raises(RunError, match=r"^run/named: "), os_errors("run"):
        raise named


def test_a_disk_without_room_for_all_rows_is_named_before_any_are_computed(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RunError, match=r"y\.npy: No space left on device; make room there"):
        written(tmp_path)
    monkeypatch.undo()
    assert Ledger(tmp_path, "x", 5, {}).done == 0
    written(tmp_path)
