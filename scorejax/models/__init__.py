"""Networks in flax.linen. Nothing outside the training and evaluation programs imports this."""

from scorejax.models.ddpm import DDPM
from scorejax.models.ddpmpp import DDPMpp
from scorejax.models.dequantizer import FlowDequantizer
from scorejax.models.mlp import MLP
from scorejax.models.ncsnpp import NCSNpp

__all__ = ["DDPM", "MLP", "DDPMpp", "FlowDequantizer", "NCSNpp"]
