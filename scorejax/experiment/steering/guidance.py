"""What samples are steered by: the seam, and what all guidance of given images shares.

A guidance is a part whose fields are its settings. It says toward which classes samples go and how (`classes`), and,
if it is of given images, what is done with them (`task`).
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jax import Array

from scorejax import data
from scorejax.experiment import conditions as named
from scorejax.experiment.config import Config, Part
from scorejax.experiment.model import Model
from scorejax.experiment.steering.classes import Classes
from scorejax.experiment.steering.tasks import NOISE, Task
from scorejax.numerics.ranges import Finite, Limitless, Natural
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.sdes import SDE


class About(NamedTuple):
    """What a guidance is made for: a run, its model and its data.

    Attributes:
        config: the run's.
        model: what the trained model can do.
        form: of its data.
        space: model space.
        labels: reads the labels of its training data, where samples are wanted of embeddings.
        wanted: labels that a caller asks for, in their place.
    """

    config: Config
    model: Model
    form: data.Form
    space: data.Space
    labels: Callable[[], Array | np.ndarray | None] = lambda: None
    wanted: Array | None = None

    @property
    def sde(self) -> SDE:
        """The forward process of the model.

        Raises:
            ConfigError: it has none.
        """
        if self.model.sde is None:
            raise ConfigError(f"guidance = {self.config.guidance.name!r} needs a model with a forward process")
        return self.model.sde

    @property
    def key(self) -> Array:
        """What is random about a measurement follows the evaluation's seed, not the samples."""
        return jax.random.fold_in(jax.random.key(self.config.eval.seed), NOISE)


class Guidance(abc.ABC):
    """What samples are steered by; its fields are its settings."""

    needs: ClassVar[tuple[str, ...]] = ("score", "steps")
    """Capabilities; the model must have at least one of them."""

    @abc.abstractmethod
    def classes(self, about: About) -> Classes:
        """Return toward which class each sample is steered, and how.

        Raises:
            ConfigError: a label that does not exist, or a network or classifier that cannot do it.
        """

    def task(self, about: About) -> Task | None:
        """Return what is done with given images; None if none are given.

        Raises:
            ConfigError: settings that do not fit, or vectors instead of images.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class ByLabels(Guidance):
    """Steering by the difference that a label makes to the network's own score.

    Attributes:
        labels: classes wanted, in turn; None: all, or those of the given images.
        scale: how strongly toward the class; 1 is the plain conditional law.
        interval: (low, high) of the log SNR between which that acts; None: everywhere.
        negative: class to move away from.
        drop: names of the conditions whose difference counts; None: all of them.
    """

    labels: Annotated[tuple[Natural, ...], MinLen(1)] | None = None
    scale: Finite = 1.0
    interval: tuple[Limitless, Limitless] | None = None
    negative: Natural | None = None
    drop: Annotated[tuple[str, ...], MinLen(1)] | None = None

    def classes(self, about: About) -> Classes:
        model, form = about.model, about.form
        check_takes_labels(model)
        if form.embeddings and (self.labels is not None or self.negative is not None):
            raise ConfigError(f"guidance.labels and guidance.negative are of classes; {form.name!r} has embeddings")
        count = form.num_classes
        wanted = conditions(about) if self.labels is None else known_labels(self.labels, count)
        if self.negative is not None:
            away = known_labels((self.negative,), count, "guidance.negative")[0]
        elif self.scale == 1.0 and self.interval is None:
            away = None
        else:
            away = jnp.asarray(null_condition(model))
        dropped = None
        if self.drop is not None:
            if away is None or self.negative is not None:
                raise ConfigError("guidance.drop says what guidance.scale moves away from: set a scale other than 1")
            with user_errors("guidance.drop"):
                dropped = jnp.asarray(named.numbers_of(form, self.drop))
        return Classes(wanted, away, None, self.scale, checked_interval(self.interval), dropped=dropped)


@dataclass(frozen=True, kw_only=True)
class OfImages(ByLabels):
    """Guidance that does something with given images.

    Attributes:
        input: folder of images, or .npz file; None: images of `eval.split` of the data.
    """

    input: str | None = None

    def classes(self, about: About) -> Classes:
        if about.model.conditional:
            return super().classes(about)
        given = {"labels": self.labels, "interval": self.interval, "negative": self.negative}
        given |= {"scale": None if self.scale == 1.0 else self.scale, "drop": self.drop}
        if set_ := [key for key, value in given.items() if value is not None]:
            raise ConfigError(
                f"guidance.{set_[0]} is set, but this network takes no class labels (recipe.conditional = False): "
                "train one with recipe.conditional=true"
            )
        return Classes()

    def task(self, about: About) -> Task:
        if not (about.form.gray_levels and about.form.pictured):
            raise ConfigError(
                f"guidance = {about.config.guidance.name!r} is for images; {about.form.name!r} holds vectors"
            )
        return self.image_task(about)

    @abc.abstractmethod
    def image_task(self, about: About) -> Task:
        """Return what is done with them, for a model of images.

        Raises:
            ConfigError: settings that do not fit.
        """


def conditions(about: About) -> Array | None:
    """What samples are drawn for, in turn: each class `[K]`, or the embeddings `[K, ...]` of the first examples."""
    c = about.config.eval
    if c.condition and not (about.model.conditional and about.form.conditions):
        why = "this network takes no conditions" if not about.model.conditional else f"{about.form.name!r} has none"
        raise ConfigError(f"eval.condition = {','.join(c.condition)} names conditions, but {why} by name")
    if not about.model.conditional:
        return None
    if c.condition and about.wanted is None:
        with user_errors("eval.condition"):
            given = named.from_shell(about.form, c.condition)
            return named.rows_of(about.form, given, absence=about.model.null_condition is not None)
    if not about.form.embeddings:
        return jnp.arange(about.form.num_classes)
    labels = about.labels()
    assert labels is not None  # the form says that there are some
    return jnp.asarray(labels[: max(c.samples, c.grid, 1)])


def check_takes_labels(model: Model) -> None:
    """Refuse a network that takes no labels.

    Raises:
        ConfigError: this is one.
    """
    if not model.conditional:
        raise ConfigError(
            "this network takes no class labels (recipe.conditional = False): train one with recipe.conditional=true, "
            "and with recipe.label_dropout=0.1 if it is to be guided"
        )


def null_condition(model: Model) -> float:
    """The condition that stands for none.

    Raises:
        ConfigError: training hid no labels, so that the network knows no such condition.
    """
    if model.null_condition is None:
        raise ConfigError(
            "guidance needs a network that was trained with labels and without; this one never saw an example whose "
            "label was hidden: train one with recipe.conditional=true and recipe.label_dropout=0.1"
        )
    return model.null_condition


def known_labels(labels: tuple[int, ...] | None, count: int, key: str = "guidance.labels") -> Array:
    """The labels `[K]`; all if none are given.

    Raises:
        ConfigError: a class that does not exist.
    """
    labels = tuple(range(count)) if labels is None else labels
    if not labels or any(not isinstance(k, int) or not 0 <= k < count for k in labels):
        raise ConfigError(f"{key} = {labels}: classes are 0 to {count - 1}; choose among these")
    return jnp.asarray(labels, jnp.int32)


def checked_interval(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the interval of log SNR, refusing one that is not (low, high).

    Raises:
        ConfigError: it is not.
    """
    if interval is not None and (len(interval) != 2 or not interval[0] <= interval[1]):
        raise ConfigError(f"guidance.interval = {interval}; wanted (low, high), log signal-to-noise ratios")
    return interval


def title(config: Config) -> str:
    """The guidance and all its settings, as part of a file's name: `restore-blur-1.5-pigdm-sigma_y-0.05`."""
    words = _words(config.guidance)
    return re.sub(r"[^\w.]+", "-", "-".join(words)).strip("-")


def suffix(config: Config) -> str:
    """What the files of guided samples are called after those of the model as it is."""
    return "" if config.guidance.name == "none" else f"-{title(config)}"


def _words(part: Part) -> list[str]:
    """The name of a part, the parts below it, and its settings."""
    below, plain = [], []
    for key, value in part.items():
        if isinstance(value, Part):
            below += _words(value) if value.name != "none" else []
        elif key != "name":
            text = Path(value).name if isinstance(value, str) else str(value)
            plain.append(text if key in ("factor", "std", "share", "path") else f"{key}-{text}")
    return [Path(part.name).name, *below, *plain]  # a mask is named by its file


__all__ = [
    "NOISE",
    "About",
    "ByLabels",
    "Guidance",
    "OfImages",
    "Task",
    "check_takes_labels",
    "checked_interval",
    "conditions",
    "known_labels",
    "null_condition",
    "suffix",
    "title",
]
