import io
import json
import logging as standard
import time
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

from scorejax.runtime.progress import Progress, patience, silent
from scorejax.runtime.writers import Writer, read_log


def test_every_record_is_one_json_line_written_at_once(tmp_path):
    writer = Writer(tmp_path, tensorboard=False)
    writer.scalars(5, {"loss": jnp.float32(0.5), "count": np.int64(3)})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 5, "loss": 0.5, "count": 3}\n'
    writer.close()


def test_a_resumed_log_equals_an_uninterrupted_one(tmp_path):
    def run(writer, first, last):
        with writer:
            for step in range(first, last):
                writer.scalars(step, {"loss": 1.0 / step})

    run(Writer(tmp_path / "whole", resume_step=0, tensorboard=False), 1, 10)
    run(Writer(tmp_path / "cut", resume_step=0, tensorboard=False), 1, 8)
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # killed while writing
    run(Writer(tmp_path / "cut", resume_step=4, tensorboard=False), 5, 10)
    assert (tmp_path / "cut" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


def test_without_a_resume_step_nothing_is_dropped(tmp_path):
    for _ in range(2):
        with Writer(tmp_path, tensorboard=False) as writer:
            writer.scalars(3, {"fid": 1.0})
    assert [r["step"] for r in read_log(tmp_path)] == [3, 3]


def test_numbers_that_are_not_finite_stay_valid_json(tmp_path):
    with Writer(tmp_path, tensorboard=False) as writer:
        writer.scalars(1, {"a": np.nan, "b": -np.inf})

    def refuse(constant):
        raise AssertionError(constant)

    record = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert np.isnan(float(record["a"]))
    assert float(record["b"]) == -np.inf


def test_tensorboard_reads_the_events(tmp_path):
    with Writer(tmp_path) as writer:
        writer.scalars(2, {"loss": 0.25})
        writer.image(2, "samples", np.zeros((4, 4, 3), np.uint8))
    assert (tmp_path / "samples" / "samples-00000002.png").exists()
    from tensorboardX.proto.event_pb2 import Event

    raw = next((tmp_path / "tensorboard").glob("events*")).read_bytes()
    values, at = {}, 0
    while at < len(raw):  # a record: length (8 bytes), its checksum (4), payload, its checksum (4)
        length = int.from_bytes(raw[at : at + 8], "little")
        event = Event.FromString(raw[at + 12 : at + 12 + length])
        values |= {(event.step, v.tag): v for v in event.summary.value}
        at += length + 16
    assert values[2, "loss"].simple_value == 0.25
    assert (values[2, "samples"].image.height, values[2, "samples"].image.width) == (4, 4)


def test_other_processes_write_nothing(tmp_path):
    with Writer(tmp_path / "run", active=False) as writer:
        writer.scalars(1, {"loss": 1.0})
        writer.image(1, "samples", np.zeros((4, 4, 3), np.uint8))
    assert not (tmp_path / "run").exists()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def clocked(*seconds):
    return iter(seconds).__next__


def test_compilation_is_kept_out_of_the_speed():
    progress = Progress(100, examples_per_step=8, stream=Terminal(), now=clocked(0.0, 60.0, 61.0, 63.0))
    progress.update(10)
    assert progress.first_seconds == 60.0
    assert progress.steps_per_second == 0.0
    progress.update(20)
    progress.update(40)
    assert progress.steps_per_second == 10.0
    assert "40/100  10 steps/s  80 images/s  6s left" in progress.line()


def test_speeds_have_the_unit_of_what_is_counted():
    progress = Progress(
        900, what="step", examples_per_step=1234, examples="vectors", stream=Terminal(), now=clocked(0.0, 1.0, 2.0)
    )
    progress.update(1)
    assert "compiled, and the first 1 done, in 1s" in progress.line()
    progress.update(2)
    assert progress.line().startswith("step ") and "1 steps/s  1,234 vectors/s" in progress.line()


def test_what_takes_long_says_that_it_still_goes_on(monkeypatch):
    said = []
    monkeypatch.setattr("absl.logging.info", lambda text, *values: said.append(text % values))
    with patience("compiling", every=0.01):
        for _ in range(500):
            if not said:
                time.sleep(0.01)
    assert said[0].startswith("compiling: still at work, ")


def test_what_is_silent_shows_no_progress_and_no_warning_but_errors(recwarn, caplog):
    stream = Terminal()
    with pytest.raises(ValueError, match="shown"), silent():
        Progress(2, stream=stream).update(1)
        logging.warning("not shown")
        warnings.warn("not shown", stacklevel=1)
        raise ValueError("shown")
    assert not stream.getvalue() and not caplog.records and not recwarn
    Progress(2, stream=stream).update(1)
    logging.warning("shown")
    assert stream.getvalue() and [record.message for record in caplog.records] == ["shown"]


def test_a_resumed_run_counts_only_its_own_steps():
    progress = Progress(1000, start=500, stream=Terminal(), now=clocked(0.0, 5.0, 7.0))
    progress.update(510)
    progress.update(530)
    assert progress.steps_per_second == 10.0


def test_a_terminal_gets_one_line_that_is_rewritten():
    stream = Terminal()
    progress = Progress(2, stream=stream, now=clocked(0.0, 1.0, 2.0))
    progress.update(1, {"loss": 0.5})
    progress.update(2, {"loss": 0.25})
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().count("\r") == 2
    assert "loss 0.25" in stream.getvalue()


def test_a_file_gets_plain_lines_at_intervals(caplog):
    stream = io.StringIO()
    progress = Progress(5, interval=10.0, stream=stream, now=clocked(0.0, 1.0, 5.0, 12.0, 13.0, 14.0))
    with caplog.at_level(standard.INFO, logger="absl"):
        for step in range(1, 6):
            progress.update(step)
    assert stream.getvalue() == ""
    assert [r.getMessage().split()[1] for r in caplog.records] == ["1/5", "3/5", "5/5"]


@pytest.mark.parametrize(("seconds", "text"), [(42, "42s"), (185, "3m05s"), (7620, "2h07m")])
def test_durations_are_readable(seconds, text):
    from scorejax.runtime.progress import clock

    assert clock(seconds) == text
