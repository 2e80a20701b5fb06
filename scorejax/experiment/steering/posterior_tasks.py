"""How images are drawn from a posterior whose law is corrected: by weights, by sweeps, or by moves at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import jax.numpy as jnp
from jax import Array

from scorejax import posterior, samplers
from scorejax.experiment.assemble.sampling import SamplerArguments
from scorejax.experiment.steering.restoration_tasks import Restoration
from scorejax.guidance import likelihoods
from scorejax.guidance.potentials import Kind, Potential, potential
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import register_dataclass, static
from scorejax.scores.clipping import clipped
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE

_DRAW, _AFTER = 2**31 + 5, 2**31 + 6  # streams of an image's key apart from those of samplers and measurements


@dataclass(frozen=True, kw_only=True)
class Guided(Restoration):
    """What these methods share: a potential that guides, and where predicted data are held.

    Attributes:
        kind: of the potential.
        data_std: standard deviation of the data, for potentials that are widened.
        bounds: of the posterior mean; None: none.
    """

    kind: Kind = static()  # noqa: RUF009
    data_std: float = static()
    bounds: tuple[float, float] | None = static()

    def potential(self, process: LinearSDE, score: Score, y: Array) -> Potential:
        """Return the potential of the measurements `y`."""
        likelihood = likelihoods.gaussian(self.operator, y, self.sigma_y)
        return potential(process, score, likelihood, kind=self.kind, data_std=self.data_std)

    def prior(self, process: LinearSDE, score: Score) -> Score:
        """Return the score of the prior, held where data lie."""
        return score if self.bounds is None else clipped(process, score, self.bounds)

    def guided(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], sampler: SamplerArguments
    ) -> samplers.Sample:
        """Draw by the guided score alone."""
        sampler["clip"] = self.bounds
        return samplers.sample(keys, process, self.potential(process, score, y).score, shape, **sampler)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class ByParticles(Guided):
    """Restoration by twisted sequential Monte Carlo; one particle of each posterior is drawn.

    Attributes:
        particles: of each image.
        resample: share of effective particles below which they are drawn anew.
    """

    particles: int = static()
    resample: float = static()

    def sample(
        self,
        keys: Array,
        process: LinearSDE,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        found = posterior.smc(
            keys, process, score, shape, particles=self.particles, potential=self.potential(process, score, y),
            times=sampler["times"], stepper=sampler["stepper"], resample=self.resample, clip=self.bounds,
        )  # fmt: skip
        drawn = found.draw(keys_lib.fold_in(keys, _DRAW), 1)[:, 0]
        return samplers.Sample(drawn, found.nfe * self.particles)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class BySweeps(Guided):
    """Restoration by exact sweeps of split Gibbs sampling, from a guided sample.

    Attributes:
        rho: width of the coupling.
        sweeps: how many.
        steps: of the reverse SDE in each.
    """

    rho: Array
    sweeps: int = static()
    steps: int = static()

    def sample(
        self,
        keys: Array,
        process: LinearSDE,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        first = self.guided(keys, process, score, y, shape, sampler)
        found = posterior.split_gibbs(
            keys_lib.fold_in(keys, _AFTER), process, score, shape, exact=True,
            likelihood=likelihoods.gaussian(self.operator, y, self.sigma_y), rho=self.rho, sweeps=self.sweeps,
            steps=self.steps, x_init=first.x, clip=self.bounds,
        )  # fmt: skip
        return samplers.Sample(found.x, first.nfe + found.nfe)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class ByMoves(Guided):
    """Restoration by a guided sample and Metropolis-adjusted moves at the end.

    Attributes:
        moves: how many.
        noise: noise-to-signal ratio of the level that they are made at.
    """

    moves: int = static()
    noise: float = static()

    def sample(
        self,
        keys: Array,
        process: LinearSDE,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        first = self.guided(keys, process, score, y, shape, sampler)
        found = posterior.refine(
            keys_lib.fold_in(keys, _AFTER), process, self.prior(process, score), first.x,
            likelihoods.gaussian(self.operator, y, self.sigma_y), steps=self.moves, noise=self.noise,
        )  # fmt: skip
        return samplers.Sample(found.x, first.nfe + jnp.int32(found.nfe))
