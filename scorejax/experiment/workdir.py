"""A run's folder belongs to the config that made it; one of what is trained next to a score, to that score as well.

checkpoints/ samples/ eval/ tensorboard/ config.json metrics.jsonl data.json (see `record`)
dequantizer/ heads/KIND/   with checkpoints/ and files of their own, and score.json
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from absl import logging

from scorejax.experiment.config import Config, flatten, from_dict, to_dict
from scorejax.experiment.config.names import RENAMED
from scorejax.experiment.config.values import Value, Values
from scorejax.experiment.recipes import BESIDE
from scorejax.numerics.trees import PyTree
from scorejax.runtime import checkpoint, lock, parallel
from scorejax.runtime.errors import ConfigError, RunError
from scorejax.runtime.files import DamagedError, read_json, write_json

FILE = "config.json"
NEIGHBOR = "score.json"
DIVERGED = "diverged.json"
AFTER_DIVERGENCE = ("optim.lr", "optim.warmup", "optim.clip")
# What may change between two starts of a run: it changes no number that training computes.
FREE_SECTIONS = ("sampler", "guidance", "eval", "sweep", *(str(kind.section) for kind in BESIDE.values()))
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
_SHOWN = 8  # differing settings in a message
_WHOLE_RUN = (
    "under optim.decay='cosine' every step depends on the length of the whole run; a run that is to be made longer "
    "later trains with optim.decay=none"
)


def folder(text: str | Path) -> Path:
    """The folder that a person names: `~` is the home folder.

    Raises:
        ConfigError: it is no folder of this machine, or a file.
    """
    if "://" in str(text):
        raise ConfigError(
            f"--workdir={text}: runs are kept in folders of this machine; mount that storage as one (gcsfuse, s3fs), "
            "or train in a folder here and copy it there"
        )
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"--workdir={text}: {error}; give the path in full") from error
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--workdir={text} is a file, and a folder is wanted; choose another path")
    return path


def kept(path: str | Path) -> str:
    """What of a run is safe on the disk, in one line."""
    steps = checkpoint.steps(path)
    newest = f"the checkpoint of step {steps[-1]}" if steps else "no checkpoint yet"
    return f"kept in {path}: {newest}, and every result that was finished"


def writing(workdir: str | Path) -> contextlib.AbstractContextManager[None]:
    """Be the one run that writes in a folder; `scorejax.load` and other runs may read it meanwhile.

    Raises:
        LockedError: another process writes there; the message says which, since when, and what to do.
    """
    return lock.held(workdir) if parallel.is_main_process() else contextlib.nullcontext()


def claim(workdir: str | Path, config: Config) -> None:
    """Write the config next to the run's checkpoints, or check that the run goes on as it began.

    Raises:
        ConfigError: the checkpoints there were made by another config.
        RunError: the folder cannot be written.
    """
    check(workdir, config)
    gentler = _gentler(workdir, config)
    _write(Path(workdir) / FILE, to_dict(config))
    if gentler:
        changes = ", ".join(f"{key} {old!r} -> {new!r}" for key, (old, new) in gentler.items())
        logging.info("%s: after the divergence, from step %d on: %s", workdir, checkpoint.steps(workdir)[-1], changes)
    if gentler or not checkpoint.steps(workdir):
        (Path(workdir) / DIVERGED).unlink(missing_ok=True)


def adopt(workdir: str | Path, config: Config) -> None:
    """Write the config of a published model next to its results; one that is there stays, since it names them.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        stays = not differences(to_dict(saved_config(workdir)), to_dict(config))
    except RunError:  # there is none, or it is damaged
        stays = False
    if not stays:
        _write(Path(workdir) / FILE, to_dict(config))


def check(workdir: str | Path, config: Config) -> None:
    """Refuse a folder whose checkpoints were made by another config.

    Raises:
        ConfigError: they were; the message lists the differing keys.
    """
    if not checkpoint.steps(workdir) or not (Path(workdir) / FILE).is_file():
        return
    try:
        # read as a config, so that settings younger than the folder have their defaults there
        changed = differences(to_dict(saved_config(workdir)), to_dict(config))
    except DamagedError as error:
        logging.warning("%s: going on with the config that is given, which cannot be compared", error)
        return
    gentler = _gentler(workdir, config)
    changed = {key: values for key, values in changed.items() if key not in gentler}
    if changed:
        # What a part is called decides which settings it has: those come first, and the rest is cut short.
        order = sorted(changed, key=lambda key: not key.endswith(".name"))
        listed = "; ".join(f"{key}: {changed[key][0]!r} there, {changed[key][1]!r} now" for key in order[:_SHOWN])
        listed += f"; and {len(order) - _SHOWN} more" if len(order) > _SHOWN else ""
        why = f": {_WHOLE_RUN}" if "train.steps" in changed else ""
        raise ConfigError(
            f"{workdir} holds checkpoints of another config ({listed}){why}; choose another --workdir, or the old "
            "values"
        )


def note_divergence(workdir: str | Path) -> None:
    """Write down that the run diverged: `AFTER_DIVERGENCE` may then change when it goes on."""
    _write(Path(workdir) / DIVERGED, {"after_step": (checkpoint.steps(workdir) or [0])[-1]})


def diverged(workdir: str | Path) -> bool:
    """Whether a run diverged, and has not gone on with other settings since."""
    return (Path(workdir) / DIVERGED).is_file()


def _gentler(workdir: str | Path, config: Config) -> dict[str, tuple[Value, Value]]:
    """What differs of the settings that may change after a divergence."""
    if not diverged(workdir) or not checkpoint.steps(workdir):
        return {}
    try:
        changed = differences(to_dict(saved_config(workdir)), to_dict(config))
    except RunError:
        return {}
    # The state of the optimizer has another form with clipping than without.
    return {
        key: changed[key]
        for key in AFTER_DIVERGENCE
        if key in changed and (key != "optim.clip" or all(changed[key]) or not any(changed[key]))
    }


def claim_beside(workdir: str | Path, step: int, params: PyTree) -> None:
    """Write down which score something is trained next to, or check that it still is this one.

    Args:
        workdir: folder of what is trained.
        step: of the score's checkpoint.
        params: the score's weights.

    Raises:
        ConfigError: the checkpoints there were made next to another score.
        RunError: the folder cannot be written.
    """
    check_beside(workdir, params)
    _write(Path(workdir) / NEIGHBOR, {"step": step, "checksum": checkpoint.checksum(params)})


def check_beside(workdir: str | Path, params: PyTree) -> None:
    """Refuse a folder whose checkpoints were made next to another score; one that does not say is not refused.

    Raises:
        ConfigError: they were.
    """
    path = Path(workdir) / NEIGHBOR
    if not checkpoint.steps(workdir) or not path.is_file():
        return
    remedy = f"delete it if {workdir} was trained next to the score that is there now, else delete that folder"
    there = read_json(path, dict, remedy)
    if not {"checksum", "step"} <= there.keys():
        raise DamagedError(path, f"it holds {', '.join(there) or 'nothing'} where checksum and step are wanted", remedy)
    if there["checksum"] != checkpoint.checksum(params):
        raise ConfigError(
            f"{workdir} was trained next to the score of step {there['step']}, not next to these weights; delete the "
            "folder and train it again, or go back to that score"
        )


def saved_config(workdir: str | Path) -> Config:
    """The config a run was made with.

    Raises:
        ConfigError: there is none.
    """
    path = Path(workdir) / FILE
    if not path.is_file():
        raise ConfigError(
            f"{workdir} holds no run: there is no {FILE} in it; name another folder, or give --config=NAME"
        )
    remedy = "give --config=NAME, with the settings of the run, to go on with its checkpoints"
    values = read_json(path, dict, remedy)
    if not values:
        raise DamagedError(path, "it holds no settings", remedy)
    try:
        return from_dict(values)
    except ConfigError as error:
        names = [f"{key} is now {RENAMED[key]}" for key in flatten(values) if key in RENAMED][:_SHOWN]
        renamed = f"of another version of scorejax: {', '.join(names)}; change the names in it, or train again in"
        raise ConfigError(f"{path} is {renamed} another --workdir" if names else f"{path}: {error}") from error
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        raise DamagedError(path, f"{type(error).__name__}: {error}", remedy) from error


def differences(old: Values, new: Values) -> dict[str, tuple[Value, Value]]:
    """Keys that must not differ between two configs and do, with both values."""
    before, after = (flatten(json.loads(json.dumps(c))) for c in (old, new))
    # With a decaying learning rate the length of the run is part of what each step computes.
    decaying = after.get("optim.decay") != "none"
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return {
        key: (before.get(key), after.get(key))
        for key in keys
        if not (key in FREE_KEYS or key.partition(".")[0] in FREE_SECTIONS) or (key == "train.steps" and decaying)
    }


def _write(path: Path, values: Values) -> None:
    if parallel.is_main_process():
        write_json(path, values)
