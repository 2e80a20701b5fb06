"""An energy, trained against samples of its own law by contrastive divergence, or by score matching.

The density is `exp(-E(x)) / Z`. The gradient of its mean negative log over the data is `E_data[grad E] - E_p[grad E]`;
the second mean is taken over Langevin chains. Chains can begin at the data of each step (contrastive divergence), live
on from step to step (persistent chains), or come from a pool (replay buffer). Langevin moves do not cross from mode to
mode, so each round of persistent chains begins with the offer of a fresh start, taken or refused by the rule of
Metropolis and Hastings: modes get the weights that the energy gives them, as long as a fresh start has a chance to hit
a mode.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated

import jax.numpy as jnp
from jax import Array

from scorejax.experiment.assemble import energies
from scorejax.experiment.assemble import matching as matchings
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.assemble.matching import MATCHING, Matching
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.numerics.ranges import Count, NonNegative, Positive, Share
from scorejax.samplers.negatives import Start


class Energy(Recipe):
    """An unnormalized density, learned by lowering the energy of data and raising that of Langevin chains."""

    uses = ("model", "sampler")
    carry_is_shared = False

    def __init__(
        self,
        given: Given,
        *,
        matching: Annotated[Matching, MATCHING] = "none",
        negatives: Start = "persistent",
        chains: Count = 1024,
        langevin_steps: Count = 20,
        step_size: Positive = 1e-3,
        noise_scale: NonNegative | None = None,
        start_scale: Positive = 1.5,
        offers: bool | None = None,
        anew: Share = 0.05,
        gradient_clip: NonNegative = 0.0,
        clip_chains: bool = False,
        data_noise: NonNegative = 0.0,
        magnitude: NonNegative = 1e-4,
        max_gap: Positive = 1000.0,
        sample_steps: Count = 2000,
        denoise: bool = True,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            matching: an objective of score matching, which trains the energy without chains; what is said of chains
                then holds for samples alone. None: contrastive divergence.
            negatives: where chains begin in a step of training: `data`, at its examples (contrastive divergence);
                `persistent`, where they ended (persistent contrastive divergence); `buffer`, at places of a pool.
            chains: how many chains each device keeps; at least its part of a batch, whose share moves in each step.
            langevin_steps: moves in a round, `x <- x - step_size grad E + noise_scale z`; one round for each chain that
                a step of training moves.
            step_size: of these moves, in squared units of model space, where vectors have deviation 1; well below twice
                the variance of the data's narrowest direction.
            noise_scale: of these moves; unset: sqrt(2 step_size), for which the chains have the law `exp(-E)`. Smaller
                means chains of a colder law, `exp(-E / T)` with `T = noise_scale^2 / (2 step_size)`.
            start_scale: standard deviation of the normal law in which chains begin, at least as wide as the data in
                model space.
            offers: whether each round begins with the offer of a fresh start; unset: with persistent chains that
                are not clipped.
            anew: share of the chains from a buffer that begin anew in each step.
            gradient_clip: largest slope of the energy along each coordinate in the moves; 0: no limit.
            clip_chains: images: whether chains are held in the range of the data.
            data_noise: deviation of normal noise on the data, in model space: what is narrower cannot be learned.
            magnitude: weight of `E(data)^2 + E(chains)^2`, which holds the free constant of the energy near zero.
            max_gap: nats between the mean energies of data and chains beyond which the two count as run apart, and
                training goes back to the averaged weights.
            sample_steps: moves of a chain for each sample, in rounds of langevin_steps.
            denoise: whether samples of an energy of noisy data end with the mean of the data given them (Tweedie).
        """
        super().__init__(given)
        networks.check_network(self.config, "energies")
        self.max_gap, self.clip_chains = max_gap, clip_chains
        self.matching = matchings.chosen(matching)
        self.carry_is_shared = self.matching is not None  # there are no chains
        self.level = matchings.level(self.config.recipe.matching, data_noise)
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
            "matching": self.matching,
            "level": self.level,
            "denoise": denoise,
        }

    @functools.cached_property
    def law(self) -> energies.EnergyLaw:
        """The energy and its chains, as functions of the weights."""
        negatives = energies.held(self.negatives, self.given.space) if self.clip_chains else self.negatives
        network = networks.network(self.config, self.given.form, "energies")
        return energies.EnergyLaw(network, negatives, **self.settings)

    @functools.cached_property
    def _looked_at(self) -> bool:
        """Whether it was looked at what score matching cannot learn; done once, before the first step."""
        self.law.warn_of_no_curvature(self.given.form.shape)
        return True

    def init(self, key: Array) -> Params:
        return self.law.network.init(key, jnp.zeros((1, *self.given.form.shape)))["params"]

    def carry(self, key: Array) -> Array | None:
        return None if self.matching else self.law.negatives.carry(key, self.given.form.shape)

    def loss(
        self, params: Params, carry: Array | None, batch: Batch, keys: Array
    ) -> tuple[Array, Array | None, Metrics]:
        if self.matching and self._looked_at:
            return self.law.match(params, batch, keys)
        return self.law.contrast(params, carry, batch, keys)

    def trusts(self, metrics: Metrics) -> Array | None:
        return None if self.matching else energies.trusted(metrics, self.max_gap)

    def remark(self, means: Mapping[str, float]) -> str | None:
        return energies.remark(means, self.max_gap)

    def model(self, params: Params) -> Model:
        return self.law.model(params)
