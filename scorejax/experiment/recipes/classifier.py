"""A classifier of noisy data, whose gradient steers scores toward a class."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import models, objectives
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.assemble import score as scores
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.models import pretrained
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Below1
from scorejax.objectives.classification import Weighting
from scorejax.objectives.time_sampling import TimeSampling
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.sdes import LinearSDE

_OBJECTIVE = 1  # stream of an example's key; 0 prepares the example


class Classifier(Recipe):
    """Log-probabilities of classes at every noise level, by the cross entropy."""

    draws = False
    uses = ("sde", "model")

    def __init__(
        self,
        given: Given,
        *,
        weighting: Weighting = "simple",
        time_sampling: TimeSampling = "uniform",
        label_smoothing: Below1 = 0.0,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            weighting: of the noise levels, see `objectives.classification`: simple, log_snr.
            time_sampling: uniform, stratified, importance.
            label_smoothing: share of a label that is spread over all classes.
        """
        super().__init__(given)
        networks.check_network(self.config, "classes")
        self.sde = networks.gaussian(networks.sde(self.config), "a classifier of noisy data")
        self.time_sampling = time_sampling
        with user_errors("recipe.time_sampling"):
            objectives.time_density(self.sde, jnp.full(1, self.sde.t_max), time_sampling)
        if weighting == "log_snr":
            with user_errors("recipe.weighting = 'log_snr', where 'simple' fits every process"):
                objectives.time_density(self.sde, jnp.full(1, self.sde.t_max), "importance")
        self.entropy = functools.partial(
            objectives.classification,
            time_sampling=time_sampling,
            weighting=weighting,
            label_smoothing=label_smoothing,
        )

    @functools.cached_property
    def network(self) -> nn.Module:
        """The network for the data of the run."""
        form = self.given.form
        if form.num_classes < 2:
            raise ConfigError(f"a classifier needs two classes or more; {form.name!r} has none or one")
        return networks.network(self.config, form, "classes", self.sde, num_classes=form.num_classes)

    def init(self, key: Array) -> Params:
        return networks.init_params(key, self.network, self.given.form.shape)

    def loss(self, params: Params, carry: None, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        t = batch.whole(lambda key, n: objectives.draw_times(key, self.sde, n, self.time_sampling))
        logits = scores.logits(self.sde, self.network, params, dropout=batch.dropout)
        keys = keys_lib.fold_in(keys, _OBJECTIVE)
        assert batch.labels is not None  # the network is refused for data without classes
        return self.entropy(keys, self.sde, logits, batch.x, batch.labels, t=t), None, {}

    def load(self, path: str) -> tuple[Params, int]:
        if not isinstance(self.network, models.ADMClassifier):
            return super().load(path)
        shape = self.given.form.shape
        return pretrained.load(path, self.network, max(shape[:-1]), channels=shape[-1])

    def model(self, params: Params) -> Model:
        return self._model(params, self.sde, None)

    def _model(self, params: Params, sde: LinearSDE, cleanest: float | None) -> Model:
        """What it can do on data of this process, the cleanest of which pass for this clean."""
        of = functools.partial(scores.logits, sde, self.network, params, cleanest=cleanest)
        return Model(
            sde=sde,
            logits=of(),
            features=of(headless=True),
            of_process=Partial(self._model, params) if scores.by_log_snr(self.network) else None,
            num_classes=self.given.form.num_classes,
        )
