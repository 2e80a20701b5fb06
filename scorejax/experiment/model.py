"""A model to be evaluated, and what all its evaluations share: randomness, resuming, progress."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from absl import logging
from jax import Array

import scorejax
from scorejax.experiment.assemble import Fitted
from scorejax.experiment.config import Config, chosen
from scorejax.experiment.steering import Classes
from scorejax.runtime.progress import Progress
from scorejax.sdes import LinearSDE

BITS, SAMPLES, TRAJECTORY, CALIBRATION, CLASSIFICATION, ELBO, CONTROLLED = range(7)  # streams of the evaluation's key
Batches = Iterator[tuple[int, int, dict[str, np.ndarray]]]


class Model(NamedTuple):
    """A model to be evaluated: everything but the data it is held against.

    Attributes:
      config: the run's.
      process: its forward process.
      module: its network.
      params: the weights.
      step: of the checkpoint they come from.
      fitted: what its sampler needs beside them, see `evaluation.variances`.
      classes: towards which its samples are steered.
    """

    config: Config
    process: LinearSDE
    module: nn.Module
    params: Any
    step: int
    fitted: Fitted = Fitted()
    classes: Classes = Classes()


def carried(model: Model, stream: int) -> tuple[Any, Array]:
    """What every batch of an evaluation gets: the parameters, and the key that examples fold their numbers into."""
    return model.params, jax.random.fold_in(jax.random.key(model.config.eval.seed), stream)


def settings(model: Model) -> dict[str, Any]:
    """What every result depends on, to recognise a cut-off evaluation; neither batch nor device count do."""
    sections = {section: chosen(model.config, section) for section in ("data", "sde", "model")}
    return {"scorejax": scorejax.__version__, "step": model.step, "weights": fingerprint(model.params), **sections}


def fingerprint(params: Any) -> str:
    """Sixteen hexadecimal digits that differ when any weight does."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        total.update(np.asarray(leaf).tobytes())
    return total.hexdigest()[:16]


def report_progress(batches: Batches, what: str, start: int, total: int) -> Batches:
    """Pass batches on, saying how far `what` is."""
    bar = Progress(total, start=start)
    for first, end, results in batches:
        yield first, end, results
        bar.update(end)
    logging.info("%s: %d done", what, total)
