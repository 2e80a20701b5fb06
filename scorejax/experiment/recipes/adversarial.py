"""A generator, trained against a discriminator of data and samples (Goodfellow et al. 2014).

Two players with two losses are one scalar: each loss sees the other player's weights, or samples, as constants, so the
gradient of the sum is each player's own.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Annotated, Literal, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.tree_util import Partial

from scorejax import models
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.config import Seam
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, NonNegative, Positive
from scorejax.runtime.errors import ConfigError

_LATENTS, _BETWEEN = 1, 2  # streams of an example's key; 0 prepares the example

DISCRIMINATOR = Seam("scorejax.models:DISCRIMINATORS", "discriminator", "mlp", makes="flax.linen:Module")


class Game(NamedTuple):
    """What the two players lose, as functions of the logits `[b]` of data and of samples.

    Attributes:
        discriminator: `(of_data, of_samples) -> [b]`.
        generator: `of_samples -> [b]`.
    """

    discriminator: Callable[[Array, Array], Array]
    generator: Callable[[Array], Array]


def _cross_entropy(of_data: Array, of_samples: Array) -> Array:
    return jax.nn.softplus(-of_data) + jax.nn.softplus(of_samples)


GAMES: Mapping[str, Game] = {
    # With D = sigmoid(logit), the discriminator's loss is -log D(data) - log(1 - D(samples)) in the first two.
    "non_saturating": Game(_cross_entropy, lambda of_samples: jax.nn.softplus(-of_samples)),
    "minimax": Game(_cross_entropy, lambda of_samples: -jax.nn.softplus(of_samples)),
    "wasserstein": Game(lambda of_data, of_samples: of_samples - of_data, lambda of_samples: -of_samples),
}
Loss: TypeAlias = Literal["non_saturating", "minimax", "wasserstein"]
Penalty: TypeAlias = Literal["at_data", "between"]


class Adversarial(Recipe):
    """Samples by one evaluation of a generator, which plays against a discriminator."""

    uses = ("model",)

    def __init__(
        self,
        given: Given,
        *,
        latents: Count = 4,
        loss: Loss = "non_saturating",
        discriminator: Annotated[str, DISCRIMINATOR] = "mlp",
        discriminator_rate: Positive = 1.0,
        penalty: Penalty = "at_data",
        gradient_penalty: NonNegative = 0.1,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            latents: numbers that a sample is made from, each standard normal.
            loss: with `D` the discriminator's probability of data, the generator lowers -log D (non_saturating) or
                log(1 - D) (minimax, the same game as the discriminator's; both Goodfellow et al., arXiv 1406.2661);
                wasserstein: the mean difference of a critic, arXiv 1704.00028.
            discriminator: network that says whether a point is of the data: mlp for vectors, conv for images.
            discriminator_rate: learning rate of the discriminator, as a multiple of optim.lr.
            penalty: of the discriminator's slope: `gamma / 2 |grad D|^2` at the data (at_data: R1, Mescheder et al.,
                arXiv 1801.04406), or `gamma (|grad D| - 1)^2` at random points between data and samples (between:
                WGAN-GP, arXiv 1704.00028).
            gradient_penalty: `gamma`; 0: no penalty, and the two may circle for ever.
        """
        super().__init__(given)
        networks.check_network(self.config, "samples")
        assert callable(discriminator)  # the node is handed over as a factory
        self.judge = _Judge(discriminator())
        self.latents, self.discriminator_rate = latents, discriminator_rate
        self.game, self.penalty, self.gradient_penalty = GAMES[loss], penalty, gradient_penalty

    @functools.cached_property
    def law(self) -> _Law:
        """The samples, as a function of the generator's weights."""
        return _Law(networks.network(self.config, self.given.form, "samples"), self.latents)

    def init(self, key: Array) -> Params:
        of_generator, of_discriminator = jax.random.split(key)
        shape = self.given.form.shape
        generator = self.law.network.init(of_generator, jnp.zeros((1, self.latents)), shape)["params"]
        self._check_rank(len(shape))
        discriminator = self.judge.network.init(of_discriminator, jnp.zeros((1, *shape)))["params"]
        return {"generator": generator, "discriminator": discriminator}

    def loss(self, params: Params, carry: None, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        generator, discriminator = params["generator"], params["discriminator"]
        samples = self.law.sample(generator, keys_lib.fold_in(keys, _LATENTS), batch.x.shape)
        of_data = self.judge(discriminator, batch.x)
        # The discriminator's loss sees samples, not weights of the generator ...
        fixed = lax.stop_gradient(samples)
        of_samples = self.judge(discriminator, fixed)
        of_discriminator = self.game.discriminator(of_data, of_samples)
        if self.gradient_penalty:
            of_discriminator += self.gradient_penalty * self._penalty(discriminator, batch.x, fixed, keys)
        # ... and the generator's sees a discriminator that stands still.
        of_generator = self.game.generator(self.judge(lax.stop_gradient(discriminator), samples))
        metrics = {"discriminator_loss": of_discriminator, "generator_loss": of_generator}
        return (
            of_discriminator + of_generator,
            None,
            metrics | {"logit_of_data": of_data, "logit_of_samples": of_samples},
        )

    def optimizer(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        players: dict[Hashable, optax.GradientTransformation] = {
            "generator": optimizer,
            "discriminator": optax.chain(optimizer, optax.scale(self.discriminator_rate)),
        }
        return optax.multi_transform(players, {name: name for name in players})

    def model(self, params: Params) -> Model:
        return Model(sample=Partial(self.law.sample, params["generator"]))

    def _penalty(self, discriminator: Params, data: Array, samples: Array, keys: Array) -> Array:
        """The penalty of the slope in units of `gamma`, `[b]`."""
        if self.penalty == "at_data":
            return 0.5 * self.judge.squared_slope(discriminator, data)
        share = keys_lib.uniform(keys_lib.fold_in(keys, _BETWEEN), keys.shape)
        share = share.reshape(-1, *[1] * (data.ndim - 1))
        squared = self.judge.squared_slope(discriminator, share * data + (1 - share) * samples)
        # A root has no slope at zero, where every discriminator begins.
        return (jnp.sqrt(jnp.where(squared > 0, squared, 1.0)) * (squared > 0) - 1) ** 2

    def _check_rank(self, rank: int) -> None:
        ranks = getattr(self.judge.network, "ranks", (rank,))
        if rank not in ranks:
            fitting = [name for name, kind in models.DISCRIMINATORS.items() if rank in kind.ranks]
            raise ConfigError(
                f"recipe.discriminator = {self.config.recipe.discriminator.name!r} does not fit data = "
                f"{self.config.data.name!r}, whose examples have {rank} axes; choose {', '.join(fitting)}"
            )


@dataclasses.dataclass(frozen=True)
class _Law:
    """The law of a generator; equal for equal settings, so that compiled programs are found again."""

    network: nn.Module
    latents: int

    def sample(self, params: Params, keys: Array, shape: tuple[int, ...]) -> Array:
        """Draw samples, each from its own key."""
        z = keys_lib.normal(keys, (len(keys), self.latents), jnp.float32)
        x = self.network.apply({"params": params}, z, tuple(shape[1:]))
        assert isinstance(x, Array)
        return x


@dataclasses.dataclass(frozen=True)
class _Judge:
    """A discriminator as a function of its weights."""

    network: nn.Module

    def __call__(self, params: Params, x: Array) -> Array:
        """Logits that `x` are data, `[B]`."""
        logits = self.network.apply({"params": params}, x)
        assert isinstance(logits, Array)
        return logits

    def squared_slope(self, params: Params, x: Array) -> Array:
        """The squared norms of their gradients in `x`, `[B]`."""
        slope = jax.grad(lambda y: jnp.sum(self(params, y)))(x)
        return jnp.sum(slope.reshape(len(x), -1) ** 2, axis=1)
