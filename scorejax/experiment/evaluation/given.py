"""The images that something is to be done with, and the labels that a conditional network is given for them."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from scorejax import data as data_lib
from scorejax import metrics
from scorejax.experiment import assemble, steering
from scorejax.experiment.config import Config
from scorejax.experiment.model import Model
from scorejax.experiment.trained import Trained
from scorejax.runtime.errors import ConfigError, user_errors


class Chosen:
    """Some images of an array or folder, read as they are asked for."""

    def __init__(self, images: metrics.Examples, numbers: np.ndarray) -> None:
        self._images, self._numbers = images, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray:
        return self._images[self._numbers[index]]


class Given(NamedTuple):
    """Images that the user gives, to be restored or edited.

    Attributes:
        images: gray levels `[N, H, W, C]`, read as they are asked for.
        labels: theirs `[N]`, or None.
        of: how many there were to choose from.
        origin: where they are from, for the report and to recognize a cut-off run.
    """

    images: metrics.Examples
    labels: np.ndarray | None
    of: int
    origin: dict[str, object]


def read(config: Config, task: steering.Task, trained: Trained) -> Given:
    """All images of `guidance.input`; or `eval.samples` of the split `eval.split`, evenly spread (0: all).

    Raises:
        ConfigError: nothing there, or images that cannot be brought to the shape of the model's.
    """
    where, form = config.guidance.input, trained.form
    measured = isinstance(task, steering.Restoring) and task.measured
    if where is not None:
        shape = form.shape
        if isinstance(task, steering.Restoring) and task.measured:
            shape = task.measured_shape(shape)
        if len(shape) != 3:
            raise ConfigError("guidance.measured needs a measurement that is an image; random projections are none")
        found = images(config, "input", shape, form, resize=not measured)
        return Given(found, None, len(found), {"path": str(where), "digest": data_lib.stamp(where)})
    if measured:
        raise ConfigError("guidance.measured is set, but not guidance.input: images of the data are not measured")
    test = assemble.dataset(config, config.eval.split, like=trained.recipe.given.examples)
    numbers = data_lib.spread(len(test), config.eval.samples)
    labels = None if test.labels is None else test.labels[numbers]
    return Given(Chosen(test.examples, numbers), labels, len(test), {"data": test.name, "split": config.eval.split})


def images(
    config: Config, key: str, shape: tuple[int, ...], form: data_lib.Form, *, resize: bool = True
) -> metrics.Examples:
    """The images at the path `guidance.KEY`, as gray levels like those of the data.

    Raises:
        ConfigError: nothing there, or images that cannot be brought to the shape.
    """
    assert form.gray_levels is not None  # `steering.task` refuses vectors
    with user_errors(f"config key 'guidance.{key}'"):
        found = data_lib.given(
            config.guidance[key],
            shape,
            form.gray_levels,
            crop=config.data.crop,
            alpha=config.data.alpha,
            resize=resize,
        )
        found[np.arange(1)]  # an image that does not fit shows before any work
        return found


def wanted_labels(
    config: Config,
    model: Model,
    task: steering.Task,
    form: data_lib.Form,
    classes: steering.Classes,
    given: Given,
) -> np.ndarray | None:
    """The label that a conditional network is given for each image; None for a network that takes none.

    `guidance.labels` in turn; else, where the image itself is to be found again, its own label, or that of no class.

    Raises:
        ConfigError: a label is needed, and there is none.
    """
    if not model.conditional:
        return None
    count = len(given.images)
    if config.guidance.labels is not None:
        return np.asarray(classes.wanted(jnp.arange(count)))
    if not task.restores:
        raise ConfigError(
            f"guidance = {config.guidance.name!r} with a network of {form.num_classes} classes needs guidance.labels, "
            "the class to arrive at, such as (8,)"
        )
    if given.labels is not None:
        return given.labels
    like = np.asarray(classes.labels)
    return np.full((count, *like.shape[1:]), steering.null_condition(model), like.dtype)
