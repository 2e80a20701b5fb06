"""Training of something next to a frozen model, such as a dequantizer or a variance head.

It is a run like any, in a folder inside the model's run: it resumes, logs and saves the same way, under a config whose
sections recipe, train, optim and ema are made from the section of what is trained. The model's weights are its averaged
ones; another model needs another folder.
"""

from __future__ import annotations

from pathlib import Path

from scorejax.experiment import config as configs
from scorejax.experiment import trained as trained_lib
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.experiment.recipe import Recipe
from scorejax.experiment.training.loop import Finished
from scorejax.experiment.training.train import train
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import ConfigError

FREE = ("steps", "log_every", "checkpoint_every")  # of a section: what may change between two starts


def train_beside(kind: type[Recipe], config: Config, workdir: str | Path) -> Finished:
    """Train what a recipe trains next to the model of a run, until its section's `steps`.

    Args:
        kind: the recipe.
        config: that of the model's run, with the section of the recipe.
        workdir: the run's folder, with at least one checkpoint, unless published weights are the model.

    Raises:
        ConfigError: something in the config does not exist or does not fit, or differs from that of a begun training.
        CheckpointError: no model to be read, or checkpoints cannot be written.
        DivergedError: the loss or its gradient is not finite.
    """
    workdir_lib.check(workdir, config)
    own = own_config(config, kind)
    assert kind.section is not None  # `recipes.BESIDE` holds no others
    folder = Path(workdir) / kind.folder(config[kind.section].own())
    if checkpoint.steps(folder):
        _check_begun(folder, own, kind.section)
    trained = trained_lib.restore(config, workdir)
    trained.need(f"--mode=train_{kind.section}", *kind.needs)
    return train(own, folder, beside=trained.beside)


def own_config(config: Config, kind: type[Recipe]) -> Config:
    """The model's config with the recipe and the sections train, optim and ema of what is trained next to it."""
    assert kind.section is not None
    c, own = config[kind.section], configs.base()
    own.update(
        {key: value for key, value in configs.to_dict(config).items() if key in ("name", "seed", "data", "eval")}
    )
    own.update({kind.section: configs.to_dict(config)[kind.section]})
    own.train.update({"steps": c.steps, "batch": c.batch, "steps_per_call": 0, "log_every": c.log_every})
    own.train.update({"checkpoint_every": c.checkpoint_every, "keep": 2})
    own.optim.update({"lr": c.lr, "warmup": c.warmup, "clip": c.clip})
    own.ema.update({"decay": c.ema_decay, "warmup": True})
    own.recipe = {"name": c.name, **c.own()}
    return own


def _check_begun(folder: Path, config: Config, section: str) -> None:
    """The section may change between two starts of the model's run, but not under a begun training."""
    free = (*FREE, *(key.removeprefix("optim.") for key in workdir_lib.AFTER_DIVERGENCE))
    free = free if workdir_lib.diverged(folder) else FREE
    before, now = (configs.to_dict(c)[section] for c in (workdir_lib.saved_config(folder), config))
    for key in {**before, **now}:
        if key not in free and before.get(key) != now.get(key):
            raise ConfigError(
                f"{folder} was begun with {section}.{key} = {before.get(key)!r}, got {now.get(key)!r}; keep it, or "
                "delete the folder"
            )
