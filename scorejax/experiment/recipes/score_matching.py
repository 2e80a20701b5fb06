"""A score of the data alone, or of the data with one level of noise, by score matching: no time, and no process."""

from __future__ import annotations

import functools
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import sdes
from scorejax.experiment.assemble import matching as matchings
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.assemble import score as scores
from scorejax.experiment.assemble.matching import REQUIRED_MATCHING, Matching
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.models.dropout import DropoutKeys
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import NonNegative, Positive
from scorejax.sdes import LinearSDE

_OBJECTIVE = 1  # stream of an example's key; 0 prepares the example


class ScoreMatching(Recipe):
    """The score of one density, by an objective that knows no time; samples by Langevin chains."""

    uses = ("model", "sampler")
    maps_scores = True

    def __init__(
        self,
        given: Given,
        *,
        matching: Annotated[Matching, REQUIRED_MATCHING] = "sliced",
        data_noise: NonNegative = 0.0,
        start_scale: Positive = 1.0,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            matching: the objective of one density.
            data_noise: standard deviation of normal noise that is added to the data first, in units of model space; the
                score is then that of the noisy data. Data on a curve or with repeated values have no score without
                it. The denoising objective adds its own: leave it at 0 there.
            start_scale: standard deviation of the normal law in which the chains of samples begin.
        """
        super().__init__(given)
        networks.check_network(self.config, "scores")
        objective = matchings.chosen(matching)
        assert objective is not None  # its seam has no `none`
        self.matching, self.data_noise, self.start_scale = objective, data_noise, start_scale
        self.level = matchings.level(self.config.recipe.matching, data_noise)

    @functools.cached_property
    def network(self) -> nn.Module:
        """The network for the data of the run."""
        return networks.network(self.config, self.given.form, "scores")

    @property
    def sde(self) -> LinearSDE:
        """The process that does not move, at the level of noise of the score."""
        return sdes.still(self.level, start_scale=self.start_scale)

    def init(self, key: Array) -> Params:
        return networks.init_params(key, self.network, self.given.form.shape)

    def loss(self, params: Params, carry: None, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        keys, x = keys_lib.fold_in(keys, _OBJECTIVE), batch.x
        if self.data_noise:
            x = x + self.data_noise * keys_lib.normal(keys_lib.fold_in(keys, 0), x.shape, x.dtype)
        score = self._score(params, batch.dropout)
        label = jnp.ones(len(x))
        return self.matching(keys_lib.fold_in(keys, 1), lambda y: score(y, label, None), x), None, {}

    def model(self, params: Params) -> Model:
        return Model(sde=self.sde, score=self._score(params))

    def _score(self, params: Params, dropout: DropoutKeys | None = None) -> Partial:
        """The output of the network, which is given the same noise label for every point."""
        return scores.score(self.sde, self.network, params, "score", dropout=dropout)
