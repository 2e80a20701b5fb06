"""The rehearsal of an evaluation: all of it, on a few examples, before anything takes long.

What the host does is done, into a folder that is thrown away: metrics, pictures, files. Compiled programs are traced,
which finds what does not fit at a small part of the time that compiling takes, and their results are made up.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scorejax.experiment import config as configs
from scorejax.experiment.config import Config, Help
from scorejax.experiment.evaluation import quality
from scorejax.experiment.evaluation.compute import Traced
from scorejax.experiment.evaluation.subject import Subject
from scorejax.runtime import progress
from scorejax.runtime.errors import ConfigError, in_one_line

FEW = 2  # examples; one alone would hide shapes that are broadcast
BASELINE = 2000  # training examples of the Gaussian baseline, more than there are dimensions to most vectors


def of_few(subject: Subject) -> Subject:
    """The same model, to be evaluated on a few examples by programs that are only traced."""
    return subject._replace(own_config=shortened(subject.config), compute=Traced())


def shortened(config: Config) -> Config:
    """The config with as few examples of everything as its metrics can be measured on."""
    own, c = configs.copy(config), config.eval
    least = max([FEW, *(quality.metric(text).least for text in c.metrics)])
    counts = ("batch", "likelihood_examples", "classifier_examples", "calibration_examples")
    own.eval.update(dict.fromkeys(counts, FEW))
    own.eval.update({"restored": min(c.restored, least)})
    own.eval.update({"mixture": min(c.mixture, 1), "samples": min(c.samples, least), "grid": min(c.grid, 2 * FEW)})
    own.eval.update(
        {"reference_examples": 2 * least, "baseline_examples": min(c.baseline_examples or BASELINE, BASELINE)}
    )
    own.sweep.bits = min(config.sweep.bits, FEW)
    return own


@contextlib.contextmanager
def rehearsing(what: str, remedy: str) -> Iterator[Path]:
    """Give a folder for the time being; what is done inside is no news, and an error is one line.

    Args:
        what: what is rehearsed, which begins the message.
        remedy: what to do about an error, which ends it.

    Raises:
        ConfigError: anything failed.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="scorejax-rehearsal-") as folder, progress.silent():
            yield Path(folder)
    except Help:
        raise
    except Exception as error:
        raise ConfigError(f"{what} would fail: {in_one_line(error)}; {remedy}") from error
