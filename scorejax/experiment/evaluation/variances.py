"""What was fitted to a trained network for its reverse chains: the statistic of a calibration, and variance heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jax import Array
from jax.tree_util import Partial

from scorejax import samplers
from scorejax.experiment import assemble
from scorejax.experiment.assemble import STATISTIC, Fitted
from scorejax.experiment.evaluation.subject import Subject, fingerprint
from scorejax.experiment.model import Model
from scorejax.experiment.trained import Trained, restore_beside
from scorejax.reverse import ReverseChain
from scorejax.reverse.gamma import Gamma
from scorejax.reverse.variance import UnboundHead, VarianceHead
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.sdes import LinearSDE

OWN = "learned"
"""The variance that the score's network puts out itself."""


def with_fitted(model: Subject, workdir: str | Path) -> Subject:
    """The model, with what the sampler of its config needs to have been fitted.

    Raises:
        RunError: it was not, or belongs to other weights.
    """
    if model.model.sample is not None or not model.model.offers("score"):
        return model
    return model._replace(fitted=find(assemble.needed(model.config, model.sde), model, workdir))


def find(needed: set[str], model: Subject, workdir: str | Path) -> Fitted:
    """Read what variances of these names need from the run's folder, or a statistic from the file `sampler.gamma`.

    Raises:
        RunError: something was not fitted, or belongs to other weights.
    """
    statistic, head = None, None
    if STATISTIC in needed:
        file = model.config.sampler.gamma
        sde = assemble.gaussian(model.sde, "the statistic of --mode=calibrate")
        statistic = read(file, sde) if file else load(workdir, model.step, sde)
    if OWN in needed and model.model.learned_range is None:
        raise ConfigError(
            "variance = 'learned' needs a network with model.learned_range=true, which objective = 'hybrid' or 'vlb' "
            "trains"
        )
    for kind in needed - {STATISTIC, OWN}:
        head = restored_beside(model, workdir, f"heads/{kind}").model.variance_head
    return Fitted(statistic, head)


def restored_beside(model: Subject, workdir: str | Path, folder: str) -> Trained:
    """What was trained next to a model, in a folder of its run.

    Raises:
        RunError: nothing was, or not next to these weights.
    """
    where = Path(workdir) / folder
    section = folder.partition("/")
    if not checkpoint.steps(where):
        name = {"heads": "head"}.get(section[0], section[0])
        kind = f" --config.{name}.kind={section[2]}" if section[2] else ""
        raise ConfigError(f"nothing was trained in {where}: train it first, with --mode=train_{name}{kind}")
    return restore_beside(where, model.trained.beside)


def of_stepper(
    stepper: samplers.Stepper, head: Partial | None, model: Model, condition: Array | None
) -> samplers.Stepper:
    """A stepper with what it takes of the network: the head that predicts its variance, or the energy.

    The head reads the network itself, not the score that guidance makes of it. Call it inside the compiled program.

    Args:
        stepper: from `assemble.sampler`.
        head: of `Fitted`; None if the network itself put out variances.
        model: with the weights that the program was given.
        condition: `[B, ...]`, for a conditional network.
    """
    return model.sampled_by(stepper.bind(_binder(head, model, condition)))


def on_network(chain: ReverseChain, head: Partial | None, model: Model, condition: Array | None) -> ReverseChain:
    """A reverse chain with its head on the network; arguments as of `of_stepper`."""
    return chain.bind(_binder(head, model, condition))


def _binder(head: Partial | None, model: Model, condition: Array | None) -> Callable[[UnboundHead], VarianceHead]:
    condition = condition if model.conditional else None

    def bind(unbound: UnboundHead) -> VarianceHead:
        if head is not None:
            return head(model.sde, model.score_given(condition))
        assert model.learned_range is not None  # `find` refuses it
        return model.learned_range(condition)

    return bind


def trained(kind: str, workdir: str | Path) -> bool:
    """Whether a run has a head of a kind."""
    return bool(checkpoint.steps(Path(workdir) / "heads" / kind))


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
        return Gamma.load(Path(path).expanduser(), sde)


def about(fitted: Fitted) -> dict[str, str]:
    """The part of the fitted things that results depend on, for their digest; empty if nothing was fitted."""
    statistic = [] if fitted.gamma is None else [fitted.gamma.times, fitted.gamma.mean_square]
    return {"fitted": fingerprint((statistic, fitted.head))} if any(part is not None for part in fitted) else {}
