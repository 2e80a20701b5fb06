"""The seam of training: one kind of training is one recipe, in one file of `recipes/`.

The loop knows nothing of what it trains: it draws batches, calls `loss`, follows the gradient, and keeps what `init`
and `carry` made. A recipe's own settings are the keyword parameters of its constructor.
"""

from __future__ import annotations

import abc
import copy
import functools
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Self, TypeAlias

import jax
import optax
from jax import Array

from scorejax import data
from scorejax.experiment.assemble.data import dataset
from scorejax.experiment.batch import Batch
from scorejax.experiment.config import Config, Setting
from scorejax.experiment.model import Model
from scorejax.experiment.record import Record
from scorejax.numerics.ranges import Below1, Count, Natural, NonNegative, Positive
from scorejax.numerics.trees import PyTree
from scorejax.runtime.errors import ConfigError
from scorejax.sdes.corruption import Corruption

Params: TypeAlias = PyTree
"""A tree of arrays: what training changes."""
Metrics: TypeAlias = dict[str, Array]


def training_settings(*, clip: float, ema_decay: float) -> Mapping[str, Setting]:
    """How something is trained next to a trained model: the settings of such a training, with their defaults.

    Args:
        clip: default of the largest norm of the gradient.
        ema_decay: default of the decay of the average of the weights.
    """
    return {
        "steps": Setting(Count, 10_000, "optimizer steps"),
        "batch": Setting(Count, 128, "examples in a step, over all devices"),
        "lr": Setting(Positive, 1e-3, "learning rate, after the warm-up"),
        "warmup": Setting(Natural, 100, "steps of linear warm-up"),
        "log_every": Setting(Count, 50, "steps between lines of the log"),
        "checkpoint_every": Setting(Count, 1000, "steps between checkpoints"),
        "clip": Setting(NonNegative, clip, "largest global norm of the gradient; 0: no clipping"),
        "ema_decay": Setting(Below1, ema_decay, "of the average of the weights; 0: no average"),
    }


class Given:
    """What a recipe is made for.

    Attributes:
        config: of the run.
        beside: the trained model next to which something is trained; None for most recipes.
    """

    def __init__(
        self,
        config: Config,
        examples: data.Dataset | None = None,
        beside: Beside | None = None,
        record: Record | None = None,
    ) -> None:
        """Data are read when they are first asked for, so that mistakes in settings show before.

        Args:
            config: of the run.
            examples: the training data; read from section `data` if not given.
            beside: the trained model next to which something is trained; the data are then those of its run.
            record: what the run remembers of its data; made of the data if not given.

        Raises:
            ConfigError: the examples are not those of the record.
        """
        self.config, self.beside, self._record = config, beside, record
        if examples is not None:
            if record is not None:
                record.check(examples)
            self.__dict__["examples"] = examples

    @functools.cached_property
    def examples(self) -> data.Dataset:
        """The training data. The loop and the evaluations read them; a recipe is made of `form` alone.

        Raises:
            ConfigError: no such data, or others than those of the run.
        """
        if self.beside is not None:
            return self.beside.recipe.given.examples
        found = dataset(self.config)
        if self._record is not None:
            self._record.check(found)
        return found

    @functools.cached_property
    def record(self) -> Record:
        """What the run remembers of its data."""
        if self.beside is not None and self._record is None:
            return self.beside.recipe.given.record
        return self._record or Record.of_config(self.examples, self.config)

    @property
    def form(self) -> data.Form:
        """The form of the data; do not ask for it in the constructor of a recipe."""
        return self.record.form

    @functools.cached_property
    def space(self) -> data.Space:
        """Model space: where the recipe sees the data."""
        return self.record.space(self.config)


class Beside(NamedTuple):
    """A trained, frozen model.

    Attributes:
        recipe: that made it.
        params: its averaged weights.
        step: of its checkpoint.
    """

    recipe: Recipe
    params: Params
    step: int

    @property
    def model(self) -> Model:
        """The capabilities of the model."""
        return self.recipe.model(self.params)


class Recipe(abc.ABC):
    """One kind of training."""

    uses: ClassVar[tuple[str, ...]] = ("model",)
    """Sections of the config that it reads, beyond data, optim, ema, train and eval; others stay at their defaults."""
    carry_is_shared: bool = True
    """Whether the carry is the same on every device; if not, a run goes on with as many devices as it began with."""
    draws: bool = True
    """Whether samples can be drawn of what it trains."""
    maps_scores: ClassVar[bool] = False
    """Whether its attribute `network` maps `(x, label[, condition])` to an array of the shape of `x`."""
    takes_missing: ClassVar[bool] = False
    """Whether NaN in an example may be a number that is missing."""
    process: Corruption | None = None
    """What its sampler steps on, if not the process of section `sde`."""
    section: ClassVar[str | None] = None
    """For what is trained next to a trained model: the section of its config; the mode is then `train_SECTION`."""
    needs: ClassVar[tuple[str, ...]] = ("score",)
    """For such a recipe: capabilities; the model that it is trained next to must have at least one of them."""
    training: ClassVar[Mapping[str, object]] = {}
    """For such a recipe: the settings of its training, with their defaults, see `training_settings`."""

    @staticmethod
    def folder(settings: dict[str, object]) -> str:
        """For such a recipe: where it lies in the folder of the model's run, by its own settings."""
        raise NotImplementedError

    def __init__(self, given: Given) -> None:
        """Check the settings, as far as that goes without the data."""
        self.given = given

    @property
    def config(self) -> Config:
        """The config of the run."""
        return self.given.config

    @property
    def has_convolutions(self) -> bool:
        """Whether a step of training has convolutions: all but tables do, unless the network serves these as well."""
        of_vectors = "model" in self.uses and 1 in getattr(self.config.model.find(), "ranks", ())
        return len(self.given.form.shape) > 1 and not of_vectors

    @abc.abstractmethod
    def init(self, key: Array) -> Params:
        """Return what training changes, before the first step."""

    def carry(self, key: Array) -> Params | None:
        """Return what is remembered from step to step without being trained; None if nothing is."""
        return None

    @abc.abstractmethod
    def loss(
        self, params: Params, carry: Params | None, batch: Batch, keys: Array
    ) -> tuple[Array, Params | None, Metrics]:
        """Return the loss of each example `[b]`, the new carry, and named metrics to be logged (scalars or `[b]`).

        The loop averages the losses over all devices and follows the gradient of that mean.

        Args:
            params: what `init` made, some steps later.
            carry: what `carry` or the step before returned.
            batch: this device's part of the batch.
            keys: one PRNG key per example `[b]`, of this step.
        """

    def trusts(self, metrics: Metrics) -> Array | None:
        """Return whether a step may be followed, by its metrics, the means over all devices; None: any finite one.

        After others training goes on from the averaged weights, which stay, and counts them in the metric `went_back`.
        """
        return None

    def remark(self, means: Mapping[str, float]) -> str | None:
        """Return what is worth a warning in the means of the metrics since the last line of the log; None: nothing."""
        return None

    def optimizer(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        """Return the optimizer, given that of section `optim`; several are one `optax.multi_transform`."""
        return optimizer

    @abc.abstractmethod
    def model(self, params: Params) -> Model:
        """Return what a model with these weights can do; also called inside compiled programs."""

    def load(self, path: str) -> tuple[Params, int]:
        """Return published weights, and their step, for `init_from`.

        Raises:
            ConfigError: this kind of training has none.
        """
        raise ConfigError(f"init_from = {path!r}: recipe {self.config.recipe.name!r} has no published weights")

    def placed(self, frozen: Params | None) -> Self:
        """Return the recipe whose frozen neighbor has these weights, such as the arguments of a compiled program."""
        if self.given.beside is None:
            return self
        other = copy.copy(self)
        other.given = copy.copy(self.given)
        other.given.beside = self.given.beside._replace(params=frozen)
        return other

    def shapes(self) -> Params:
        """Return shapes and types of what training changes."""
        return jax.eval_shape(self.init, jax.random.key(0))


def make_recipe(
    config: Config,
    examples: data.Dataset | None = None,
    beside: Beside | None = None,
    record: Record | None = None,
) -> Recipe:
    """The recipe of a config.

    Args:
        config: the run's.
        examples: its training data; read when they are needed if not given.
        beside: the trained model next to which something is trained.
        record: what the run remembers of its data, from which the recipe is made without reading them.

    Raises:
        ConfigError: no such recipe, or a setting of it that does not fit.
    """
    kind = config.recipe.find()
    if not (isinstance(kind, type) and issubclass(kind, Recipe)):
        raise ConfigError(f"recipe {config.recipe.name!r} is no scorejax.experiment.recipe.Recipe; derive it from that")
    return config.recipe.make(Given(config, examples, beside, record))
