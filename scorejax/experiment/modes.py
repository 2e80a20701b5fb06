"""What each `--mode` of the command line does with a config and its workdir."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import jax

from scorejax.experiment import averages, by_data, checks, recipes, record, rehearsal, steering
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config, flatten, to_dict
from scorejax.experiment.evaluation import calibrate as calibration
from scorejax.experiment.evaluation import controlled, evaluate
from scorejax.experiment.evaluation import sweep as sweeps
from scorejax.experiment.recipe import Recipe, make_recipe
from scorejax.experiment.training.beside import train_beside
from scorejax.experiment.training.train import train as run_training
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import RunError

Mode: TypeAlias = Callable[[Config, str | Path], str | None]
"""`(config, workdir) -> the name of the signal that ended it early, or None`."""


def run(mode: str, config: Config, workdir: str | Path) -> str | None:
    """Do what `mode` says; return the name of the signal that ended it early, or None.

    Raises:
        RunError: what is wrong with the config, the workdir or the data, in one line.
    """
    config = by_data.settled(config, workdir)
    # A folder that is not there has no other writer: training makes it, and locks it then.
    with workdir_lib.writing(workdir) if Path(workdir).is_dir() else contextlib.nullcontext():
        if mode != "train":
            checks.check_sections(config)
            workdir_lib.check(workdir, config)
        return MODES[mode](config, workdir)


def train(config: Config, workdir: str | Path) -> str | None:
    """Train, then evaluate; goes on where an earlier run stopped."""
    checks.check(config, jax.device_count())
    workdir_lib.check(workdir, config)
    averages.check(config)
    if config.train.steps > max(checkpoint.steps(workdir), default=0):
        rehearsal.rehearse(config, workdir)
    preview = functools.partial(_preview, config, workdir)
    validate = evaluate.validation(config, workdir) if config.train.validate_every else None
    stopped = run_training(config, workdir, preview=preview, validate=validate).interrupted
    if config.eval.after_training and not stopped:
        with workdir_lib.writing(workdir):
            evaluate.evaluate(config, workdir)
    return stopped


def eval_(config: Config, workdir: str | Path) -> None:
    """Bits/dim, quality of samples, pictures: all that the newest checkpoint can be measured by."""
    evaluate.evaluate(config, workdir, rehearsed=False)


def sample(config: Config, workdir: str | Path) -> None:
    """Samples and their picture; with guidance of given images, what becomes of these."""
    if steering.of_images(config):
        controlled.control(config, workdir)
    else:
        evaluate.sample(config, workdir, rehearsed=False)


def sweep(config: Config, workdir: str | Path) -> None:
    """Quality against network evaluations for the samplers `sweep.samplers`."""
    sweeps.sweep(config, workdir, rehearsed=False)


def calibrate(config: Config, workdir: str | Path) -> None:
    """The statistic that Analytic-DPM and optimal time grids need."""
    calibration.calibrate(config, workdir)


def ema(config: Config, workdir: str | Path) -> None:
    """The average of weights of length `eval.average`, made of the snapshots of a run, for eval and sample."""
    averages.write(config, workdir, make_recipe(config, record=record.of_run(workdir, config)).shapes())


def fid_stats(config: Config, workdir: str | Path) -> None:
    """Mean and covariance of the features of real examples, for `eval.stats`."""
    evaluate.statistics(config, workdir)


def _preview(config: Config, workdir: str | Path, params: object, step: int) -> None:
    evaluate.preview(config, params, step, workdir)


def _beside(kind: type[Recipe]) -> Mode:
    """Train something next to the trained model."""

    def mode(config: Config, workdir: str | Path) -> str | None:
        return train_beside(kind, config, workdir).interrupted

    mode.__doc__ = (kind.__doc__ or "").partition("\n")[0]
    return mode


MODES: dict[str, Mode] = {
    each.__name__.rstrip("_"): each for each in (train, eval_, sample, sweep, calibrate, ema, fid_stats)
} | {f"train_{kind.section}": _beside(kind) for kind in recipes.BESIDE.values()}
"""By name; what is trained next to a model has a mode of its own."""


def resumes(config: Config | None, workdir: str | Path) -> bool:
    """Whether the folder alone says how its run goes on, because the config is written there."""
    if config is None:
        return False
    try:
        there = workdir_lib.saved_config(workdir)
    except RunError:
        return False
    return flatten(to_dict(there)) == flatten(to_dict(config))


def describe() -> str:
    """The modes with what they do, for `--help`."""
    return "\n".join(f"  {name:<20}{(mode.__doc__ or '').partition(chr(10))[0]}" for name, mode in MODES.items())
