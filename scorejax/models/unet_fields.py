"""What the fields of the general U-Net may be, and how it is shrunk for a trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol, TypeAlias, get_args

import jax
from annotated_types import MinLen

from scorejax.models.layers import Nonlinearity
from scorejax.numerics.ranges import Count, Finite

Block: TypeAlias = Literal["biggan", "ddpm"]
Progressive: TypeAlias = Literal["none", "output_skip", "residual"]
ProgressiveInput: TypeAlias = Literal["none", "input_skip", "residual"]
ProgressiveCombine: TypeAlias = Literal["sum", "cat"]
Embedding: TypeAlias = Literal["positional", "fourier", "none"]
AttentionUp: TypeAlias = Literal["level", "block"]
Multipliers: TypeAlias = Annotated[Sequence[Count], MinLen(1)]
Taps: TypeAlias = Annotated[Sequence[Finite], MinLen(2)]
CHOICES = {
    "block": get_args(Block),
    "progressive": get_args(Progressive),
    "progressive_input": get_args(ProgressiveInput),
    "progressive_combine": get_args(ProgressiveCombine),
    "embedding": get_args(Embedding),
    "nonlinearity": get_args(Nonlinearity),
    "attention_up": get_args(AttentionUp),
}
TINY: dict[str, object] = {
    "features": 8,
    "channel_multipliers": (1, 1),
    "blocks_per_level": 1,
    "attention_resolutions": (),
    "dropout": 0.0,
}


class Unet(Protocol):
    """The fields of a U-Net that `check_unet` checks against each other."""

    @property
    def features(self) -> int: ...
    @property
    def blocks_per_level(self) -> int: ...
    @property
    def channel_multipliers(self) -> Sequence[int]: ...


def level_sizes(shape: tuple[int, ...], levels: int) -> set[int]:
    """Return the sizes (the longer side, in pixels) that images `(H, W, C)` have at the levels of a U-Net."""
    return {-(-max(shape[:2]) // 2**level) for level in range(levels)}


def check_unet(network: Unet, x: jax.Array) -> None:
    """Check the fields of a U-Net, and that its levels fit into the images `[B, H, W, C]`.

    Raises:
        ValueError: if a field has no such value, or the images are too small.
    """
    name = type(network).__name__
    if x.ndim != 4:
        raise ValueError(f"{name} takes images [batch, height, width, channels], got an array of shape {x.shape}")
    for field, choices in CHOICES.items():
        if getattr(network, field) not in choices:
            raise ValueError(f"{field} must be one of {choices}, got {getattr(network, field)!r}")
    if network.features < 1 or network.blocks_per_level < 1 or not network.channel_multipliers:
        raise ValueError(
            "features and blocks_per_level must be at least 1 and channel_multipliers not empty, got "
            f"{network.features}, {network.blocks_per_level} and {tuple(network.channel_multipliers)}"
        )
    halvings = len(network.channel_multipliers) - 1
    if min(x.shape[1:3]) <= 2 ** (halvings - 1):
        raise ValueError(
            f"channel_multipliers {tuple(network.channel_multipliers)} halve the image {halvings} times, but "
            f"{x.shape[1]}x{x.shape[2]} is down to one pixel before: use fewer multipliers"
        )
