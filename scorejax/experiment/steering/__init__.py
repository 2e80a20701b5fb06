"""From section `guidance` of a config to what steers a sample: conditioning is a transform of the score, made once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jax import Array

from scorejax.experiment.assemble import gaussian
from scorejax.experiment.config import Config
from scorejax.experiment.steering.autoguidance import Autoguidance
from scorejax.experiment.steering.by_class import ByClassifier, ClassifierFree, Unguided
from scorejax.experiment.steering.classes import Classes
from scorejax.experiment.steering.edits import Edit, Translate
from scorejax.experiment.steering.guidance import (
    About,
    Guidance,
    OfImages,
    null_condition,
    suffix,
    title,
)
from scorejax.experiment.steering.restorations import Inpaint, Restoration, Restore
from scorejax.experiment.steering.tasks import Restoring, Task
from scorejax.experiment.steering.undoing import Undo
from scorejax.experiment.trained import Trained
from scorejax.runtime.errors import ConfigError, user_errors

GUIDANCE: Mapping[str, type[Guidance]] = {
    "none": Unguided,
    "classifier_free": ClassifierFree,
    "classifier": ByClassifier,
    "autoguidance": Autoguidance,
    "inpaint": Inpaint,
    "restore": Restore,
    "edit": Edit,
    "translate": Translate,
    "undo": Undo,
}


def classes(config: Config, trained: Trained, wanted: Array | None = None) -> Classes:
    """The class guidance of a config, for a trained model.

    Args:
        config: with section `guidance`.
        trained: the model.
        wanted: what samples are wanted of, in turn: classes `[K]` or embeddings `[K, ...]`; None: as the guidance says.

    Raises:
        ConfigError: settings that do not fit, a label that does not exist, or a network or classifier that cannot do
            it.
    """
    if not trained.model.offers("score", "steps"):
        if config.guidance.name == "none":
            return Classes()
        need(config, trained)
    with user_errors(f"guidance = {config.guidance.name!r}"):
        found = config.guidance.make().classes(_about(config, trained, wanted))
    return found if wanted is None else dataclasses.replace(found, labels=wanted)


def of_images(config: Config) -> bool:
    """Whether the guidance of a config is of given images."""
    kind = config.guidance.find()
    return isinstance(kind, type) and issubclass(kind, OfImages)


def refuse_images(config: Config) -> None:
    """Refuse guidance of given images, which one mode alone reads.

    Raises:
        ConfigError: it is.
    """
    if of_images(config):
        others = [name for name, kind in GUIDANCE.items() if not issubclass(kind, OfImages)]
        raise ConfigError(
            f"guidance = {config.guidance.name!r} is of given images, which --mode=sample reads and measures; other "
            f"modes take {', '.join(others)}"
        )


def need(config: Config, trained: Trained) -> None:
    """Refuse a model that cannot do what the guidance of a config asks for.

    Raises:
        ConfigError: it cannot.
    """
    trained.need(f"guidance = {config.guidance.name!r}", *getattr(config.guidance.find(), "needs", Guidance.needs))


def task(config: Config, trained: Trained) -> Task:
    """What the guidance of a config does with given images, for a trained model of images.

    Raises:
        ConfigError: it is of no images, or settings that do not fit.
    """
    with user_errors(f"guidance = {config.guidance.name!r}"):
        if trained.model.degradation is None:
            gaussian(trained.sde, "guidance of given images")
        found = config.guidance.make().task(_about(config, trained))
    if found is None:
        raise ConfigError(f"guidance = {config.guidance.name!r} is of no images")
    return found


def _about(config: Config, trained: Trained, wanted: Array | None = None) -> About:
    given = trained.recipe.given

    def labels() -> Array | np.ndarray | None:
        return given.examples.labels if wanted is None else wanted

    return About(config, trained.model, given.form, given.space, labels, wanted)


__all__ = [
    "GUIDANCE",
    "Classes",
    "Guidance",
    "OfImages",
    "Restoration",
    "Restoring",
    "Task",
    "classes",
    "need",
    "null_condition",
    "of_images",
    "refuse_images",
    "suffix",
    "task",
    "title",
]
