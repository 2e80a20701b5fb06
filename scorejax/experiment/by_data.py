"""Settings that are `auto`: read off the training data before a run, which then has numbers in their place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from absl import logging

from scorejax.experiment import record as record_lib
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.assemble.data import dataset, fitting
from scorejax.experiment.config import Config, Part, copy, takes
from scorejax.experiment.config.schema import TIME_SAMPLING
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import ConfigError
from scorejax.sdes.data_levels import DataLevels, data_levels, principal_variances

_NUMBERS = 2**25  # of examples that are looked at


def settled(config: Config, workdir: str | Path | None = None) -> Config:
    """Return the config with a number for every setting that is `auto`, and log these; without any, the config itself.

    A run that has begun keeps the numbers that it began with.

    Args:
        config: the run's.
        workdir: its folder.

    Raises:
        ConfigError: no such data, or data that say nothing of the noise.
    """
    asked = {key: config[key].by_data() for key in ("sde", "recipe")}
    law = _law(config)
    if not any(asked.values()) and not law.by_data():
        return config
    found = copy(config)
    if (
        workdir is not None
        and checkpoint.steps(workdir)
        and _take_over(found, workdir_lib.saved_config(workdir), asked)
    ):
        return found
    measured = levels(config)
    values = {name: float(f"{value:.4g}") for name, value in measured._asdict().items()}
    said = []
    for section, keys in asked.items():
        for key in keys:
            found[section][key] = values[key]
            said.append(f"--config.{section}.{key}={values[key]:g}")
    if law.by_data():
        found.objective.time_sampling = _with_numbers(law, values)
        said.append(f"--config.objective.time_sampling={found.objective.time_sampling}")
    logging.info("read off the training data: %s", " ".join(said))
    return found


def levels(config: Config) -> DataLevels:
    """Return what the training data of a config say of the noise.

    Raises:
        ConfigError: no such data, or data that say nothing of it.
    """
    train = dataset(config)
    space = record_lib.Record.of_config(train, config).space(config)
    numbers = int(np.prod(train.shape))
    x = fitting(train, space, max(2, min(10_000, _NUMBERS // numbers)))
    quantum = None if train.levels is None else space.bin_width(numbers)
    try:
        return data_levels(principal_variances(x, _closes(config, x.ndim - 2)), center=x.mean(axis=0), quantum=quantum)
    except ValueError as error:
        raise ConfigError(f"settings that are auto cannot be read off data = {config.data.name!r}: {error}") from error


def _closes(config: Config, sides: int) -> tuple[bool, ...]:
    """Which sides the network takes for circles."""
    padding = config.model.padding if "padding" in takes(config.model.find()) else ()
    closes = tuple(each == "circular" for each in padding)
    return closes * sides if len(closes) == 1 else closes if len(closes) == sides else (False,) * sides


def _law(config: Config) -> Part:
    """The law of training times, as a node."""
    part = Part(TIME_SAMPLING, "objective.time_sampling")
    part.choose_text(config.objective.time_sampling)
    return part


def _with_numbers(law: Part, values: Mapping[str, float]) -> str:
    """The text of a law of times with numbers in the place of `auto`."""
    for key in law.by_data():
        law[key] = values[key]
    return ":".join([law.name, *(f"{key}={value}" for key, value in law.own().items())])


def _take_over(config: Config, before: Config, asked: Mapping[str, list[str]]) -> bool:
    """Set what is to be read off the data as it was when the run began; whether the run knows all of it."""
    law, was = _law(config), _law(before)
    names = all(before[section].name == config[section].name for section, keys in asked.items() if keys)
    if not names or (law.by_data() and law.name != was.name) or before.data.name != config.data.name:
        return False
    for section, keys in asked.items():
        for key in keys:
            config[section][key] = before[section][key]
    if law.by_data():
        config.objective.time_sampling = _with_numbers(law, {key: was[key] for key in law.by_data()})
    return True
