"""The data of a config."""

from __future__ import annotations

from scorejax import data
from scorejax.experiment.config import Config
from scorejax.experiment.config.parts import takes
from scorejax.runtime.errors import ConfigError, user_errors


def dataset(config: Config, split: str = "train") -> data.Dataset:
    """Load one split of the data that section `data` names.

    Raises:
        ConfigError: no such data, or settings that do not fit them.
    """
    c = config.data
    settings = c.own() | {key: c[key] for key in ("size", "crop") if c[key] is not None}
    if c.alpha is not None and "alpha" in takes(c.find()):  # images that are given read it as well
        settings["alpha"] = c.alpha
    with user_errors("section data"):
        # Our own sources go by their names, whose errors say which sets are prepared; others by what they import.
        source = c.find() if ":" in c.name and "/" not in c.name else c.name
        examples = data.load(source, split, classes=c.classes, **settings)
    if c.flip and examples.gray_levels is None:
        raise ConfigError(f"data.flip mirrors images, but {c.name!r} holds vectors of {examples.shape[0]} numbers")
    return examples


def check_splits(config: Config, train: data.Dataset) -> None:
    """Refuse, before training, what could not be measured after it: splits of another kind than the training data.

    A split that cannot be read is no fault of a training that no evaluation follows.

    Raises:
        ConfigError: such a split.
    """
    for split in {config.eval.split, config.eval.reference_split} - {"train"}:
        try:
            other = dataset(config, split)
        except ConfigError:
            if config.eval.after_training:
                raise
            continue
        compare_splits(train, other, split)


def compare_splits(train: data.Dataset, other: data.Dataset, split: str) -> None:
    """Refuse a split of another kind than the training data.

    Raises:
        ConfigError: it differs in shape, gray levels, classes or labels.
    """
    with user_errors("section data"):
        data.compare(train, other, ("train", split))
