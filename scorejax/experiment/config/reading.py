"""Reading configs: the only file of the package that knows ml_collections."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ml_collections import config_dict

from scorejax.experiment.config.settings import DEFAULTS, choices, convert, full_key, lookup
from scorejax.runtime.errors import ConfigError, user_errors

if TYPE_CHECKING:
    Config: TypeAlias = Any  # its attributes are checked when a config is read
else:
    Config = config_dict.ConfigDict


def base() -> Config:
    """Every setting at its default; a config file starts from this and updates what differs."""

    def node(defaults: dict[str, Any]) -> dict[str, Any]:
        return {
            key: node(value)
            if isinstance(value, dict)
            else (config_dict.placeholder(value) if isinstance(value, type) else value)
            for key, value in defaults.items()
        }

    return config_dict.ConfigDict(node(DEFAULTS)).lock()


def load(spec: str, overrides: Sequence[str] = ()) -> Config:
    """Read `configs/X.py[:variant[,variant]]` and apply overrides `key.path=value`.

    A config file defines `get_config()` and may define `VARIANTS`, functions that change a config in place;
    `tiny` works after any of them.

    Raises:
      ConfigError: no such file, variant or key, or a value of the wrong type.
    """
    path, _, variants = spec.partition(":")
    module = _run_config_file(Path(path))
    known = {**module.get("VARIANTS", {}), "tiny": tiny}
    with user_errors(f"config {path}"):
        config = module["get_config"]()
        config.name = "-".join([Path(path).stem, *filter(None, variants.split(","))])
        for variant in filter(None, variants.split(",")):
            if variant not in known:
                raise ConfigError(f"unknown variant {variant!r} of {path}; choose one of {choices(known)}")
            known[variant](config)
    return override(config, overrides)


def override(config: Config, overrides: Sequence[str]) -> Config:
    """Set `key.path=value` for each override, in place, and return the config; `section=value` sets its name.

    Raises:
      ConfigError: an unknown key, or a value of the wrong type.
    """
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"override {text!r} has no value; write --config.{key}=VALUE")
        key = full_key(key)
        _assign(config, key, convert(key, value))
    return config


def from_dict(values: dict[str, Any]) -> Config:
    """The config that `to_dict` wrote.

    Raises:
      ConfigError: a key that this version does not know.
    """
    config = base()
    for key, value in flatten(values).items():
        lookup(key)
        _assign(config, key, tuple(value) if isinstance(value, list) else value)
    return config


def to_dict(config: Config) -> dict[str, Any]:
    """Nested plain values, ready for JSON; unset ones are None."""
    return config.to_dict()


def chosen(config: Config, section: str) -> dict[str, Any]:
    """What is set of a section, without what is left to the defaults of whatever it builds."""
    return {key: value for key, value in to_dict(config)[section].items() if value is not None}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of nested settings."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def tiny(config: Config) -> None:
    """Shrink any run to seconds on a CPU: it shows that everything works, not that it works well."""
    config.train.update(
        {"steps": 4, "batch": 16, "steps_per_call": 0, "log_every": 2, "checkpoint_every": 2, "preview_every": 0}
    )
    vectors = {"features": 16, "depth": 1}
    small = {"mlp": vectors, "mlp_classifier": vectors, "ncsn": {"features": 8}, "ncsnv2": {"features": 8}}
    small["wide_resnet"] = {"depth": 10, "width": 1}
    unet = {"features": 8, "channel_multipliers": (1, 1), "blocks_per_level": 1}
    unet.update({"attention_resolutions": (), "dropout": 0.0})
    config.model.update(small.get(config.model.name, unet))
    if config.data.size is not None:
        config.data.size = min(config.data.size, 32)
    config.dequantizer.update({"steps": 4, "batch": 16, "log_every": 2, "checkpoint_every": 2})
    config.dequantizer.update({"features": 8, "components": 2, "blocks": 1, "heads": 2, "flows": 1})
    config.head.update({"steps": 4, "batch": 16, "log_every": 2, "checkpoint_every": 2})
    config.sampler.steps = 4
    if config.sampler.steps_per_level is not None:
        config.sampler.steps_per_level = 2
    config.eval.update({"batch": 8, "likelihood_examples": 16, "classifier_examples": 16, "samples": 16, "grid": 16})
    config.eval.update({"likelihood_passes": 1, "rtol": 1e-2, "atol": 1e-2, "baseline_examples": 200})
    config.eval.reference_examples = 200


def _run_config_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("configs")
        found = ", ".join(str(p) for p in sorted(folder.glob("*.py"))) or f"no config in {folder}/"
        raise ConfigError(f"no config file {str(path)!r}; choose one of {found}")
    module = runpy.run_path(str(path))
    if "get_config" not in module:
        raise ConfigError(f"{path} defines no get_config(); see configs/vp_digits.py for one that does")
    return module


def _assign(config: Config, path: str, value: Any) -> None:
    *sections, key = path.split(".")
    for section in sections:
        config = config[section]
    config[key] = value
