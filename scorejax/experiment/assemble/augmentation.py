"""Augmentation as a setting of a recipe: `augment: Annotated[Augment, AUGMENT] = "none"`."""

from __future__ import annotations

from typing import Any, TypeAlias

import flax.linen as nn

from scorejax import data, models
from scorejax.data import Augmentation, Form
from scorejax.experiment.config import Config, takes
from scorejax.experiment.config.parts import Seam
from scorejax.runtime.errors import ConfigError, user_errors

Augment: TypeAlias = Any
"""Makes an augmentation, or None; or its name."""
AUGMENT = Seam("scorejax.data:AUGMENTATIONS", "augmentation", "none", makes="scorejax.data:Augmentation")


def chosen(augment: Augment) -> Augmentation | None:
    """The augmentation of a setting; None for `none`."""
    return (data.AUGMENTATIONS[augment] if isinstance(augment, str) else augment)()


def of_network(augment: Augmentation | None, form: Form) -> dict[str, int]:
    """The field of a network that is given the labels of an augmentation; nothing without labels.

    Raises:
        ConfigError: the data cannot be augmented so.
    """
    if augment is None:
        return {}
    if any(condition.kind == "field" for condition in form.conditions):
        raise ConfigError(
            "recipe.augment moves the numbers of examples, but not the fields that they are given as conditions: set "
            "recipe.augment=none"
        )
    with user_errors("recipe.augment"):
        count = augment.count(form.shape)
    return {"augment_dim": count} if count else {}


def check(module: nn.Module, wanted: dict[str, int], config: Config) -> None:
    """Refuse a network that is not given the labels of the augmentation.

    Raises:
        ConfigError: it is not.
    """
    own, count = getattr(module, "augment_dim", None), wanted.get("augment_dim")
    if count is None or own == count:
        return
    if own is None:
        fitting = [name for name, kind in models.NETWORKS.items() if "augment_dim" in takes(kind)]
        raise ConfigError(
            f"recipe.augment = {config.recipe.augment.name!r} says to the network how an example was augmented, and "
            f"model = {config.model.name!r} takes no such labels with this condition: choose one of "
            f"{', '.join(fitting)}, or set recipe.augment.labeled=false, with which samples are augmented too"
        )
    raise ConfigError(
        f"model.augment_dim = {own}, but recipe.augment = {config.recipe.augment.name!r} has {count} labels for this "
        f"data; leave model.augment_dim unset, or set it to {count}"
    )
