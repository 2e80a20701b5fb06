"""Networks in flax.linen. Nothing outside the training and evaluation programs imports this."""

from scorejax.models.adversarial_mlp import DiscriminatorMLP, GeneratorMLP
from scorejax.models.condition import no_condition
from scorejax.models.coupling_flow import CouplingFlow
from scorejax.models.ddpm import DDPM
from scorejax.models.ddpmpp import DDPMpp
from scorejax.models.energy_mlp import EnergyMLP
from scorejax.models.flow_dequantizer import FlowDequantizer
from scorejax.models.mlp import MLP
from scorejax.models.mlp_classifier import MLPClassifier
from scorejax.models.ncsnpp import NCSNpp
from scorejax.models.refinenet import NCSN, NCSNv2
from scorejax.models.variance_heads import ImageHead, VectorHead, head_on, init_head, last_norm
from scorejax.models.wide_resnet import WideResNetClassifier

__all__ = [
    "DDPM",
    "MLP",
    "NCSN",
    "CouplingFlow",
    "DDPMpp",
    "DiscriminatorMLP",
    "EnergyMLP",
    "FlowDequantizer",
    "GeneratorMLP",
    "ImageHead",
    "MLPClassifier",
    "NCSNpp",
    "NCSNv2",
    "VectorHead",
    "WideResNetClassifier",
    "head_on",
    "init_head",
    "last_norm",
    "no_condition",
]
