"""Networks in flax.linen. Nothing outside the training and evaluation programs imports this."""

from scorejax.models.ddpmpp import DDPMpp
from scorejax.models.heads import ImageHead, VectorHead, head_on
from scorejax.models.mlp import MLP

__all__ = ["MLP", "DDPMpp", "ImageHead", "VectorHead", "head_on"]
