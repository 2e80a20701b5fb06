"""A run's trained variance heads: built from their settings, bound to its score, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from scorejax import data, models
from scorejax.experiment import assemble as build
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.reverse import variance
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE


class Kind(NamedTuple):
    """What a head predicts.

    Attributes:
      variance: what makes a variance of it.
      target: what it is fitted to, see `objectives.variance_head`.
    """

    variance: type[variance.VarianceHead]
    target: str


KINDS = {
    "npr": Kind(variance.NoiseResidual, "noise_residual"),
    "sn": Kind(variance.SquaredNoise, "squared_noise"),
    "ocm": Kind(variance.ScoreCurvature, "score_curvature"),
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trained:
    """A head as its folder holds it, without the network it belongs to; an argument of compiled programs.

    Attributes:
      params: of the head.
      module: the head.
      kind: of what it predicts, a key of `KINDS`.
    """

    params: Any
    module: models.ImageHead | models.VectorHead = field(metadata={"static": True})
    kind: str = field(metadata={"static": True})

    def on(self, process: LinearSDE, score: Score) -> variance.VarianceHead:
        """The head on the frozen score that it was trained for.

        Where this score is evaluated at the same points, in one compiled program, the network runs once for both:
        make the score there, from one copy of the parameters, and give it to this and to whatever else needs it.
        """
        return KINDS[self.kind].variance(models.head_on(process, score, self.module, self.params))


def folder(workdir: str | Path, kind: str) -> Path:
    """Where a run's head of a kind is.

    Raises:
      ConfigError: no such kind.
    """
    build.pick("head.kind", kind, KINDS)
    return Path(workdir) / "heads" / kind


def network(config: Config, module: nn.Module, examples: data.Dataset) -> models.ImageHead | models.VectorHead:
    """The head of the section `head`, for a run's network.

    Raises:
      ConfigError: a setting that this head does not have.
    """
    images = len(examples.shape) == 3
    factory = models.ImageHead if images else models.VectorHead
    with user_errors("section head"):
        given = build.options(config, "head", factory, build.unset("head"))
        if not images:
            return models.VectorHead(**given)
        return models.ImageHead(examples.shape[-1], layer=models.last_norm(module), **given)


def load(
    workdir: str | Path,
    kind: str,
    config: Config,
    process: LinearSDE,
    module: nn.Module,
    params: Any,
    examples: data.Dataset,
) -> Trained:
    """Read the head of a kind that was trained in a run's folder, its averaged weights.

    Args:
      workdir: of the run.
      kind: a key of `KINDS`.
      config: of the run.
      process: its forward process.
      module: its network.
      params: the network's weights, which must be those that the head was trained for.
      examples: its data, of which only the shape matters.

    Raises:
      ConfigError: there is no such kind, or no head of it, or it belongs to other weights.
      CheckpointError: it cannot be read.
    """
    where = folder(workdir, kind)
    if not checkpoint.steps(where):
        raise ConfigError(
            f"no variance head in {where}: train it first, with --mode=train_head --config.head.kind={kind}"
        )
    workdir_lib.check_score(where, params)
    head = network(workdir_lib.saved_config(where), module, examples)
    score = build.score(config, process, module, params, class_labels=models.no_condition(module))
    init = partial(models.init_head, sde=process, score=score, head=head, shape=examples.shape)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return Trained(checkpoint.restore_ema(where, shapes).fields["ema"], head, kind)
