"""What is evaluated, and what all evaluations share: randomness, resuming, and how programs are run."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import jax
import numpy as np
from jax import Array

import scorejax
from scorejax import data
from scorejax.experiment.assemble import Fitted
from scorejax.experiment.config import Config, chosen
from scorejax.experiment.evaluation.compute import COMPILED, Compiled
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Params
from scorejax.experiment.steering import Classes
from scorejax.experiment.trained import Trained
from scorejax.sdes import SDE
from scorejax.sdes.corruption import Corruption

# Streams of the evaluation's key.
BITS, SAMPLES, TRAJECTORY, CALIBRATION, CLASSIFICATION, ELBO, CONTROLLED, CHAINS, EVIDENCE, PARTITION = range(10)
RESTORED, DENOISING = 10, 11


class Subject(NamedTuple):
    """A trained model, with what its samples need next to it.

    Attributes:
        trained: the model.
        fitted: what was fitted to it for its sampler.
        classes: those toward which its samples are steered.
        own_config: settings to draw with, if they are not those of the run.
        compute: how the programs that evaluate it are run.
    """

    trained: Trained
    fitted: Fitted = Fitted()
    classes: Classes = Classes()
    own_config: Config | None = None
    compute: Compiled = COMPILED

    @property
    def config(self) -> Config:
        """The settings to evaluate with."""
        return self.own_config or self.trained.config

    @property
    def model(self) -> Model:
        """The capabilities of the model."""
        return self.trained.model

    @property
    def form(self) -> data.Form:
        """The form of its data."""
        return self.trained.form

    @property
    def space(self) -> data.Space:
        """Model space, where it sees the data."""
        return self.trained.space

    @property
    def sde(self) -> SDE:
        """Its forward process."""
        return self.trained.sde

    @property
    def process(self) -> Corruption:
        """What its samples are drawn along."""
        return self.trained.process

    @property
    def step(self) -> int:
        """The step of its checkpoint."""
        return self.trained.step

    def sent(self, split: data.Dataset, rows: np.ndarray) -> np.ndarray:
        """Examples of a split as they are sent to the device."""
        return self.space.encode(np.asarray(split.examples[rows]), f"{split.name}, {len(rows):,} examples")

    def at(self, params: Params) -> Model:
        """The model with the weights that a compiled program was given."""
        return self.trained.recipe.model(params)


def carried(subject: Subject, stream: int) -> tuple[Params, Array]:
    """What every batch of an evaluation gets: the parameters, and the key that examples fold their numbers into."""
    return subject.trained.params, jax.random.fold_in(jax.random.key(subject.config.eval.seed), stream)


def settings(subject: Subject) -> dict[str, object]:
    """What every result depends on, to recognize a cut-off evaluation; neither batch nor device count do."""
    sections = {
        section: chosen(subject.config, section)
        for section in ("recipe", "data", "model", *(s for s in ("sde",) if s in subject.trained.recipe.uses))
    }
    weights = fingerprint(subject.trained.params)
    return {"scorejax": scorejax.__version__, "step": subject.step, "weights": weights, **sections}


def fingerprint(params: Params) -> str:
    """Sixteen hexadecimal digits that differ when any weight does."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        total.update(np.asarray(leaf).tobytes())
    return total.hexdigest()[:16]
