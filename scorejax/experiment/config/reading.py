"""Reading configs: from a file, from the command line, from `config.json`."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from scorejax.experiment.config import names
from scorejax.experiment.config.files import ConfigFile
from scorejax.experiment.config.schema import OF_SOME_RECIPES, schema
from scorejax.experiment.config.section import Help
from scorejax.experiment.config.tree import HELP, Config, Part
from scorejax.experiment.config.values import Values
from scorejax.runtime.errors import ConfigError


def base() -> Config:
    """Every setting at its default; a config file starts from this and updates what differs."""
    return Config(schema())


def load(spec: str, overrides: Sequence[str] = ()) -> Config:
    """Read `configs/X.py[:variant[,variant]]` and apply overrides `key.path=value`.

    A config file defines `get_config()` and may define `VARIANTS`, functions that change a config in place;
    `tiny` works after any of them.

    Raises:
        ConfigError: no such file, variant or key, or a value of the wrong type.
        Help: the name is `help`, or an override asks for it.
    """
    if spec == HELP:
        raise Help(_describe_shipped())
    path, _, variants = spec.partition(":")
    where = find_file(path)
    config, known = ConfigFile(where).read()
    config.name = "-".join([where.stem, *filter(None, variants.split(","))])
    known = {**known, "tiny": tiny}
    for variant in filter(None, variants.split(",")):
        if variant not in known:
            listed = f"choose one of {', '.join(known)}{names.hint(variant, known)}"
            raise ConfigError(f"unknown variant {variant!r} of {where}; {listed}")
        known[variant](config)
    return override(config, overrides)


def override(config: Config, overrides: Sequence[str]) -> Config:
    """Set `key.path=value` for each override, in place, and return the config.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
        Help: an override is `help=all`, for all settings, or `key=help`, for the parts that a key takes.
    """
    for text in overrides:
        key, equals, value = text.partition("=")
        if key == HELP:
            raise Help("\n".join(config.lines()))
        if not equals:
            raise ConfigError(f"override {text!r} has no value; write --config.{key}=VALUE")
        config.set_text(key, value)
    return config


def from_dict(values: Values) -> Config:
    """The config that `to_dict` wrote.

    Raises:
        ConfigError: a key that this version does not know.
    """
    config = base()
    config.update(values)
    return config


def copy(config: Config) -> Config:
    """A config of its own with the same settings."""
    return from_dict(to_dict(config))


def to_dict(config: Config) -> Values:
    """Nested plain values, ready for JSON; unset ones are None, or absent where they are a part's own."""
    return config.to_dict()


def chosen(config: Config, section: str) -> Values:
    """What is set in a section, without what is left to the defaults of the parts that it names."""
    return {key: value for key, value in to_dict(config)[section].items() if value is not None}


def flatten(values: Values, prefix: str = "") -> Values:
    """Dotted keys of nested settings."""
    flat: Values = {}
    for key, value in values.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def tiny(config: Config) -> None:
    """Shrink any run to seconds on a CPU: it shows that everything works, not that it works well.

    A part says itself how it is shrunk, by its attribute `tiny`.
    """
    config.train.update(
        {"steps": 4, "batch": 16, "steps_per_call": 0, "log_every": 2, "checkpoint_every": 2, "preview_every": 0}
    )
    if config.data.size is not None:
        config.data.size = min(config.data.size, 32)
    unread = set(OF_SOME_RECIPES) - set(config.recipe.find().uses)
    if "sampler" not in unread:
        config.sampler.steps = 4
    config.eval.update({"batch": 8, "likelihood_examples": 16, "classifier_examples": 16, "samples": 16, "grid": 16})
    config.eval.update({"likelihood_passes": 1, "rtol": 1e-2, "atol": 1e-2, "baseline_examples": 200})
    config.eval.update({"reference_examples": 200, "evidence": 4, "restored": 16})
    config.eval.evidence_temperatures = min(config.eval.evidence_temperatures, 2)
    for key, section in config.items():
        for part in _parts(section) if isinstance(section, Config) and key not in unread else []:
            part.update(getattr(part.find(), "tiny", {}))


def find_file(path: str) -> Path:
    """The config file of a path, or the shipped config of a name.

    Raises:
        ConfigError: there is neither.
    """
    given, shipped = Path(path), {file.stem: file for file in sorted(_shipped().glob("*.py"))}
    if given.is_file() or (given.exists() and path not in shipped):
        return given
    if path in shipped:
        return shipped[path]
    folder = given.parent if given.parent.is_dir() and given.parent != Path() else None
    found = [str(file) for file in sorted(folder.glob("*.py"))] if folder else list(shipped)
    listed = ", ".join(found) or f"none in {folder}/"
    raise ConfigError(f"no config file {path!r}; choose one of {listed}{names.hint(path, found)}")


def _shipped() -> Path:
    """Where the shipped configs are: in the source tree, or where an installer puts the data files of a wheel."""
    tree = Path(__file__).resolve().parents[3]
    # The order of installers: a virtual environment or system, one user's own packages, a folder of packages.
    prefixes = [sysconfig.get_path("data"), sysconfig.get_path("data", sysconfig.get_preferred_scheme("user")), tree]
    places = [tree / "configs", *(Path(prefix) / "share/scorejax/configs" for prefix in prefixes)]
    return next((place for place in places if (place / "vp_digits.py").is_file()), places[0])


def _describe_shipped() -> str:
    """The configs of the package with the first lines of their docstrings, for `help`."""
    lines = []
    for file in sorted(_shipped().glob("*.py")):
        doc = ast.get_docstring(ast.parse(file.read_text())) or ""
        lines.append(f"  {file.stem:<20}{doc.partition(chr(10))[0]}")
    return "\n".join(["--config=NAME[:variant] takes the name of a config file, or one of", *lines])


def _parts(config: Config) -> list[Part]:
    found = [config] if isinstance(config, Part) else []
    return found + [part for value in config.values() if isinstance(value, Config) for part in _parts(value)]
