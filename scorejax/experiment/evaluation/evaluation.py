"""The seam of evaluation: one thing that can be measured of a trained model, by what the model can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from scorejax import data
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation.subject import Subject

Result: TypeAlias = dict[str, Any]
"""Numbers by name, ready for JSON."""


class Held(NamedTuple):
    """What a model is measured on.

    Attributes:
        subject: the model.
        train: its training data.
        test: the split `eval.split`.
        workdir: folder of the run, with what was fitted to the model.
    """

    subject: Subject
    train: data.Dataset
    test: data.Dataset
    workdir: Path

    @property
    def config(self) -> Config:
        """The settings to evaluate with."""
        return self.subject.config


Work: TypeAlias = Callable[[Path], Result]
"""Measures what it was prepared for; files go to the folder of a run."""


class Evaluation(NamedTuple):
    """One section of a report.

    Attributes:
        name: its key in the report.
        needs: capabilities; the model must have at least one of them.
        asked: whether a config asks for it.
        prepare: finds what is missing, before any work, and returns what does the work.
        lines: its numbers for a person.
        without: the setting that leaves it out, for messages.
        units: of its numbers, by their keys.
        check: refuses, before training, settings that could not be evaluated after it.
        reads: keys and sections of the config that its numbers depend on, apart from the model.
        show: draws its pictures into the folder of a run, once its numbers are written.
        fits: whether it says something of this model, beyond the capabilities.
    """

    name: str
    needs: tuple[str, ...]
    asked: Callable[[Config], bool]
    prepare: Callable[[Held], Work]
    lines: Callable[[Result], list[str]]
    without: str
    units: Mapping[str, str]
    check: Callable[[Config], None] = lambda config: None
    reads: tuple[str, ...] = ()
    show: Callable[[Held, Path], None] = lambda held, workdir: None
    fits: Callable[[Subject], bool] = lambda subject: True

    def applies(self, subject: Subject) -> bool:
        """Whether the config asks for it, and the model can do it."""
        return self.asked(subject.config) and subject.model.offers(*self.needs) and self.fits(subject)
