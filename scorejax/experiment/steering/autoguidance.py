"""Steering away from a worse model of the same data: of another run, of an earlier step, or another average."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial

from scorejax import guidance
from scorejax.experiment import trained as trained_lib
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.assemble import gaussian
from scorejax.experiment.model import Model
from scorejax.experiment.steering.classes import Classes
from scorejax.experiment.steering.guidance import About, Guidance, checked_interval, conditions
from scorejax.numerics.ranges import Finite, Limitless, Natural, RelativeLength
from scorejax.numerics.trees import register_dataclass, static
from scorejax.runtime.errors import ConfigError
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE, float64
from scorejax.sdes.corruption import Corruption, check_kind


@register_dataclass
@dataclass(frozen=True)
class Away(Classes):
    """Class conditions, and a worse model that is led away from.

    Attributes:
        bad: `(x, t, condition) -> score` of the worse model.
        strength: how far; 1 is the model as it is.
        between: of the log SNR, where it acts; None: everywhere.
    """

    bad: Callable[..., Array] | None = field(default=None)
    strength: float = static(default=2.0)
    between: tuple[float, float] | None = static(default=None)

    def score(self, model: Model, sde: Corruption, labels: Array | None) -> Score:
        assert self.bad is not None  # `Autoguidance` gives one
        scale = self.strength
        if self.between is not None:
            scale = guidance.interval(scale, check_kind(sde, LinearSDE, "an interval of the log SNR"), *self.between)
        bad = Partial(_given, self.bad, labels if model.conditional else None)
        return guidance.autoguidance(super().score(model, sde, labels), bad, scale)


@dataclass(frozen=True, kw_only=True)
class Autoguidance(Guidance):
    """Away from a worse model of the same data: smaller, or less trained (Karras et al. 2024).

    Attributes:
        workdir: folder of the run of the worse model; it may be that of the model itself, with `step` or `average`.
        scale: how far; 1 is the model as it is.
        step: of which checkpoint of that run; None: the newest.
        average: length of the average of its weights, made of its snapshots, as eval.average; None: its own average.
        interval: (low, high) of the log SNR between which that acts; None: everywhere.
    """

    workdir: str | None = None
    scale: Finite = 2.0
    step: Natural | None = None
    average: RelativeLength | None = None
    interval: tuple[Limitless, Limitless] | None = None

    def classes(self, about: About) -> Away:
        between = checked_interval(self.interval)
        return Away(conditions(about), bad=self._bad(about), strength=self.scale, between=between)

    def _bad(self, about: About) -> Callable[..., Array]:
        """The score of the worse model, with its weights.

        Raises:
            ConfigError: no run is named, or one whose model is not of the same data and process.
            CheckpointError: there are no such weights, or none that can be read.
        """
        if self.workdir is None:
            raise ConfigError(
                "guidance = 'autoguidance' needs guidance.workdir, the folder of the run of a worse model: a smaller "
                "network, fewer steps, or this run itself with guidance.step or guidance.average"
            )
        if self.step is not None and self.average is not None:
            raise ConfigError("guidance.step and guidance.average both say which weights; set one of them")
        config = workdir_lib.saved_config(self.workdir)
        if config.data.name == about.config.data.name:  # where prepared sets lie may have changed since
            config.data.update({key: value for key, value in about.config.data.own().items() if key == "data_dir"})
        config.eval.average = self.average
        trained = trained_lib.restore(config, self.workdir, self.step)
        self._check(trained, about)
        bound = trained.recipe.model(jax.tree.map(jax.numpy.asarray, trained.params))
        assert bound.score is not None  # refused above
        return bound.score

    def _check(self, trained: trained_lib.Trained, about: About) -> None:
        """Refuse a model of other data, other conditions or another process."""
        said, model, form = f"the model in {self.workdir}", trained.model, trained.form
        if model.score is None or model.sde is None:
            raise ConfigError(f"{said} has no score of noisy data; give the folder of a run of recipe 'score'")
        if (form.shape, form.gray_levels) != (about.form.shape, about.form.gray_levels) or trained.space != about.space:
            raise ConfigError(
                f"{said} was trained on examples of shape {form.shape}, brought to model space as {trained.space}; "
                f"this one on {about.form.shape}, as {about.space}: train one of them again on the other's data"
            )
        if (model.conditional, model.num_classes) != (about.model.conditional, about.model.num_classes):
            raise ConfigError(
                f"{said} has recipe.conditional = {model.conditional} with {model.num_classes} classes, this one "
                f"{about.model.conditional} with {about.model.num_classes}; both are to take the same condition"
            )
        own, sde = (gaussian(process, "autoguidance") for process in (model.sde, about.sde))
        times = np.linspace(sde.t_min, sde.t_max, 33)
        here, there = (float64.evaluate(_schedule, process, times) for process in (sde, own))
        same = (
            a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(here, there, strict=True)
        )
        if not all(same):
            raise ConfigError(
                f"{said} was trained for {type(own).__name__} of another schedule than this model's "
                f"{type(sde).__name__}; train one with the other's section sde"
            )


def _schedule(sde: LinearSDE, t: Array) -> tuple[Array, Array]:
    return sde.alpha(t), sde.sigma(t)


def _given(score: Callable[..., Array], condition: Array | None, x: Array, t: Array) -> Array:
    return score(x, t, condition)
