"""Where results lie: each in a place that its settings decide, so that those of other settings are never overwritten.

What the run's own config asks for has the plain names, `eval/step-N.json` and `samples/step-N.png`. What another
sampler draws is called after it, `step-N-dpm_solver-20`; and where a name is taken by results of other settings, what
differs is added to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from absl import logging

from scorejax.experiment import steering
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config, flatten, to_dict
from scorejax.experiment.config.values import Value, Values
from scorejax.pictures.images import signature
from scorejax.runtime.errors import RunError
from scorejax.runtime.files import DamagedError, read_json, set_aside, write_json
from scorejax.runtime.ledger import digest

DRAWN = ("sampler", "guidance", "eval.seed", "eval.condition")
"""What samples depend on, apart from the model."""
_LONGEST = 120  # characters of a name that says what differs
_SETTINGS = "settings"
_NAMED = ("sampler.stepper.name", "sampler.steps", "guidance.")  # what `title` names in its own words


def settings(config: Config, keys: Iterable[str]) -> Values:
    """The settings under these keys of a config, each a dotted key or a section, and where its weights are from."""
    wanted, everything = ("init_from", *keys), flatten(json.loads(json.dumps(to_dict(config))))
    found = {key: value for key, value in everything.items() if any(f"{key}.".startswith(f"{one}.") for one in wanted)}
    # left out where it is not set, as in results that are older than it
    if not config.eval.condition:
        found.pop("eval.condition", None)
    found |= {"eval.best": True} if config.eval.best else {}
    return found if config.eval.average is None else found | {"eval.average": config.eval.average}


def title(config: Config, workdir: str | Path) -> str:
    """What files of samples are called, after the step, if they are not what the run's own config draws."""
    now = settings(config, DRAWN)
    try:
        own = settings(workdir_lib.saved_config(workdir), DRAWN)
    except RunError:  # none was written, or it is damaged
        own = {key: value for key, value in now.items() if not key.startswith("guidance.")}
    changed = [key for key in {**own, **now} if own.get(key) != now.get(key)]
    words = []
    if any(key.startswith("sampler.") for key in changed):
        words = [config.sampler.stepper.name, config.sampler.steps]
    # What the run's own stepper was set to says nothing of another one.
    words += [_word(key, now[key]) for key in changed if key in now and not key.startswith(_NAMED)]
    guided = any(key.startswith("guidance.") for key in changed)
    return _name(words) + (steering.suffix(config) if guided else "")


def place(path: Path, own: Values, there: Callable[[Path], Values | None]) -> Path:
    """A path for results of these settings: `path`, unless results of other settings lie there.

    Args:
        path: where they are to lie.
        own: their settings.
        there: the settings of what lies at a path; None if nothing does.
    """
    other = there(path)
    if other is None or other == own:
        return path
    words = [_word(key, own.get(key)) for key in {**own, **other} if own.get(key) != other.get(key)]
    named = path.with_name(f"{path.stem}{_name(words)}{path.suffix}")
    if len(named.name) <= _LONGEST and there(named) in (None, own):
        return named
    return path.with_name(f"{path.stem}-{digest(own)}{path.suffix}")


def page(path: Path, own: Values) -> Path:
    """The place of a picture of these settings, which pictures carry in them (`pictures.sign`)."""

    def there(path: Path) -> Values | None:
        try:
            return json.loads(signature(path) or "") if path.is_file() else None
        except ValueError:  # as pages were before, or damaged
            return None

    return place(path, own, there)


def report(path: Path, own: Values) -> Path:
    """The place of a report of one thing, which holds its settings."""
    return place(path, own, lambda path: _settings_in(read(path)))


def write_report(path: Path, result: Values, own: Values) -> None:
    """Write a report of one thing with its settings."""
    write_json(path, {**result, _SETTINGS: own})


def merge(path: Path, about: Values, section: str, result: Values, own: Values) -> Path:
    """Write a section of a report, and keep those that are there; return where it lies.

    Args:
        path: the report, unless it holds this section under other settings.
        about: what stands at the head of the report.
        section: its name.
        result: its numbers.
        own: the settings that they depend on.
    """

    def there(path: Path) -> Values | None:
        found = read(path)
        held = found.get(section)
        if not isinstance(held, dict):
            return None
        if _SETTINGS in held:
            return held[_SETTINGS]
        # As reports were before: the settings of all sections are those at its end.
        everything = flatten(found.get("config", {}))
        return {key: everything.get(key) for key in own}

    where = place(path, own, there)
    kept = {key: value for key, value in read(where).items() if key not in about}
    config = {"config": about["config"]} if "config" in about else {}
    head = {key: value for key, value in about.items() if key != "config"}
    write_json(where, {**head, **kept, section: {**result, _SETTINGS: own}, **config})
    return where


def read(path: Path) -> Values:
    """The report at a path; empty if there is none, or one that is damaged, which is then given another name."""
    if not path.is_file():
        return {}
    try:
        return read_json(path, dict, "it is written again")
    except DamagedError as error:
        logging.warning("%s; the old file is now %s", error, set_aside(path).name)
        return {}


def _settings_in(found: Values) -> Values | None:
    held = found.get(_SETTINGS)
    return held if isinstance(held, dict) else None


def _word(key: str, value: Value) -> str:
    """A setting as a part of a name: `order-3`, or the name of a part alone."""
    above, _, last = key.rpartition(".")
    text = Path(value).name if isinstance(value, str) else str(value)  # of a file its name
    return text if last == "name" else f"{last if last != 'path' else above}-{text}"


def _name(words: Iterable[object]) -> str:
    text = re.sub(r"[^\w.]+", "-", "-".join(map(str, words))).strip("-")
    return f"-{text}" if text else ""
