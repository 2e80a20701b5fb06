"""DDPM++: the U-Net of score-based generative modeling through SDEs for VP and sub-VP."""

from scorejax.models.ncsnpp import NCSNpp
from scorejax.models.unet_fields import Embedding, ProgressiveInput


class DDPMpp(NCSNpp):
    """DDPM++ U-Net (Song et al. 2021, appendix H): `NCSNpp` without filters and without the pyramid of inputs.

    The defaults are the CIFAR-10 network of 61.8 million parameters; `blocks_per_level=8` is the deep one.

    Attributes: those of `NCSNpp`, with other defaults.
    """

    scale_by_sigma: bool = False
    centered_input: bool = True
    embedding: Embedding = "positional"
    fir: bool = False
    progressive_input: ProgressiveInput = "none"
