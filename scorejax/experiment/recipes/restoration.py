"""Cold diffusion: a network that restores data from every level of a degradation (Bansal et al., arXiv 2208.09392)."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jax import Array
from jax.tree_util import Partial

from scorejax import data
from scorejax.degradations import DEGRADATIONS, Degradation
from scorejax.degradations.mixing import Animorph
from scorejax.experiment import config as configs
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.assemble.data import dataset, fitting
from scorejax.experiment.config import Seam, takes
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.models.dropout import DropoutKeys, in_training
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Natural
from scorejax.numerics.trees import PyTree
from scorejax.runtime.errors import ConfigError, user_errors

_LEVEL, _DRAW = 1, 2  # streams of an example's key; 0 prepares the example
_OTHERS, _FEW = 2_000, 64  # examples of another set, and made up, at most

DEGRADATION = Seam(
    DEGRADATIONS,
    "degradation",
    "blur",
    supplied=frozenset({"data_range"}),
    makes="scorejax.degradations:Degradation",
)


class Restoration(Recipe):
    """A restoration `R(x_t, t)` of degraded data, by `|R(D(x_0, t), t) - x_0|` at even levels."""

    uses = ("model", "sampler", "guidance")
    maps_scores = True

    def __init__(
        self,
        given: Given,
        *,
        degradation: Annotated[Any, DEGRADATION] = "blur",
        loss: Literal["l1", "l2"] = "l1",
        residual: bool = False,
        others: str | None = None,
        other_classes: Annotated[tuple[Natural, ...], MinLen(1)] | None = None,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            degradation: what is undone.
            loss: of an example: the mean of absolute differences, or of their squares.
            residual: whether the network puts out what is to be added to the degraded data, not the data themselves.
            others: of animorph: folder of images, or .npz file, that the data turn into; None: each other.
            other_classes: of animorph, instead: labels of the examples of the same source that they turn into.
        """
        super().__init__(given)
        self._make = DEGRADATIONS[degradation] if isinstance(degradation, str) else degradation
        self.squared, self.residual, self._others = loss == "l2", residual, (others, other_classes)
        networks.check_network(self.config, "scores")
        with user_errors("recipe.degradation"):
            self.process: Degradation = self._make()
        self.draws = self.process.starts
        self._fits = self.draws and self.process.asks_for_data and not isinstance(self.process, Animorph)
        self._check_others()

    def _check_others(self) -> None:
        given = {"others": self._others[0], "other_classes": self._others[1]}
        stated = [key for key, value in given.items() if value is not None]
        if len(stated) > 1:
            raise ConfigError("recipe.others and recipe.other_classes both say what the data turn into; leave one out")
        if stated and not isinstance(self.process, Animorph):
            raise ConfigError(
                f"recipe.{stated[0]} is of recipe.degradation = 'animorph' alone, got "
                f"{self.config.recipe.degradation.name!r}"
            )

    @functools.cached_property
    def network(self) -> nn.Module:
        """The network for the data of the run."""
        kind, form = self.config.model.find(), self.given.form
        if "num_levels" in takes(kind):
            raise ConfigError(f"model = {self.config.model.name!r} knows noise by its level; choose ddpmpp or ddpm")
        made = networks.network(self.config, form, "scores", label_range=(0.0, max(self.process.levels - 1.0, 1.0)))
        if getattr(made, "scale_by_sigma", False) or getattr(made, "embedding", "none") == "fourier":
            raise ConfigError(
                f"model = {self.config.model.name!r} is given a level, not sigma: set model.scale_by_sigma=false and "
                "model.embedding=positional"
            )
        if getattr(made, "learned_range", False):
            raise ConfigError("model.learned_range is of scores; a restoration has no variance")
        self._check(form)
        return made

    def _check(self, form: data.Form) -> None:
        """Refuse data that the degradation does not fit, before anything is compiled."""
        process, shape = self._known(None), (2, *form.shape)

        def try_it(key: Array, x: Array) -> Array:
            return process.degrade(x, 1.0, process.draw(jax.random.split(key, 2), shape))

        with user_errors(f"recipe.degradation = {self.config.recipe.degradation.name!r} on data = {form.name!r}"):
            jax.eval_shape(try_it, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))

    def init(self, key: Array) -> Params:
        found = {"network": networks.init_params(key, self.network, self.given.form.shape)}
        return found | ({"start": self._start()} if self._fits else {})

    def shapes(self) -> Params:
        """As of any recipe, without reading the data."""
        module, shape = self.network, self.given.form.shape
        found = {"network": jax.eval_shape(lambda key: networks.init_params(key, module, shape), jax.random.key(0))}
        if self._fits:
            found["start"] = {name: jax.ShapeDtypeStruct((n,), jnp.float32) for name, n in self._sizes().items()}
        return found

    def loss(self, params: Params, carry: None, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        process = self._known(None)
        t = process.time_of(keys_lib.uniform(keys_lib.fold_in(keys, _LEVEL), keys.shape))
        x = process.degrade(batch.x, t, process.draw(keys_lib.fold_in(keys, _DRAW), batch.x.shape))
        error = self._restore(params, process, batch.dropout)(x, t) - batch.x
        size = jnp.square(error) if self.squared else jnp.abs(error)
        return jnp.mean(size.reshape(len(x), -1), axis=1), None, {}

    def model(self, params: Params) -> Model:
        process = self._known(params)
        return Model(degradation=process, restore=self._restore(params, process))

    def _restore(self, params: Params, process: Degradation, dropout: DropoutKeys | None = None) -> Partial:
        return Partial(_Restore(self.network, self.residual), params["network"], process, dropout)

    # ---- What the data say of the degradation --------------------------------------------------------------------

    def _known(self, params: Params | None) -> Degradation:
        """The degradation on the data of the run, with what was fitted to them, which the weights hold."""
        interval = self.given.space.interval
        with user_errors("recipe.degradation"):
            made = self._make() if interval is None else self._make(data_range=interval)
        if isinstance(made, Animorph):
            return made.fitted(made.fit(self._images))
        if params is None or not self._fits:
            return made
        shapes = self._shapes()
        return made.fitted({name: value.reshape(shapes[name]) for name, value in params["start"].items()})

    def _start(self) -> PyTree:
        """What is fitted to the training data, which no step changes; flat, so that no decay of weights does."""
        with jax.ensure_compile_time_eval():
            found = self.process.fit(fitting(self.given.examples, self.given.space))
        return {name: value.reshape(-1) for name, value in found.items()}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what is fitted, by a trial on a few made-up examples."""
        few = np.random.default_rng(0).random((_FEW, *self.given.form.shape))
        return {name: value.shape for name, value in self.process.fit(few).items()}

    def _sizes(self) -> dict[str, int]:
        return {name: math.prod(shape) for name, shape in self._shapes().items()}

    @functools.cached_property
    def _images(self) -> np.ndarray:
        """The images of the other set, in model space."""
        (path, classes), form = self._others, self.given.form
        if path is not None:
            if not (form.gray_levels and form.pictured):
                raise ConfigError("recipe.others holds images, but the data are vectors; give recipe.other_classes")
            with user_errors("recipe.others"):
                c = self.config.data
                found = data.given(path, form.shape, form.gray_levels, crop=c.crop, alpha=c.alpha)
        elif classes is not None:
            own = configs.copy(self.config)
            own.data.classes = classes
            found = dataset(own).examples
        else:
            found = self.given.examples.examples
        few = self.given.space.encode(np.asarray(found[data.spread(len(found), _OTHERS)]))
        with jax.ensure_compile_time_eval():
            return np.asarray(self.given.space.middle(jnp.asarray(few)))


@dataclasses.dataclass(frozen=True)
class _Restore:
    """Static part of a bound restoration."""

    module: nn.Module
    residual: bool

    def __call__(self, params: PyTree, process: Degradation, dropout: DropoutKeys | None, x: Array, t: Array) -> Array:
        label = process.label(jnp.broadcast_to(t, x.shape[:1]))
        more, rngs = in_training(dropout)
        out = self.module.apply({"params": params, **more}, x, label, None, dropout is not None, rngs=rngs)
        out = jnp.asarray(out)
        return x + out if self.residual else out
