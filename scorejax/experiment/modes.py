"""What each `--mode` of the command line does with a config and its workdir."""

from __future__ import annotations

from pathlib import Path

from scorejax.experiment import assemble as build
from scorejax.experiment import steering as guide
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import calibrate, controlled, evaluate, sweep
from scorejax.experiment.recipes import train_dequantizer, train_head
from scorejax.experiment.training import train
from scorejax.runtime.errors import ConfigError

_READERS = {
    "eval": evaluate.evaluate,
    "sample": evaluate.sample,
    "sweep": sweep.sweep,
    "calibrate": calibrate.calibrate,
    "fid_stats": evaluate.statistics,
}
_COMPANIONS = {
    "train_dequantizer": train_dequantizer.train_dequantizer,
    "train_head": train_head.train_head,
}
_OF_CLASSIFIERS = ("train", "eval", "fid_stats")


def run(mode: str, config: Config, workdir: str | Path) -> str | None:
    """Do what `mode` says; return the name of the signal that ended it early, or None.

    Raises:
      RunError: whatever is wrong with the config, the workdir or the data, in one line.
    """
    if build.is_classifier(config) and mode not in _OF_CLASSIFIERS:
        raise ConfigError(
            f"--mode={mode} needs a score, but model.name = {config.model.name!r} is a classifier; choose "
            f"{' or '.join(_OF_CLASSIFIERS[:2])}, or the config or --workdir of a score model"
        )
    if mode == "train":
        evaluate.check(config)
        stopped = train.train(config, workdir).interrupted
        if config.eval.after_training and not stopped:
            evaluate.evaluate(config, workdir)
        return stopped
    workdir_lib.check(workdir, config)
    if mode in _COMPANIONS:
        return _COMPANIONS[mode](config, workdir).interrupted
    given_images = mode == "sample" and config.guidance.name in guide.TASKS
    reader = controlled.control if given_images else _READERS[mode]
    reader(config, workdir)
    return None
