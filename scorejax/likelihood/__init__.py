"""Exact likelihood by the probability-flow ODE, and bits per dimension."""

from scorejax.likelihood.bits import bits_per_dim, dequantize_uniform
from scorejax.likelihood.log_prob import LogProb, log_prob

__all__ = ["LogProb", "bits_per_dim", "dequantize_uniform", "log_prob"]
