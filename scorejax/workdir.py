"""A run's folder belongs to the config that made it.

checkpoints/ samples/ eval/ tensorboard/ config.json metrics.jsonl
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from scorejax import checkpoint, parallel
from scorejax.config import Config, base, flatten, from_dict, to_dict
from scorejax.errors import ConfigError, RunError

FILE = "config.json"
# What may change between two starts of a run: it changes no number that training computes.
FREE_SECTIONS = ("sampler", "guidance", "eval", "sweep", "dequantizer")
FREE_KEYS = (
    "name",
    "data.data_dir",
    "data.path",
    "data.resident_mib",
    "train.steps",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep",
    "train.keep_every",
    "train.preview_every",
)


def claim(workdir: str | Path, config: Config) -> None:
    """Write the config beside the run's checkpoints, or check that the run goes on as it began.

    Raises:
      ConfigError: the checkpoints there were made by another config.
      RunError: the folder cannot be written.
    """
    check(workdir, config)
    if not parallel.is_main_process():
        return
    path = Path(workdir) / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(to_dict(config), indent=2) + "\n")
        os.replace(partial, path)
    except OSError as error:
        raise RunError(f"cannot write to the workdir {workdir}: {error.strerror}; choose another --workdir") from error


def check(workdir: str | Path, config: Config) -> None:
    """Refuse a folder whose checkpoints were made by another config.

    Raises:
      ConfigError: they were; the message lists the differing keys.
    """
    if not checkpoint.steps(workdir) or not (Path(workdir) / FILE).is_file():
        return
    # read as a config, so that settings younger than the folder have their defaults there
    changed = differences(to_dict(saved_config(workdir)), to_dict(config))
    if changed:
        listed = "; ".join(f"{key}: {old!r} there, {new!r} now" for key, (old, new) in changed.items())
        raise ConfigError(
            f"{workdir} holds checkpoints of another config ({listed}); choose another --workdir, or the old values"
        )


def saved_config(workdir: str | Path) -> Config:
    """The config a run was made with.

    Raises:
      ConfigError: there is none.
    """
    path = Path(workdir) / FILE
    if not path.is_file():
        raise ConfigError(f"no {FILE} in {workdir}: give --config=configs/X.py")
    return from_dict(json.loads(path.read_text()))


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys that must not differ between two configs and do, with both values."""
    # A setting that came later had its default then.
    before, after = (flatten(json.loads(json.dumps(c))) for c in (old, new))
    before = {**flatten(json.loads(json.dumps(to_dict(base())))), **before}
    # With a decaying learning rate the length of the run is part of what each step computes.
    decaying = after.get("optim.decay") != "none"
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return {
        key: (before.get(key), after.get(key))
        for key in keys
        if not (key in FREE_KEYS or key.partition(".")[0] in FREE_SECTIONS) or (key == "train.steps" and decaying)
    }
