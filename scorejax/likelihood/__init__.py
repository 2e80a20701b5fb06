"""Exact likelihood by the probability-flow ODE, and bits per dimension."""

from scorejax.likelihood.bits import Bits, bits_per_dim, dequantize_uniform, dequantized_bits
from scorejax.likelihood.elbo import Elbo, elbo
from scorejax.likelihood.log_prob import LogProb, log_prob

__all__ = ["Bits", "Elbo", "LogProb", "bits_per_dim", "dequantize_uniform", "dequantized_bits", "elbo", "log_prob"]
