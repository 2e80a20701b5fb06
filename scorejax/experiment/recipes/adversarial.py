"""A generator, trained against a discriminator of data and samples (Goodfellow et al. 2014).

Two players with two losses are one scalar: each loss sees the other player's weights, or samples, as constants, so the
gradient of the sum is each player's own.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.tree_util import Partial

from scorejax import models
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.numerics import keys as keys_lib
from scorejax.runtime.errors import ConfigError

_LATENTS = 1  # stream of an example's key; 0 prepares the example


class Adversarial(Recipe):
    """Samples by one evaluation of a generator, with the non-saturating loss."""

    uses = ("model",)

    def __init__(
        self,
        given: Given,
        *,
        latents: int = 4,
        discriminator_features: int = 128,
        discriminator_depth: int = 3,
        discriminator_rate: float = 1.0,
        gradient_penalty: float = 0.1,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            latents: numbers that a sample is made from, each standard normal.
            discriminator_features: width of the hidden layers of the discriminator.
            discriminator_depth: how many there are.
            discriminator_rate: learning rate of the discriminator, as a multiple of optim.lr.
            gradient_penalty: `gamma` of `gamma / 2 |grad D|^2` at the data (R1, Mescheder et al., arXiv 1801.04406),
                without which the two may circle for ever; 0: none.
        """
        super().__init__(given)
        networks.check_network(self.config, "samples")
        if (
            min(latents, discriminator_features, discriminator_depth) < 1
            or discriminator_rate <= 0
            or gradient_penalty < 0
        ):
            raise ConfigError(
                "recipe.latents, discriminator_features and discriminator_depth must be at least 1, discriminator_rate "
                f"positive and gradient_penalty not negative; got {latents}, {discriminator_features}, "
                f"{discriminator_depth}, {discriminator_rate} and {gradient_penalty}"
            )
        self.judge = _Judge(models.DiscriminatorMLP(discriminator_features, discriminator_depth))
        self.latents, self.discriminator_rate, self.gradient_penalty = latents, discriminator_rate, gradient_penalty

    @functools.cached_property
    def law(self) -> _Law:
        """The samples, as a function of the generator's weights."""
        return _Law(networks.network(self.config, self.given.form, "samples"), self.latents)

    def init(self, key: Array) -> Params:
        of_generator, of_discriminator = jax.random.split(key)
        (dimension,) = self.given.form.shape
        generator = self.law.network.init(of_generator, jnp.zeros((1, self.latents)), dimension)["params"]
        discriminator = self.judge.network.init(of_discriminator, jnp.zeros((1, dimension)))["params"]
        return {"generator": generator, "discriminator": discriminator}

    def loss(self, params: Params, carry: None, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        generator, discriminator = params["generator"], params["discriminator"]
        samples = self.law.sample(generator, keys_lib.fold_in(keys, _LATENTS), batch.x.shape)
        of_data = self.judge(discriminator, batch.x)
        # The discriminator's loss sees samples, not weights of the generator ...
        of_samples = self.judge(discriminator, lax.stop_gradient(samples))
        of_discriminator = jax.nn.softplus(-of_data) + jax.nn.softplus(of_samples)
        if self.gradient_penalty:
            slope = self.judge.slope(discriminator, batch.x)
            of_discriminator += 0.5 * self.gradient_penalty * jnp.sum(slope**2, axis=1)
        # ... and the generator's sees a discriminator that stands still.
        of_generator = jax.nn.softplus(-self.judge(lax.stop_gradient(discriminator), samples))
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


@dataclasses.dataclass(frozen=True)
class _Law:
    """The law of a generator; equal for equal settings, so that compiled programs are found again."""

    network: nn.Module
    latents: int

    def sample(self, params: Params, keys: Array, shape: tuple[int, ...]) -> Array:
        """Draw samples, each from its own key."""
        z = keys_lib.normal(keys, (len(keys), self.latents), jnp.float32)
        x = self.network.apply({"params": params}, z, shape[1])
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

    def slope(self, params: Params, x: Array) -> Array:
        """Their gradients in `x`."""
        return jax.grad(lambda y: jnp.sum(self(params, y)))(x)
