"""`init_from` of a file that says what it was trained as: network, process and preconditioning, as settings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scorejax.experiment.config import Config, override
from scorejax.runtime.errors import ConfigError


def follow(config: Config, overrides: Sequence[str]) -> Config:
    """Set what the file of `init_from` says of itself, in place, before the user's own overrides; return the config.

    Args:
        config: as its file has it.
        overrides: `key=value` of the command line, which hold against the file.

    Raises:
        ConfigError: the file leaves open what the command line does not say either.
        CheckpointError: the file says what no network of ours computes.
    """
    given = [text.partition("=") for text in overrides]
    files = [value for key, _, value in given if key == "init_from"]
    if not files or not Path(files[-1]).is_file():
        return config
    from scorejax.models.pretrained import described  # networks take long to import, and most runs start from no file

    found = described.describe(Path(files[-1]))
    if found is None:
        return config
    said = {key for key, _, _ in given}
    for choices in found.unsaid:
        if not said & set(choices):
            asked = " or ".join(f"--config.{key}=..." for key in choices)
            raise ConfigError(f"{files[-1]}: a network {found.name}, but the file does not say all of it; add {asked}")
    override(config, found.settings)
    logging.info("%s says: %s", files[-1], " ".join(found.settings))
    return config
