"""A score, learned by denoising, by score matching, or by a variational bound."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.tree_util import Partial

from scorejax import guidance, models
from scorejax.experiment.assemble import augmentation, parameters
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.assemble import score as scores
from scorejax.experiment.assemble.data import fitting
from scorejax.experiment.assemble.objective import Objective, coefficients, of_config
from scorejax.experiment.assemble.training import kept_by
from scorejax.experiment.config import takes
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.models import pretrained
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.conditions import owners
from scorejax.numerics.ranges import Below1, Positive
from scorejax.objectives import LossHistory
from scorejax.reverse.variance import VarianceHead
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.scores.observed import observed
from scorejax.scores.predictions import Score as ScoreFunction
from scorejax.scores.predictions import check_prediction
from scorejax.scores.self_conditioning import in_training
from scorejax.sdes import SDE
from scorejax.sdes.discrete import DDPM

_OBJECTIVE, _HIDING, _AUGMENT, _ESTIMATED = 1, 2, 3, 4  # streams of an example's key; 0 prepares the example


Predicts: TypeAlias = Literal[
    "noise", "data", "score", "v", "velocity", "edm", "previous_mean", "mean_shift", "sharpening"
]


class Score(Recipe):
    """The score of noisy data at every time, by a network of `(x, noise label[, condition])`."""

    uses = ("sde", "model", "objective", "sampler", "guidance", "sweep")
    maps_scores = True
    takes_missing = True

    def __init__(
        self,
        given: Given,
        *,
        predicts: Predicts = "noise",
        sigma_data: Positive = 0.5,
        noise_label: scores.NoiseLabel = "process",
        reverse_variance: scores.ReverseVariance = "range",
        conditional: bool = False,
        label_dropout: Below1 = 0.0,
        augment: Annotated[augmentation.Augment, augmentation.AUGMENT] = "none",
        self_conditioning: Below1 = 0.0,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            predicts: what the network puts out: noise, data, score, v, velocity, edm; on a chain of levels also
                previous_mean, mean_shift and sharpening.
            sigma_data: for `predicts = "edm"`: the standard deviation of the data.
            noise_label: what the network is given about the noise: the label of the process, or of the ratio r of noise
                to signal ln(r) / 4 (log_ratio: EDM) or ln(r / 2) (log_half_ratio: EDM's form of VE).
            reverse_variance: what the second half of the output of a network with model.learned_range is: between two
                bounds (range: improved DDPM), or around the forward variance (around_forward: Sohl-Dickstein et al.
                2015).
            conditional: whether the network takes the labels of the data as a condition.
            label_dropout: chance that training hides an example's label; above 0 the run can be guided. Of several
                conditions each is hidden with this chance, and all of them together too.
            augment: how examples of training are changed at random, with labels that say how and are zero in sampling.
            self_conditioning: chance that an example of training is given the network's own estimate of the data, as
                more channels; 0.5 as published. Above 0, a sampler hands the estimate on from step to step, and there
                is no likelihood. 0: no such channels.
        """
        super().__init__(given)
        self.self_conditioning = self_conditioning
        self.augment = augmentation.chosen(augment)
        self.predicts, self.sigma_data = predicts, sigma_data
        self.noise_label: scores.NoiseLabel = noise_label
        self.reverse_variance: scores.ReverseVariance = reverse_variance
        self.conditional, self.label_dropout = conditional, label_dropout
        if label_dropout and not conditional:
            raise ConfigError("recipe.label_dropout hides class labels; it needs recipe.conditional=true")
        networks.check_network(self.config, "scores")
        self.sde = networks.sde(self.config)
        with user_errors("recipe.predicts"):
            check_prediction(self.sde, predicts, "edm")
        if getattr(self.config.model, "learned_range", None) and predicts == "edm":
            raise ConfigError("model.learned_range does not go with recipe.predicts = 'edm'; choose noise, data or v")
        if noise_label != "process" and getattr(self.config.model, "learned_range", None):
            raise ConfigError("recipe.noise_label does not go with model.learned_range, whose label is of its chain")
        if noise_label != "process":
            networks.gaussian(self.sde, "recipe.noise_label, the ratio of noise to signal")
        if reverse_variance == "around_forward" and not isinstance(self.sde, DDPM):
            raise ConfigError(
                "recipe.reverse_variance = 'around_forward' is of a chain whose steps add less variance than 1, got "
                f"sde = {self.config.sde.name!r}; set sde = 'ddpm'"
            )
        with user_errors("section objective"):
            self._objective(None)  # found out here, not inside the compiled step
        if self_conditioning:
            networks.gaussian(self.sde, "recipe.self_conditioning")
            self._check_self_conditioning()
        if self.augment is not None and {"chain", "centered"} & takes(self.config.objective.find()):
            raise ConfigError(
                f"recipe.augment = {self.config.recipe.augment.name!r} trains on changed examples, and "
                f"objective = {self.config.objective.name!r} is a bound for those of the data: set "
                "recipe.augment=none, or objective=denoising"
            )

    def _check_self_conditioning(self) -> None:
        """Refuse what needs a score of point and time alone."""
        alone = {
            f"objective={self.config.objective.name}": self.config.objective.name != "denoising",
            "model.learned_range=true": bool(getattr(self.config.model, "learned_range", False)),
            f"recipe.augment={self.config.recipe.augment.name}": self.augment is not None,
        }
        for setting, is_set in alone.items():
            if is_set:
                raise ConfigError(
                    f"recipe.self_conditioning gives the network its last estimate, and does not go with {setting}: "
                    "set recipe.self_conditioning=0, or change that setting"
                )

    @functools.cached_property
    def network(self) -> nn.Module:
        """The network for the data of the run."""
        form = self.given.form
        if self.sde.shape not in (None, form.shape):
            raise ConfigError(
                f"sde.shape = {self.sde.shape}, but an example of {form.name} has the shape {form.shape}: set "
                f"sde.shape={','.join(map(str, form.shape))}"
            )
        labels = augmentation.of_network(self.augment, form)
        module = networks.of_scores(
            self.config, form, self.sde, conditional=self.conditional,
            self_conditioned=bool(self.self_conditioning), **labels,
        )  # fmt: skip
        augmentation.check(module, labels, self.config)
        return module

    @property
    def _about(self) -> scores.About:
        """How the network is preconditioned, and what else it is given."""
        return {
            "sigma_data": self.sigma_data,
            "noise_label": self.noise_label,
            "self_conditioned": bool(self.self_conditioning),
        }

    @property
    def null_condition(self) -> float | None:
        """The condition that stands for none, if the network was trained with one."""
        if not (self.conditional and self.label_dropout):
            return None
        return models.ABSENT if self.given.form.embeddings else float(self.given.form.num_classes)

    def init(self, key: Array) -> Params:
        return self._complete(networks.init_params(key, self.network, self.given.form.shape), self._fitting)

    def shapes(self) -> Params:
        """As of any recipe, without reading the data."""
        module, shape = self.network, self.given.form.shape
        return jax.eval_shape(lambda key: self._complete(networks.init_params(key, module, shape)), jax.random.key(0))

    def _complete(self, params: Params, examples: Callable[[], np.ndarray] | None = None) -> Params:
        """All that is trained or kept next to the network: what belongs to its process, and to the weighting."""
        trained = coefficients(self.config.objective)
        return parameters.with_weighting(parameters.with_process(self.sde, params, examples), trained)

    def _fitting(self) -> np.ndarray:
        return fitting(self.given.examples, self.given.space)

    def carry(self, key: Array) -> LossHistory | None:
        return self.objective.history()

    @functools.cached_property
    def objective(self) -> Objective:
        """The objective that training minimizes."""
        return self._objective(self.given.space.gray_levels)

    def _objective(self, gray_levels: int | None) -> Objective:
        return of_config(self.config, self.sde, gray_levels=gray_levels, sigma_data=self.sigma_data)

    def loss(
        self, params: Params, carry: LossHistory | None, batch: Batch, keys: Array
    ) -> tuple[Array, LossHistory | None, Metrics]:
        condition = batch.labels if self.conditional else None
        if condition is not None and self.null_condition is not None:
            hiding = keys_lib.fold_in(keys, _HIDING)
            condition = self._hidden(hiding, condition)
        sde = parameters.process_of(self.sde, params)
        t = batch.whole(functools.partial(self.objective.draw, carry))
        learns_range = getattr(self.network, "learned_range", False)
        module = scores.run_once(self.network) if learns_range else self.network
        of = functools.partial(scores.score, sde, module, params, self.predicts, **self._about)
        x, labels = batch.x, None
        if self.augment is not None:
            x, changes = self.augment(keys_lib.fold_in(keys, _AUGMENT), x)
            labels = changes if self.augment.labeled else None
        score = Partial(_given, of(dropout=batch.dropout, augmented=labels), condition)
        head = self._variances(sde, module, params, condition, batch.dropout) if learns_range else None
        trained = () if coefficients(self.config.objective) is None else (params["weighting"],)
        share = None
        if self.self_conditioning:
            used = keys_lib.uniform(keys_lib.fold_in(keys, _ESTIMATED), keys.shape) < self.self_conditioning
            score = in_training(networks.gaussian(sde, "recipe.self_conditioning"), score, used)
        if self.given.form.missing:
            score, x, share = self._of_known(sde, score, x)
        losses = self.objective.loss(keys_lib.fold_in(keys, _OBJECTIVE), sde, score, head, x, t, carry, *trained)
        losses = losses if share is None else losses / share
        if carry is None:
            return losses, None, {}
        return losses, self.objective.remember(carry, batch.gather(t), batch.gather(lax.stop_gradient(losses))), {}

    def _of_known(self, sde: SDE, score: ScoreFunction, x: Array) -> tuple[ScoreFunction, Array, Array]:
        """The score and the examples of a loss to which missing numbers add nothing, and what to divide it by."""
        known = jnp.isfinite(x)
        score = observed(networks.gaussian(sde, "data.missing"), score, known, spread=0.0)
        is_mean = self.config.objective.reduction == "mean"
        share = jnp.mean(known.reshape(len(x), -1), axis=1) if is_mean else jnp.ones(len(x))
        return score, jnp.where(known, x, 0.0), share

    def _hidden(self, keys: Array, condition: Array) -> Array:
        """The conditions of a batch, some of them hidden: several each by itself."""
        several = self.given.form.conditions
        if len(several) > 1:
            return guidance.drop_each(keys, condition, owners(several), self.label_dropout)
        assert self.null_condition is not None
        return guidance.drop_labels(keys, condition, self.null_condition, self.label_dropout)

    def optimizer(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        project = getattr(self.network, "project", None)
        if project is None:
            return optimizer
        return optax.chain(optimizer, kept_by(lambda params: parameters.with_network(params, project)))

    def model(self, params: Params) -> Model:
        sde = parameters.process_of(self.sde, params)
        learns_range = getattr(self.network, "learned_range", False)
        of_range = Partial(functools.partial(self._variances, sde, self.network), params) if learns_range else None
        trained_bound = Partial(functools.partial(self.bound_bits, sde)) if self.objective.is_continuous_bound else None
        return Model(
            sde=sde,
            score=scores.score(sde, self.network, params, self.predicts, **self._about),
            learned_range=of_range,
            bound_bits=trained_bound,
            self_conditioned=bool(self.self_conditioning),
            observes=self.given.form.missing,
            conditional=self.conditional,
            null_condition=self.null_condition,
            num_classes=self.given.form.num_classes if self.conditional else 0,
            feature_layer=models.last_norm(self.network),
        )

    @property
    def _variances(self) -> Callable[..., VarianceHead]:
        """`(sde, module, params, condition, dropout=None)`: the reverse variances of the network."""
        return functools.partial(scores.learned_range, kind=self.reverse_variance)

    def bound_bits(self, sde: SDE, keys: Array, score: ScoreFunction, raw: Array, times_per_example: int) -> Array:
        """The bound that was trained, in bits/dim `[B]`: of each example the mean over equally spaced times."""
        first = keys_lib.uniform(keys_lib.fold_in(keys, times_per_example), keys.shape)

        def once(i: Array) -> Array:
            t = sde.time_of(jnp.mod(first + i / times_per_example, 1.0))
            return self.objective.loss(keys_lib.fold_in(keys, i), sde, score, None, raw, t, None)

        return jnp.mean(lax.map(once, jnp.arange(times_per_example)), axis=0)

    def load(self, path: str) -> tuple[Params, int]:
        shape = self.given.form.shape
        params, step = pretrained.load(path, self.network, max(shape[:2]), channels=shape[-1])
        return self._complete(params, self._fitting), step


def _given(score: Callable[..., Array], condition: Array | None, x: Array, t: Array) -> Array:
    if condition is not None and len(x) > len(condition):  # several points of an example come in turns
        condition = jnp.tile(condition, (len(x) // len(condition), *[1] * (condition.ndim - 1)))
    return score(x, t, condition)
