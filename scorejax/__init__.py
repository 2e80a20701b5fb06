"""scorejax: score-based generative modelling through stochastic differential equations, in JAX.

A forward process, a score and a sampler are three separate things, and any three fit together::

    sde = scorejax.vp(beta_min=0.1, beta_max=20.0)
    score = scorejax.analytic.mixture([0.5, 0.5], [[-2.0], [2.0]], [0.5, 0.5]).score(sde)
    draw = scorejax.sample(key, sde, score, (64, 1), stepper=scorejax.samplers.ancestral(),
                           times=scorejax.times.log_snr(sde, 50))
    value = scorejax.log_prob(key, sde, score, draw.x, divergence="exact").value
"""

from scorejax import guidance, likelihood, objectives, reverse, samplers, sdes
from scorejax.likelihood import Elbo, LogProb, bits_per_dim, elbo, log_prob
from scorejax.reverse import gamma, variance
from scorejax.reverse import optimal_times as trajectories
from scorejax.samplers import Sample, decode, encode, interpolate, sample, trajectory
from scorejax.scores import analytic
from scorejax.scores import predictions as score
from scorejax.scores.predictions import make_labelled_score, make_score, score_from_energy, tweedie
from scorejax.sdes import LinearSDE, cosine, ddpm, edm, flow, learned, smld, subvp, times, ve, vp
from scorejax.sdes import ncsnv2_levels as noise_levels

__version__ = "0.1.0"

__all__ = [
    "Elbo",
    "LinearSDE",
    "LogProb",
    "Sample",
    "analytic",
    "bits_per_dim",
    "cosine",
    "ddpm",
    "decode",
    "edm",
    "elbo",
    "encode",
    "flow",
    "gamma",
    "guidance",
    "interpolate",
    "learned",
    "likelihood",
    "log_prob",
    "make_labelled_score",
    "make_score",
    "noise_levels",
    "objectives",
    "reverse",
    "sample",
    "samplers",
    "score",
    "score_from_energy",
    "sdes",
    "smld",
    "subvp",
    "times",
    "trajectories",
    "trajectory",
    "tweedie",
    "variance",
    "ve",
    "vp",
]
