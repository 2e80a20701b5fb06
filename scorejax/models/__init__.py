"""Networks in flax.linen. Nothing outside the training and evaluation programs imports this."""

from scorejax.models.adm import ADM, DhariwalUNet
from scorejax.models.adm_classifier import ADMClassifier
from scorejax.models.adversarial_conv import DiscriminatorConv, GeneratorConv
from scorejax.models.adversarial_mlp import DiscriminatorMLP, GeneratorMLP
from scorejax.models.autoencoder_mlp import AutoencoderMLP, LatentScoreMLP
from scorejax.models.condition import ABSENT, CONDITIONS, no_condition
from scorejax.models.coupling_flow import CouplingFlow
from scorejax.models.ddpm import DDPM
from scorejax.models.ddpmpp import DDPMpp
from scorejax.models.deep_kernel import DeepKernel
from scorejax.models.dit import DiT
from scorejax.models.edm2 import EDM2
from scorejax.models.energy_conv import EnergyConv
from scorejax.models.energy_mlp import EnergyMLP
from scorejax.models.flow_dequantizer import FlowDequantizer
from scorejax.models.mlp import MLP
from scorejax.models.mlp_classifier import MLPClassifier
from scorejax.models.multiscale_conv import MultiscaleConv
from scorejax.models.ncsnpp import NCSNpp
from scorejax.models.nice import NICE
from scorejax.models.observed import Observed
from scorejax.models.own import Network, OwnNetwork, check_outputs
from scorejax.models.refinenet import NCSN, NCSNv2
from scorejax.models.self_conditioned import SelfConditioned
from scorejax.models.several import Several, condition_inside, field_channels
from scorejax.models.song_unet import SongUNet
from scorejax.models.table_mlp import TableMLP
from scorejax.models.unet_fields import level_sizes
from scorejax.models.uvit import UViT
from scorejax.models.variance_heads import ImageHead, VectorHead, head_on, init_head, last_norm
from scorejax.models.wide_resnet import WideResNetClassifier

NETWORKS = {
    "mlp": MLP,
    "table_mlp": TableMLP,
    "ddpmpp": DDPMpp,
    "ncsnpp": NCSNpp,
    "ddpm": DDPM,
    "dit": DiT,
    "uvit": UViT,
    "adm": ADM,
    "adm_classifier": ADMClassifier,
    "dhariwal_unet": DhariwalUNet,
    "song_unet": SongUNet,
    "edm2": EDM2,
    "ncsn": NCSN,
    "ncsnv2": NCSNv2,
    "multiscale_conv": MultiscaleConv,
    "mlp_classifier": MLPClassifier,
    "wide_resnet": WideResNetClassifier,
    "coupling_flow": CouplingFlow,
    "nice": NICE,
    "energy_mlp": EnergyMLP,
    "deep_kernel": DeepKernel,
    "energy_conv": EnergyConv,
    "generator_mlp": GeneratorMLP,
    "generator_conv": GeneratorConv,
    "autoencoder_mlp": AutoencoderMLP,
}
"""Networks by name. The fields of each are its settings, but for those that data and process fill in. A class says what
it maps (`role`: scores, classes, ...), how many axes its examples have (`ranks`: 1 for vectors, 2 for series, 3 for
images, 4 for volumes), what it can be conditioned on (`conditioning`; all of `CONDITIONS` where it does not say), and
how it is shrunk for a trial (`tiny`)."""

DISCRIMINATORS = {"mlp": DiscriminatorMLP, "conv": DiscriminatorConv}
"""Discriminators by name: what a generator is trained against, of vectors and of images."""

__all__ = [
    "ABSENT",
    "ADM",
    "CONDITIONS",
    "DDPM",
    "DISCRIMINATORS",
    "EDM2",
    "MLP",
    "NCSN",
    "NETWORKS",
    "NICE",
    "ADMClassifier",
    "AutoencoderMLP",
    "CouplingFlow",
    "DDPMpp",
    "DeepKernel",
    "DhariwalUNet",
    "DiT",
    "DiscriminatorConv",
    "DiscriminatorMLP",
    "EnergyConv",
    "EnergyMLP",
    "FlowDequantizer",
    "GeneratorConv",
    "GeneratorMLP",
    "ImageHead",
    "LatentScoreMLP",
    "MLPClassifier",
    "MultiscaleConv",
    "NCSNpp",
    "NCSNv2",
    "Network",
    "Observed",
    "OwnNetwork",
    "SelfConditioned",
    "Several",
    "SongUNet",
    "TableMLP",
    "UViT",
    "VectorHead",
    "WideResNetClassifier",
    "check_outputs",
    "condition_inside",
    "field_channels",
    "head_on",
    "init_head",
    "last_norm",
    "level_sizes",
    "no_condition",
]
