"""A head that predicts reverse variances, next to a frozen score (NPR-DPM and SN-DPM, arXiv 2206.07309; optimal
covariance matching).

The score's network runs without dropout, which would inflate the residual that is fitted.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import models, objectives
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe, training_settings
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count
from scorejax.reverse import variance
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE


class Kind(NamedTuple):
    """What a head predicts.

    Attributes:
        variance: what makes a variance of it.
        target: what it is fitted to, see `objectives.variance_head`.
    """

    variance: type[variance.VarianceHead]
    target: str


KINDS = {
    "npr": Kind(variance.NoiseResidual, "noise_residual"),
    "sn": Kind(variance.SquaredNoise, "squared_noise"),
    "ocm": Kind(variance.ScoreCurvature, "score_curvature"),
}


class VarianceHead(Recipe):
    """A small network on top of a score's, fitted by squares to the reverse variance of each coordinate."""

    draws = False
    uses = ()
    section = "head"
    # No clipping: it would bias the mean that is fitted.
    training: ClassVar[Mapping[str, object]] = training_settings(clip=0.0, ema_decay=0.999)
    tiny: ClassVar[Mapping[str, object]] = {"steps": 4, "batch": 16, "log_every": 2, "checkpoint_every": 2}

    def __init__(
        self,
        given: Given,
        *,
        kind: Literal["npr", "sn", "ocm"] = "npr",
        deep: bool = False,
        features: Count | None = None,
        depth: Count | None = None,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for, with the score.
            kind: npr (variance of the prediction's residual), sn (of the noise), ocm (curvature of the score).
            deep: images: a residual block before the last convolution.
            features: vectors: width of the hidden layers.
            depth: vectors: number of hidden layers.
        """
        super().__init__(given)
        self.kind = KINDS[kind]
        self.deep, self.layers = deep, dict[str, Any](features=features, depth=depth)

    @staticmethod
    def folder(settings: dict[str, object]) -> str:
        """The folder of the head, within that of the score's run."""
        return f"heads/{settings.get('kind', 'npr')}"

    @functools.cached_property
    def head(self) -> models.ImageHead | models.VectorHead:
        """The network of the head."""
        beside, shape = self.given.beside, self.given.form.shape
        if beside is None or beside.model.score is None:
            raise ConfigError("a variance head is trained next to a score; give the --workdir of a run that has one")
        given = {key: value for key, value in self.layers.items() if value is not None}
        with user_errors("section head"):
            if len(shape) == 1:
                if self.deep:
                    raise ConfigError("head.deep belongs to heads of images; those of vectors take features and depth")
                return models.VectorHead(**given)
            if given:
                raise ConfigError(f"head.{next(iter(given))} belongs to heads of vectors; those of images take deep")
            return models.ImageHead(shape[-1], deep=self.deep, layer=beside.model.feature_layer)

    def init(self, key: Array) -> Params:
        sde, score = self._frozen(1)
        with user_errors("section head"):
            return models.init_head(key, sde, score, self.head, self.given.form.shape)

    def loss(self, params: Params, carry: None, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        sde, score = self._frozen(len(batch.x), batch.labels)
        fitted = models.head_on(sde, score, self.head, params)
        errors = objectives.variance_head(
            keys_lib.fold_in(keys, 1), sde, score, batch.x, head=fitted, target=self.kind.target
        )
        return errors / self.given.form.dimension, None, {}

    def model(self, params: Params) -> Model:
        bind = functools.partial(_bind, self.kind.variance, self.head)
        return Model(variance_head=Partial(bind, params))

    def _frozen(self, count: int, labels: Array | None = None) -> tuple[LinearSDE, Score]:
        """The process and the score that the head stands on."""
        assert self.given.beside is not None  # `head` refuses it
        model = self.given.beside.model
        assert model.sde is not None
        if model.conditional and labels is None:
            # any condition: this traces the network, to find the shapes of the head
            embedding = self.given.form.embedding
            labels = jnp.zeros(count, jnp.int32) if embedding is None else jnp.zeros((count, *embedding))
        sde = networks.gaussian(model.sde, "a variance head")
        return sde, model.score_given(labels if model.conditional else None)


def _bind(
    kind: type[variance.VarianceHead],
    head: models.ImageHead | models.VectorHead,
    params: Params,
    sde: LinearSDE,
    score: Score,
) -> variance.VarianceHead:
    """The head on the frozen score that it was trained for; where both are evaluated at the same points of one
    compiled program, the network runs once."""
    return kind(models.head_on(sde, score, head, params))
