"""A classifier whose logits are joint energies of examples and classes: it classifies, scores and samples at once.

    p(x, y) = exp(f_y(x)) / Z,   E(x) = -log sum_y exp f_y(x),   p(y | x) = softmax(f(x))_y

(JEM, Grathwohl et al., arXiv 1912.03263). The log-likelihood of a pair is that of the class given the example, whose
loss is the cross entropy, plus that of the example, whose gradient is that of contrastive divergence.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.experiment.assemble import energies
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.numerics.ranges import Count, NonNegative, Positive, Share
from scorejax.runtime.errors import ConfigError
from scorejax.samplers.negatives import Start


class JointEnergy(Recipe):
    """Logits of classes and an unnormalized density in one network, by cross entropy and Langevin chains."""

    uses = ("model", "sampler")
    carry_is_shared = False

    def __init__(
        self,
        given: Given,
        *,
        generative: NonNegative = 1.0,
        negatives: Start = "buffer",
        chains: Count = 2048,
        langevin_steps: Count = 20,
        step_size: Positive = 1e-3,
        noise_scale: NonNegative | None = None,
        start_scale: Positive = 1.0,
        offers: bool | None = None,
        anew: Share = 0.05,
        gradient_clip: NonNegative = 0.0,
        clip_chains: bool = False,
        data_noise: NonNegative = 0.03,
        magnitude: NonNegative = 1e-4,
        max_gap: Positive = 1000.0,
        sample_steps: Count = 2000,
    ) -> None:
        """Check the settings; those of the chains are the ones of recipe `energy`.

        Args:
            given: what it is made for.
            generative: weight of the contrastive loss next to the cross entropy; 0: a classifier alone.
            negatives: where chains begin in a step of training: `data`, `persistent` or `buffer`.
            chains: how many chains each device keeps.
            langevin_steps: moves in a round, `x <- x - step_size grad E + noise_scale z`.
            step_size: of these moves, in squared units of model space.
            noise_scale: of these moves; unset: sqrt(2 step_size). The temperature is
                `noise_scale^2 / (2 step_size)`; JEM took 0.01 with a step size of 1.
            start_scale: standard deviation of the normal law in which chains begin.
            offers: whether each round begins with the offer of a fresh start; unset: with persistent chains that
                are not clipped.
            anew: share of the chains from a buffer that begin anew in each step.
            gradient_clip: largest slope of the energy along each coordinate in the moves; 0: no limit.
            clip_chains: images: whether chains are held in the range of the data.
            data_noise: deviation of normal noise on the data of both losses, in model space.
            magnitude: weight of `E(data)^2 + E(chains)^2`.
            max_gap: nats between the mean energies of data and chains beyond which training goes back to the averaged
                weights.
            sample_steps: moves of a chain for each sample, in rounds of langevin_steps.
        """
        super().__init__(given)
        networks.check_network(self.config, "energies")
        self.generative, self.max_gap, self.clip_chains = generative, max_gap, clip_chains
        self.negatives = energies.negatives(
            start=negatives,
            count=chains,
            anew=anew,
            langevin_steps=langevin_steps,
            step_size=step_size,
            noise_scale=noise_scale,
            start_scale=start_scale,
            offers=offers,
            gradient_clip=gradient_clip,
            clip_chains=clip_chains,
        )
        self.settings = {
            "sample_steps": sample_steps,
            "data_noise": data_noise,
            "magnitude": magnitude,
            "level": data_noise,
        }

    @functools.cached_property
    def law(self) -> energies.EnergyLaw:
        """The joint energy and its chains, as functions of the weights."""
        form = self.given.form
        if form.num_classes < 2:
            raise ConfigError(f"joint energies need two classes or more; {form.name!r} has none or one")
        negatives = energies.held(self.negatives, self.given.space) if self.clip_chains else self.negatives
        network = networks.network(self.config, form, "energies", num_classes=form.num_classes)
        return energies.EnergyLaw(network, negatives, **self.settings, joint=True)

    def init(self, key: Array) -> Params:
        return self.law.network.init(key, jnp.zeros((1, *self.given.form.shape)))["params"]

    def carry(self, key: Array) -> Array | None:
        return self.law.negatives.carry(key, self.given.form.shape)

    def loss(
        self, params: Params, carry: Array | None, batch: Batch, keys: Array
    ) -> tuple[Array, Array | None, Metrics]:
        law, labels = self.law, batch.labels
        assert labels is not None  # `law` refuses data without classes
        log_p = jax.nn.log_softmax(law.logits(params, law.noisy(batch, keys)))
        entropy = -jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
        right = (jnp.argmax(log_p, axis=1) == labels).astype(jnp.float32)
        contrast, carry, metrics = law.contrast(params, carry, batch, keys)
        losses = entropy + self.generative * contrast
        return losses, carry, {**metrics, "cross_entropy": entropy, "accuracy": right}

    def trusts(self, metrics: Metrics) -> Array:
        return energies.trusted(metrics, self.max_gap)

    def remark(self, means: Mapping[str, float]) -> str | None:
        return energies.remark(means, self.max_gap)

    def model(self, params: Params) -> Model:
        return dataclasses.replace(self.law.model(params), num_classes=self.given.form.num_classes)
