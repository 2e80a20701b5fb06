"""scorejax: score-based generative modeling through stochastic differential equations, in JAX.

A forward process, a score and a sampler are three separate things, and any three fit together::

    sde = scorejax.vp(beta_min=0.1, beta_max=20.0)
    score = scorejax.analytic.mixture([0.5, 0.5], [[-2.0], [2.0]], [0.5, 0.5]).score(sde)
    draw = scorejax.sample(key, sde, score, (64, 1), stepper=scorejax.samplers.ancestral(),
                           times=scorejax.times.log_snr(sde, 50))
    value = scorejax.log_prob(key, sde, score, draw.x, divergence="exact").value
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING

from scorejax import degradations, guidance, likelihood, objectives, posterior, reverse, samplers, sdes
from scorejax.likelihood import Elbo, LogProb, bits_per_dim, elbo, log_prob
from scorejax.objectives import score_matching
from scorejax.reverse import gamma, variance
from scorejax.reverse import optimal_times as trajectories
from scorejax.samplers import Sample, decode, encode, interpolate, sample, trajectory
from scorejax.scores import analytic, estimators
from scorejax.scores.predictions import make_conditional_score, make_score, score_from_energy, tweedie
from scorejax.sdes import (
    SDE,
    LinearSDE,
    bases,
    blur,
    blurring,
    colored,
    cosine,
    ddpm,
    double_well,
    drifting,
    edm,
    flow,
    ihdm,
    learned,
    ncsnv2_levels,
    reflected,
    smld,
    still,
    subvp,
    times,
    ve,
    vp,
)

if TYPE_CHECKING:
    from pathlib import Path

    from scorejax.experiment.run import Run

__version__ = "0.1.0"


def load(workdir: "str | Path") -> "Run":
    """Return the trained run in a folder as an object: samples, log-likelihoods and scores in the units of its data.

    The folder alone is needed, not the training data; see `scorejax.experiment.run.Run`.

    Raises:
        RunError: no such folder, no run in it, or no checkpoint that can be read; the message says which.
    """
    run = importlib.import_module("scorejax.experiment.run")  # what needs more than JAX is imported on first use
    return run.load(workdir)


def _lazy(name: str, home: str) -> types.ModuleType:
    """The module `home` under the short name `scorejax.NAME`, imported when something of it is first used."""
    module = types.ModuleType(f"scorejax.{name}", f"Everything of `{home}`, under the name that users type.")
    setattr(module, "__getattr__", lambda name: getattr(importlib.import_module(home), name))  # noqa: B010
    return module


# What lies in a room and is used often has a short name, as an attribute and as a module. Those that need
# more than JAX are imported on first use: `import scorejax` stays light.
config = _lazy("config", "scorejax.experiment.config")
pretrained = _lazy("pretrained", "scorejax.models.pretrained")
calibration = _lazy("calibration", "scorejax.metrics.calibration")
sbi = _lazy("sbi", "scorejax.experiment.sbi")
worlds = _lazy("worlds", "scorejax.posterior.worlds")
for _module in (
    analytic,
    bases,
    calibration,
    config,
    estimators,
    gamma,
    ncsnv2_levels,
    pretrained,
    sbi,
    score_matching,
    times,
    trajectories,
    variance,
    worlds,
):
    _short = "trajectories" if _module is trajectories else _module.__name__.rpartition(".")[2]
    sys.modules[f"scorejax.{_short}"] = _module

__all__ = [
    "SDE",
    "Elbo",
    "LinearSDE",
    "LogProb",
    "Sample",
    "analytic",
    "bases",
    "bits_per_dim",
    "blur",
    "blurring",
    "calibration",
    "colored",
    "config",
    "cosine",
    "ddpm",
    "decode",
    "degradations",
    "double_well",
    "drifting",
    "edm",
    "elbo",
    "encode",
    "estimators",
    "flow",
    "gamma",
    "guidance",
    "ihdm",
    "interpolate",
    "learned",
    "likelihood",
    "load",
    "log_prob",
    "make_conditional_score",
    "make_score",
    "ncsnv2_levels",
    "objectives",
    "posterior",
    "pretrained",
    "reflected",
    "reverse",
    "sample",
    "samplers",
    "sbi",
    "score_from_energy",
    "score_matching",
    "sdes",
    "smld",
    "still",
    "subvp",
    "times",
    "trajectories",
    "trajectory",
    "tweedie",
    "variance",
    "ve",
    "vp",
    "worlds",
]
