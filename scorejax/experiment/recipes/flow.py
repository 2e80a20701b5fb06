"""A normalizing flow: an invertible network between the data and a normal law, by likelihood or by score matching."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import Interval
from jax import Array
from jax.tree_util import Partial

from scorejax import likelihood, score_matching
from scorejax.experiment.assemble import matching as matchings
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.assemble.matching import MATCHING, Matching
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.models.dropout import DropoutKeys, in_training
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import NonNegative
from scorejax.runtime.errors import ConfigError

_NOISE, _OBJECTIVE = 1, 2  # streams of an example's key; 0 prepares the example


class Flow(Recipe):
    """The density of the data, exactly: `log p(x) = log N(z; 0, 1) + log |det dz/dx|` with `z = f(x)`.

    It is trained by maximum likelihood or, as in sliced score matching (Song et al., arXiv 1905.07088), by an objective
    that sees nothing but its score, as if its constant were unknown; the likelihood is then there to judge by. The
    score is that of the space that the network sees, of images the logits: the minimum of score matching, unlike that
    of the likelihood, depends on the space.
    """

    uses = ("model",)

    def __init__(
        self,
        given: Given,
        *,
        matching: Annotated[Matching, MATCHING] = "none",
        data_noise: NonNegative = 0.0,
        squeeze: Annotated[float, Interval(ge=0, lt=0.5)] = 0.05,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            matching: an objective of score matching; none: maximum likelihood.
            data_noise: standard deviation of normal noise on what the network sees in training. Data whose density has
                jumps, as dequantized images do, or atoms have no lowest loss of exact or sliced score matching without
                it; denoising brings its own.
            squeeze: images: the flow sees the logit of gray values that are mapped from [0, 1] to
                [squeeze, 1 - squeeze] (RealNVP, arXiv 1605.08803, section 4.1); 0: it sees the data as they are.
        """
        super().__init__(given)
        networks.check_network(self.config, "flows")
        self.matching, self.data_noise, self.squeeze = matchings.chosen(matching), data_noise, squeeze
        if self.matching is not None and self.config.model.own().get("dropout", 0.0):
            raise ConfigError(
                "model.dropout gives another score at each evaluation, which recipe.matching cannot compare; set "
                "model.dropout=0, or recipe.matching=none"
            )

    @functools.cached_property
    def law(self) -> _Law:
        """The density and its samples, as functions of the weights."""
        form = self.given.form
        network = networks.network(self.config, form, "flows")
        squeeze = self.squeeze if self.given.space.gray_levels else 0.0
        return _Law(network, squeeze, self.config.data.centered)

    def init(self, key: Array) -> Params:
        return self.law.network.init(key, jnp.zeros((1, *self.given.form.shape)))["params"]

    def loss(self, params: Params, carry: None, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        y, log_slope = self.law.unbounded(batch.x)
        if self.data_noise:
            y = y + self.data_noise * keys_lib.normal(keys_lib.fold_in(keys, _NOISE), y.shape, y.dtype)
        if self.matching is not None:
            score = score_matching.of_energy(Partial(self.law.energy, params))
            return self.matching(keys_lib.fold_in(keys, _OBJECTIVE), score, y), None, {}
        log_prob = self.law.log_density(params, y, dropout=batch.dropout) + log_slope
        dimension = self.given.form.dimension
        bits = likelihood.bits_per_dim(log_prob + self.given.space.log_volumes(batch.x), dimension, 1.0)
        return -log_prob, None, {"bits_per_dim": bits}

    def model(self, params: Params) -> Model:
        return Model(log_prob=Partial(self.law.log_prob, params), sample=Partial(self.law.sample, params))


@dataclasses.dataclass(frozen=True)
class _Law:
    """The law of a flow; equal for equal settings, so that compiled programs are found again.

    Attributes:
        network: the flow.
        squeeze: what is taken off both ends of the gray scale before the logit; 0: no logit.
        centered: whether the data lie in [-1, 1), not in [0, 1).
    """

    network: nn.Module
    squeeze: float
    centered: bool

    def log_prob(self, params: Params, keys: Array, x: Array) -> Array:
        """The log density of model space in nats, `[B]`."""
        y, log_slope = self.unbounded(x)
        return self.log_density(params, y) + log_slope

    def log_density(self, params: Params, y: Array, *, dropout: DropoutKeys | None = None) -> Array:
        """The log density of what the network sees, in nats, `[B]`."""
        more, rngs = in_training(dropout)
        result: Params = self.network.apply({"params": params, **more}, y, train=dropout is not None, rngs=rngs)
        z, log_det = result
        return jnp.sum(jax.scipy.stats.norm.logpdf(z).reshape(len(y), -1), axis=1) + log_det

    def energy(self, params: Params, y: Array) -> Array:
        """Minus that, `[B]`."""
        return -self.log_density(params, y)

    def sample(self, params: Params, keys: Array, shape: tuple[int, ...]) -> Array:
        """Draw samples, each from its own key."""
        z = keys_lib.normal(keys, shape, jnp.float32)
        y = self.network.apply({"params": params}, z, method="inverse")
        assert isinstance(y, Array)
        if not self.squeeze:
            return y
        unit = (jax.nn.sigmoid(y) - self.squeeze) / (1 - 2 * self.squeeze)
        return 2 * unit - 1 if self.centered else unit

    def unbounded(self, x: Array) -> tuple[Array, Array]:
        """What the network sees, and the log determinant of that map, `[B]`."""
        if not self.squeeze:
            return x, jnp.zeros(len(x))
        unit = (x + 1) / 2 if self.centered else x
        p = self.squeeze + (1 - 2 * self.squeeze) * unit
        log_slope = -jnp.log(p) - jnp.log1p(-p) + math.log((1 - 2 * self.squeeze) / (2 if self.centered else 1))
        return jax.scipy.special.logit(p), jnp.sum(log_slope.reshape(len(x), -1), axis=1)
