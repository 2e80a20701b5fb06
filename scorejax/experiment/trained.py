"""A trained model, read back from its run: averaged weights, and the recipe that says what they can do."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from scorejax import data
from scorejax.experiment import averages
from scorejax.experiment import record as record_lib
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.experiment.model import Model, any_of
from scorejax.experiment.recipe import Beside, Params, Recipe, make_recipe
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import ConfigError
from scorejax.sdes.corruption import SDE, Corruption


class Trained(NamedTuple):
    """A trained model.

    Attributes:
        config: the run's.
        recipe: what kind of training it comes from.
        params: the averaged weights.
        step: of the checkpoint they come from.
    """

    config: Config
    recipe: Recipe
    params: Params
    step: int

    @property
    def model(self) -> Model:
        """What it can do. Inside a compiled program call `recipe.model` on the weights that the program is given."""
        return self.recipe.model(self.params)

    @property
    def form(self) -> data.Form:
        """The form of its data."""
        return self.recipe.given.form

    @property
    def space(self) -> data.Space:
        """Model space, where it sees the data."""
        return self.recipe.given.space

    @property
    def sde(self) -> SDE:
        """Its forward process.

        Raises:
            ConfigError: it has none.
        """
        found = self.model.sde
        if found is None:
            raise ConfigError(f"recipe {self.config.recipe.name!r} has no forward process")
        return found

    @property
    def process(self) -> Corruption:
        """What samples are drawn along: its forward process, or the degradation that it undoes.

        Raises:
            ConfigError: it has neither.
        """
        return self.model.degradation or self.sde

    def need(self, what: str, *capabilities: str) -> None:
        """Refuse a model that has none of these capabilities.

        Raises:
            ConfigError: it has none of them.
        """
        if self.model.offers(*capabilities):
            return
        raise ConfigError(
            f"{what} needs a model with {any_of(capabilities)}; recipe {self.config.recipe.name!r} "
            f"makes one with {self.model.described() or 'none of the capabilities'}: leave it out, or choose another "
            "--mode or --workdir"
        )

    @property
    def beside(self) -> Beside:
        """The model in the form that a recipe trained next to it takes."""
        return Beside(self.recipe, self.params, self.step)


def restore(config: Config, workdir: str | Path, step: int | None = None) -> Trained:
    """The model of a run: averaged weights of its newest whole checkpoint; if it has none, those of `init_from`.

    With `eval.average` they are the average of that length, made of the snapshots of the run; with `eval.best` those of
    the least validation loss.

    Args:
        config: the run's.
        workdir: its folder.
        step: of which checkpoint; the newest whole one if not given.

    Raises:
        RunError: no readable checkpoint, a config that does not fit, or data that are not those of the run.
    """
    recipe = make_recipe(config, record=record_lib.of_run(workdir, config))
    if config.init_from and not checkpoint.steps(workdir):
        workdir_lib.adopt(workdir, config)
        return Trained(config, recipe, *recipe.load(config.init_from))
    if config.eval.best:
        return Trained(config, recipe, *averages.read_best(workdir, recipe.shapes()))
    if config.eval.average is not None:
        return Trained(config, recipe, *averages.read(workdir, recipe.shapes(), config.eval.average))
    restored = checkpoint.restore_ema(workdir, recipe.shapes(), step)
    return Trained(config, recipe, restored.fields["ema"], restored.step)


def restore_beside(folder: str | Path, beside: Beside) -> Trained:
    """What was trained next to a model, from its folder.

    Args:
        folder: of the run.
        beside: the model; it must have the weights of that training.

    Raises:
        RunError: no readable checkpoint, or one that was made next to other weights.
    """
    workdir_lib.check_beside(folder, beside.params)
    config = workdir_lib.saved_config(folder)
    recipe = make_recipe(config, beside=beside)
    restored = checkpoint.restore_ema(folder, recipe.shapes())
    return Trained(config, recipe, restored.fields["ema"], restored.step)
