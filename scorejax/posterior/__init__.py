"""Draws from posteriors `p(x | y)` whose law is corrected, and the worlds in which such a law is known exactly.

    likelihood = scorejax.guidance.likelihoods.gaussian(operator, y, sigma_y=0.1)
    potential = scorejax.guidance.potential(sde, score, likelihood, kind="pigdm")
    found = scorejax.posterior.smc(key, sde, score, (1, 2), particles=256, potential=potential, times=times)
    found.draw(key, 99)

A guided sampler follows an approximation of the posterior's score, and its draws have the wrong width and the wrong
shares of modes. `smc` corrects them by weights.
"""

from scorejax.posterior.decoupled import daps, diffpir
from scorejax.posterior.gibbs import Chain, split_gibbs
from scorejax.posterior.mala import mala, refine
from scorejax.posterior.particles import Particles
from scorejax.posterior.smc import smc

__all__ = ["Chain", "Particles", "daps", "diffpir", "mala", "refine", "smc", "split_gibbs"]
