"""NCSN and NCSNv2: the RefineNets of score matching at discrete noise levels."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import Interval

from scorejax.models.embedding import check_labels, noise_level
from scorejax.models.layers import Dtype, Nonlinearity, divide_score
from scorejax.models.refinenet_layers import (
    InstanceNormPlus,
    Interpolation,
    RefineBlock,
    ResidualBlock,
    Style,
    conv,
    level_weights,
)
from scorejax.numerics.ranges import Count

# By number of stages: channel multipliers on the way down, and of the RefineNet on the way up.
_MULTIPLIERS = {
    4: ((1, 2, 2, 2), (2, 2, 1, 1)),
    5: ((1, 2, 2, 4, 4), (4, 2, 2, 1, 1)),
    6: ((1, 2, 2, 2, 4, 4), (4, 2, 2, 2, 1, 1)),
}


class RefineNet(nn.Module):
    """The trunk that `NCSN` and `NCSNv2` share: residual stages down, a RefineNet up.

    Every stage but the first and the last two halves the image; the last two are dilated by 2 and 4 instead.
    Any image size works: an odd side is halved upwards, and the way up resizes to the sizes of the way down.

    Attributes:
        features: channels at the first stage.
        stages: depth: 4 for images of about 32 to 64 pixels, 5 for 128, 6 for 256.
        refine_multipliers: factors on `features` in the RefineNet, from the coarsest stage to the finest. None
            takes those of the original: (2, 2, 1, 1), (4, 2, 2, 1, 1) and (4, 2, 2, 2, 1, 1). The 4-stage
            network of the JAX code of score_sde has (2, 2, 2, 1).
        centered_input: whether images live in [-1, 1]; if not, in [0, 1], and are mapped to `2x - 1` first.
        nonlinearity: "elu", "relu", "leaky_relu" (of slope 0.2) or "silu".
        interpolation: how coarse images are enlarged: "bilinear_align_corners" (the original and the PyTorch
            code of score_sde), "bilinear_half_pixel" (its JAX code) or "nearest".
        channel_ddof: the variance over channels in InstanceNorm++ divides by `channels - channel_ddof`: 0 (the
            JAX code of score_sde) or 1 (networks trained in PyTorch).
        learned_range: whether the output has twice the channels; the second half is `2 v - 1` of a reverse variance
            between two bounds (improved DDPM, see `variance.LearnedRange`).
        dtype: type to compute in, e.g. bfloat16. Parameters, norms and output are float32.
        remat: recompute the blocks in the backward pass instead of storing what is inside them. Neither
            parameters nor values depend on it.
    """

    features: Count = 128
    stages: Annotated[int, Interval(ge=4, le=6)] = 4
    refine_multipliers: Sequence[Count] | None = None
    centered_input: bool = True
    nonlinearity: Nonlinearity = "elu"
    interpolation: Interpolation = "bilinear_align_corners"
    channel_ddof: Literal[0, 1] = 0
    learned_range: bool = False
    dtype: Dtype = jnp.float32
    remat: bool = False

    def _trunk(self, x: jax.Array, levels: jax.Array | None) -> jax.Array:
        """The map of images to images, given the weights `[B, L]` of noise levels, or none."""
        style = Style(self.channel_ddof, self.nonlinearity, self.interpolation, self.dtype)
        down, up = _MULTIPLIERS[self.stages]
        # Explicit names keep the tree the same under remat.
        make_block = nn.remat(ResidualBlock) if self.remat else ResidualBlock
        make_refine = nn.remat(RefineBlock) if self.remat else RefineBlock

        h = x.astype(self.dtype) if self.centered_input else 2 * x.astype(self.dtype) - 1
        h = conv(h, self.features, "conv_in", self.dtype)
        outputs = []
        for i, multiplier in enumerate(down):
            dilation = {self.stages - 2: 2, self.stages - 1: 4}.get(i, 1)
            for j in range(2):
                block = make_block(
                    self.features * multiplier, style, i > 0 and j == 0, dilation, name=f"stage_{i}_block_{j}"
                )
                h = block(h, levels)
            outputs.append(h)
        refined = []
        for i, multiplier in enumerate(self.refine_multipliers or up):
            units = 3 if i == self.stages - 1 else 1
            refine = make_refine(self.features * multiplier, style, units, name=f"refine_{i}")
            refined = [refine([outputs.pop(), *refined], levels)]
        # What follows decides the precision of the score, and costs nothing: it is float32.
        h = style.activate(InstanceNormPlus(self.channel_ddof, name="norm_out")(refined[0], levels))
        return conv(h, x.shape[-1] * (1 + self.learned_range), "conv_out", jnp.float32)

    def _check(self, x: jax.Array, labels: jax.Array, condition: jax.Array | None) -> None:
        name = type(self).__name__
        if x.ndim != 4:
            raise ValueError(f"{name} takes images [batch, height, width, channels], got an array of shape {x.shape}")
        for field, choices in (
            ("stages", tuple(_MULTIPLIERS)),
            ("nonlinearity", get_args(Nonlinearity)),
            ("interpolation", get_args(Interpolation)),
            ("channel_ddof", (0, 1)),
        ):
            if getattr(self, field) not in choices:
                raise ValueError(f"{field} must be one of {choices}, got {getattr(self, field)!r}")
        if self.features < 1:
            raise ValueError(f"features must be at least 1, got {self.features}")
        coarsest = _MULTIPLIERS[self.stages][0][-1]
        given = self.refine_multipliers
        if given is not None and (len(given) != self.stages or given[0] != coarsest or min(given) < 1):
            raise ValueError(
                f"refine_multipliers must be {self.stages} whole numbers, one per stage, and the first must be "
                f"{coarsest}, the factor of the coarsest stage; got {tuple(given)}: None takes those of the original"
            )
        check_labels(x.shape[0], labels)
        if condition is not None:
            raise ValueError(f"a condition was given, but {name} is an unconditional network: leave it out")


class NCSN(RefineNet):
    """Noise conditional score network (Song & Ermon 2019): `(image, noise level) -> score`.

    Every convolution follows an InstanceNorm++ that has its own parameters at each noise level. A label is the
    index of the level, counted from the largest noise down, as `sde.label` of the `smld` chain gives it;
    between two levels the norms' parameters are interpolated. A label outside of the levels gives NaN.

    `model.apply({"params": params}, x, labels)`

    Attributes:
        num_levels: number of noise levels. The other attributes are those of `RefineNet`.
    """

    role = "scores"
    ranks = (3,)
    tiny: ClassVar[dict[str, object]] = {"features": 8}

    num_levels: int = 10

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network.

        Args:
            x: images `[B, H, W, C]`.
            labels: indices of noise levels `[B]`, 0 for the largest noise.
            condition: must be None: the network is unconditional.
            train: without effect: nothing is dropped.

        Returns:
            Float32 array of the shape of `x`, or with twice the channels.

        Raises:
            ValueError: if a field or a shape does not fit, or a condition is given.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels, condition)
        if self.num_levels < 1:
            raise ValueError(f"num_levels must be at least 1, got {self.num_levels}")
        return self._trunk(x, level_weights(labels, self.num_levels))


class NCSNv2(RefineNet):
    """NCSNv2 (Song & Ermon 2020): `(image, noise level) -> score`, one unconditional network divided by sigma.

    `s(x, sigma) = net(x) / sigma`. The default is the network for images of up to 64 pixels, with 29.7 million
    parameters.

    `model.apply({"params": params}, x, labels)`

    Attributes:
        noise_levels: (largest sigma, smallest sigma, count) of a geometric sequence. A label is then an index
            from the largest, 0, down, as `sde.label` of the `smld` chain gives it. None: the label is sigma
            itself, as with `ve`. The other attributes are those of `RefineNet`.
    """

    role = "scores"
    ranks = (3,)
    tiny: ClassVar[dict[str, object]] = {"features": 8}

    noise_levels: tuple[float, float, int] | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network.

        Args:
            x: images `[B, H, W, C]`.
            labels: indices of noise levels `[B]`, 0 for the largest noise; without `noise_levels`, sigma.
            condition: must be None: the network is unconditional.
            train: without effect: nothing is dropped.

        Returns:
            Float32 array of the shape of `x`, or with twice the channels.

        Raises:
            ValueError: if a field or a shape does not fit, or a condition is given.
        """
        labels = jnp.asarray(labels)
        self._check(x, labels, condition)
        if self.noise_levels is not None:
            largest, smallest, count = self.noise_levels
            if not (largest > smallest > 0 and count >= 2):
                raise ValueError(
                    "noise_levels must be (largest sigma, smallest sigma, count) with largest > smallest > 0 and "
                    f"count >= 2, got {tuple(self.noise_levels)}"
                )
        return divide_score(self._trunk(x, None), noise_level(labels, self.noise_levels), x.shape[-1])
