"""The data of a config."""

from __future__ import annotations

from scorejax import data
from scorejax.experiment.config import Config, takes
from scorejax.runtime.errors import ConfigError, user_errors


def dataset(config: Config, split: str = "train") -> data.Dataset:
    """One split of the data.

    Raises:
        ConfigError: no such data, or settings that do not fit them.
    """
    c = config.data
    shape = {key: c[key] for key in ("size", "crop") if c[key] is not None}
    if refused := [key for key in shape if key not in takes(c.find())]:
        raise ConfigError(
            f"data.{refused[0]} = {shape[refused[0]]} cuts and resizes images of files; {c.name!r} comes in one size: "
            "leave it unset"
        )
    examples = c.make(split, **shape)
    if not isinstance(examples, data.Dataset):
        raise ConfigError(f"data source {c.name!r} returned {type(examples).__name__}; return a scorejax.data.Dataset")
    if c.classes is not None:
        with user_errors("data.classes"):
            examples = data.subset(examples, c.classes)
    if c.flip and examples.levels is None:
        raise ConfigError(f"data.flip mirrors images, but {c.name!r} holds vectors of {examples.shape[0]} numbers")
    return examples
