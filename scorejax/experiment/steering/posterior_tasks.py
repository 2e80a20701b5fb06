"""How images are drawn from a posterior whose law is corrected: by weights, by sweeps, or by moves at the end."""

from __future__ import annotations

import abc
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


@dataclass(frozen=True, kw_only=True)
class ThenCorrected(Guided):
    """A sample of the guided score, which is corrected afterwards."""

    def sample(
        self,
        keys: Array,
        process: LinearSDE,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        sampler["clip"] = self.bounds
        first = samplers.sample(keys, process, self.potential(process, score, y).score, shape, **sampler)
        x, nfe = self.corrected(keys_lib.fold_in(keys, _AFTER), process, score, y, first.x)
        return samplers.Sample(x, first.nfe + nfe)

    @abc.abstractmethod
    def corrected(self, keys: Array, process: LinearSDE, score: Score, y: Array, x: Array) -> tuple[Array, Array | int]:
        """Return draws of the posterior, from guided ones `x [B, ...]`, and the evaluations that they took."""


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
class BySweeps(ThenCorrected):
    """Restoration by exact sweeps of split Gibbs sampling, from a guided sample.

    Attributes:
        rho: width of the coupling.
        sweeps: how many.
        steps: of the reverse SDE in each.
    """

    rho: Array
    sweeps: int = static()
    steps: int = static()

    def corrected(self, keys: Array, process: LinearSDE, score: Score, y: Array, x: Array) -> tuple[Array, Array | int]:
        found = posterior.split_gibbs(
            keys, process, score, x.shape, exact=True, likelihood=likelihoods.gaussian(self.operator, y, self.sigma_y),
            rho=self.rho, sweeps=self.sweeps, steps=self.steps, x_init=x, clip=self.bounds,
        )  # fmt: skip
        return found.x, found.nfe


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class ByMoves(ThenCorrected):
    """Restoration by a guided sample and Metropolis-adjusted moves at the end.

    Attributes:
        moves: how many.
        noise: noise-to-signal ratio of the level that they are made at.
    """

    moves: int = static()
    noise: float = static()

    def corrected(self, keys: Array, process: LinearSDE, score: Score, y: Array, x: Array) -> tuple[Array, Array | int]:
        likelihood = likelihoods.gaussian(self.operator, y, self.sigma_y)
        prior = score if self.bounds is None else clipped(process, score, self.bounds)
        found = posterior.refine(keys, process, prior, x, likelihood, steps=self.moves, noise=self.noise)
        return found.x, jnp.int32(found.nfe)
