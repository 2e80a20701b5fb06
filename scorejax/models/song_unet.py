"""The U-Nets of Score-SDE as EDM trains them (Karras et al., arXiv 2206.00364)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.augment import with_augmentation
from scorejax.models.embedding import GaussianFourier, sinusoidal
from scorejax.models.layers import NONLINEARITIES, dense_init
from scorejax.models.ncsnpp import NCSNpp
from scorejax.models.unet_fields import Embedding, Multipliers, ProgressiveInput
from scorejax.numerics.ranges import Count


class SongUNet(NCSNpp):
    """`NCSNpp` whose class and labels of augmentation enter before the dense layers of the noise.

    The blocks are those of `NCSNpp`; the vector of the noise is `silu(Dense(silu(Dense(waves + classes + augment))))`.
    The defaults are DDPM++ of CIFAR-10, 55.7 million parameters. NCSN++ is `embedding=fourier, fir=true,
    progressive_input=residual`. The label is what EDM calls c_noise, see `recipe.noise_label`. A class label
    `num_classes` means "no class": zeros in the place of the classes.

    Attributes: those of `NCSNpp`, with other defaults.
    """

    conditioning = ("label",)

    channel_multipliers: Multipliers = (2, 2, 2)
    attention_resolutions: Sequence[Count] = (16,)
    scale_by_sigma: bool = False
    centered_input: bool = True
    embedding: Embedding = "positional"
    fir: bool = False
    progressive_input: ProgressiveInput = "none"

    def _noise(self, labels: jax.Array, condition: jax.Array | None) -> jax.Array | None:
        act = NONLINEARITIES[self.nonlinearity]
        width = (2 if self.embedding == "fourier" else 1) * self.features
        if self.embedding == "fourier":
            h = GaussianFourier(self.features, self.fourier_scale, name="fourier")(labels)
        elif self.embedding == "positional":
            h = sinusoidal(labels, width)
        else:
            h = jnp.zeros((len(labels), width))
        if condition is not None and condition.ndim > 1:
            raise ValueError(f"{type(self).__name__} takes class labels alone; take DDPMpp for vectors and sequences")
        if condition is not None and self.num_classes is not None:
            # a label beyond the classes is a row of zeros
            class_of = jax.nn.one_hot(condition, self.num_classes) * math.sqrt(self.num_classes)
            h = h + nn.Dense(width, kernel_init=dense_init(), dtype=self.dtype, name="classes")(class_of)
        h = with_augmentation(self, h, width, len(labels))
        h = act(nn.Dense(4 * self.features, kernel_init=dense_init(), dtype=self.dtype, name="noise_0")(h))
        # the second nonlinearity is that of the blocks
        return nn.Dense(4 * self.features, kernel_init=dense_init(), dtype=self.dtype, name="noise_1")(h)
