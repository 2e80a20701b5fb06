"""scorejax: score-based generative modelling through stochastic differential equations, in JAX.

A forward process, a score and a sampler are three separate things, and any three fit together::

    sde = scorejax.vp(beta_min=0.1, beta_max=20.0)
    score = scorejax.analytic.mixture([0.5, 0.5], [[-2.0], [2.0]], [0.5, 0.5]).score(sde)
    draw = scorejax.sample(key, sde, score, (64, 1), stepper=scorejax.samplers.ancestral(),
                           times=scorejax.times.log_snr(sde, 50))
    value = scorejax.log_prob(key, sde, score, draw.x, divergence="exact").value
"""

from scorejax import analytic, guidance, likelihood, objectives, samplers, score, sdes, times
from scorejax.likelihood import LogProb, bits_per_dim, log_prob
from scorejax.samplers import Sample, decode, encode, interpolate, sample, trajectory
from scorejax.score import make_score, score_from_energy, tweedie
from scorejax.sdes import LinearSDE, cosine, ddpm, edm, flow, smld, subvp, ve, vp

__version__ = "0.1.0"

__all__ = [
    "LinearSDE",
    "LogProb",
    "Sample",
    "analytic",
    "bits_per_dim",
    "cosine",
    "ddpm",
    "decode",
    "edm",
    "encode",
    "flow",
    "guidance",
    "interpolate",
    "likelihood",
    "log_prob",
    "make_score",
    "objectives",
    "sample",
    "samplers",
    "score",
    "score_from_energy",
    "sdes",
    "smld",
    "subvp",
    "times",
    "trajectory",
    "tweedie",
    "ve",
    "vp",
]
