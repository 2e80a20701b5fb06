"""The data of a config."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from scorejax import data
from scorejax.experiment.config import Config
from scorejax.experiment.config.parts import takes
from scorejax.runtime.errors import ConfigError, user_errors


def dataset(config: Config, split: str = "train", *, like: data.Dataset | None = None) -> data.Dataset:
    """Load one split of the data that section `data` names.

    Args:
        config: the run's.
        split: the name of the split.
        like: the training data, if the split is to be of one kind with them.

    Raises:
        ConfigError: no such data, settings that do not fit them, or a split of another kind.
    """
    c = config.data
    settings = c.own() | {key: c[key] for key in ("size", "crop") if c[key] is not None}
    with user_errors("section data"):
        # With data that are no files, it is for images that are given to guidance.
        if c.alpha is not None and "alpha" in takes(c.find()):
            settings["alpha"] = c.alpha
        if c.split != "every":
            if "held_out" not in takes(c.find()):
                raise ValueError(f"data.split = {c.split!r}, but data source {c.name!r} has splits of its own")
            settings["held_out"] = c.split
        # Our own sources go by their names, whose errors say which sets are prepared; others by what they import.
        source = c.find() if ":" in c.name and "/" not in c.name else c.name
        examples = data.load(source, split, classes=c.classes, **settings)
        if like is not None:
            data.compare(like, examples, ("train", split))
    if c.flip and any(condition.kind == "field" for condition in examples.conditions):
        raise ConfigError(f"data.flip mirrors images, but not the fields that those of {c.name!r} are given")
    if c.flip and len(examples.shape) != 3:
        what = f"vectors of {examples.shape[0]} numbers" if len(examples.shape) == 1 else f"shapes {examples.shape}"
        raise ConfigError(f"data.flip mirrors images, but {c.name!r} holds {what}")
    return examples


def check_splits(config: Config, train: data.Dataset) -> dict[str, int | None]:
    """Refuse, before training, what could not be measured after it: splits of another kind than the training data.

    A split that cannot be read is no fault of a training that no evaluation follows.

    Returns the number of examples of each split, None for one that cannot be read.

    Raises:
        ConfigError: such a split.
    """
    counts: dict[str, int | None] = {"train": len(train)}
    data.mention_repeated(train)
    for split in (config.eval.split, config.eval.reference_split):
        if split in counts:
            continue
        try:
            other = dataset(config, split)
        except ConfigError:
            if config.eval.after_training:
                raise
            counts[split] = None
            continue
        with user_errors("section data"):
            data.compare(train, other, ("train", split))
        data.mention_duplicates(train, other, ("train", split))
        counts[split] = len(other)
    return counts


def fitting(train: data.Dataset, space: data.Space, most: int = 10_000) -> np.ndarray:
    """At most so many training examples in the units of the model, for what is fitted to the data itself."""
    few = np.asarray(train.examples[data.spread(len(train), most)])
    return np.asarray(space.middle(jnp.asarray(space.encode(few))))
