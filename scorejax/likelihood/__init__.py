"""Exact likelihood by the probability-flow ODE, and bits per dimension."""

from scorejax.likelihood.bits import Bits, bits_per_dim, dequantize_uniform, dequantized_bits
from scorejax.likelihood.log_prob import LogProb, log_prob

__all__ = ["Bits", "LogProb", "bits_per_dim", "dequantize_uniform", "dequantized_bits", "log_prob"]
