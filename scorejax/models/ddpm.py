"""DDPM: the U-Net of denoising diffusion probabilistic models."""

from scorejax.models.ncsnpp import NCSNpp
from scorejax.models.unet_fields import AttentionUp, Block, Embedding, ProgressiveInput
from scorejax.numerics.ranges import Count


class DDPM(NCSNpp):
    """DDPM U-Net (Ho et al. 2020): plain residual sums, 32 groups in every norm, convolutions between the levels.

    The defaults are the CIFAR-10 network of 35.7 million parameters. Song et al. 2021 use it with
    `attention_up="level"`, which has 35.2 million, and without time as `embedding="none"`.

    Attributes: those of `NCSNpp`, with other defaults.
    """

    blocks_per_level: Count = 2
    attention_up: AttentionUp = "block"
    scale_by_sigma: bool = False
    centered_input: bool = True
    embedding: Embedding = "positional"
    block: Block = "ddpm"
    fir: bool = False
    progressive_input: ProgressiveInput = "none"
    skip_rescale: bool = False
    group_size: Count = 1
