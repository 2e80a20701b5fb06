"""What was fitted to a trained network for its reverse chains: the statistic of a calibration, and variance heads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from jax import Array

from scorejax import data as data_lib
from scorejax import samplers
from scorejax.experiment import assemble as build
from scorejax.experiment.model import Model, fingerprint
from scorejax.experiment.recipes import heads
from scorejax.reverse import ReverseChain
from scorejax.reverse.gamma import Gamma
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE


def with_fitted(model: Model, train: data_lib.Dataset, workdir: str | Path) -> Model:
    """The model, with whatever the sampler of its config needs to have been fitted.

    Raises:
      RunError: it was not, or belongs to other weights.
    """
    return model._replace(fitted=find(build.needed(model.config), model, train, workdir))


def find(needed: set[str], model: Model, train: data_lib.Dataset, workdir: str | Path) -> build.Fitted:
    """What `build.needs` names, of the run's folder; the statistic of the file `sampler.gamma`, if that is set.

    Raises:
      RunError: something was not fitted, or belongs to other weights.
    """
    statistic = None
    if "gamma" in needed:
        file = model.config.sampler.gamma
        statistic = read(file, model.process) if file else load(workdir, model.step, model.process)
    head = None
    for kind in needed - {"gamma"}:
        head = heads.load(workdir, kind, model.config, model.process, model.module, model.params, train)
    return build.Fitted(statistic, head)


def on_network(
    chain: ReverseChain, head: build.Head | None, model: Model, params: Any, class_labels: Array | None, score: Score
) -> ReverseChain:
    """The chain with its head on the network, which then runs once for score and variance, inside a compiled program.

    Args:
      chain: from `build.chain`.
      head: from `find`, an argument of the program; None if the network itself put out variances.
      model: the model.
      params: of the network, the same argument of the program that the score has.
      class_labels: `[B]`, for a conditional network.
      score: the network as a score.
    """
    if chain.variance_head is None:
        return chain
    if head is not None:
        return replace(chain, variance_head=head.on(model.process, score))
    own = build.learned_range(model.config, model.process, model.module, params, class_labels)
    return replace(chain, variance_head=own)


def of_stepper(
    stepper: samplers.Stepper, head: build.Head | None, model: Model, params: Any, class_labels: Array | None
) -> samplers.Stepper:
    """A stepper whose variance a network predicts, with its head on the network; others as they are.

    The head reads the network itself, not the score that guidance makes of it. Arguments as in `on_network`.
    """
    if not isinstance(stepper, samplers.ChainStepper):
        return stepper
    told = class_labels if model.config.model.conditional else None
    score = build.score(model.config, model.process, model.module, params, class_labels=told)
    return replace(stepper, table=on_network(stepper.table, head, model, params, told, score))


def trained(kind: str, workdir: str | Path) -> bool:
    """Whether a run has a head of a kind."""
    return bool(checkpoint.steps(heads.folder(workdir, kind)))


def gamma_path(workdir: str | Path, step: int) -> Path:
    """Where the statistic of a checkpoint lies."""
    return Path(workdir) / "eval" / f"gamma-step-{step}.npz"


def load(workdir: str | Path, step: int, sde: LinearSDE) -> Gamma:
    """Read the statistic of a checkpoint.

    Raises:
      ConfigError: there is none, or it belongs to another process.
    """
    path = gamma_path(workdir, step)
    if not path.is_file():
        raise ConfigError(f"{path} does not exist: run --mode=calibrate first")
    return read(path, sde)


def read(path: str | Path, sde: LinearSDE) -> Gamma:
    """Read a statistic.

    Raises:
      ConfigError: there is none, or it belongs to another process.
    """
    with user_errors(f"statistic {path}"):
        return Gamma.load(path, sde)


def about(fitted: build.Fitted) -> dict[str, str]:
    """What results depend on, of what was fitted; nothing where nothing was."""
    statistic = [] if fitted.gamma is None else [fitted.gamma.times, fitted.gamma.mean_square]
    return {"fitted": fingerprint((statistic, fitted.head))} if any(fitted) else {}
