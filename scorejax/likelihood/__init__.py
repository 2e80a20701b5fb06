"""Likelihood: exact by the probability-flow ODE, bounded by the reverse-time SDE, of energies; bits per dimension."""

from scorejax.likelihood.bits import (
    Bits,
    BoundBits,
    Dequantizer,
    bits_per_dim,
    bound_bits,
    density_bits,
    dequantized_bits,
)
from scorejax.likelihood.bound import Bound, likelihood_bound
from scorejax.likelihood.control import GaussianFit
from scorejax.likelihood.denoising_errors import (
    DenoisingErrors,
    denoising_errors,
    denoising_levels,
    density_of_errors,
)
from scorejax.likelihood.elbo import Elbo, elbo
from scorejax.likelihood.gray_levels import dequantize_uniform
from scorejax.likelihood.latent import Evidence, evidence
from scorejax.likelihood.log_prob import LogProb, log_prob
from scorejax.likelihood.partition import Partition, annealed_importance_sampling, quadrature

__all__ = [
    "Bits",
    "Bound",
    "BoundBits",
    "DenoisingErrors",
    "Dequantizer",
    "Elbo",
    "Evidence",
    "GaussianFit",
    "LogProb",
    "Partition",
    "annealed_importance_sampling",
    "bits_per_dim",
    "bound_bits",
    "denoising_errors",
    "denoising_levels",
    "density_bits",
    "density_of_errors",
    "dequantize_uniform",
    "dequantized_bits",
    "elbo",
    "evidence",
    "likelihood_bound",
    "log_prob",
    "quadrature",
]
