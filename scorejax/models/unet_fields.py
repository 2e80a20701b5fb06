"""What the fields of the general U-Net may be, and how it is shrunk for a trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import jax

from scorejax.models.layers import NONLINEARITIES

CHOICES = {
    "block": ("biggan", "ddpm"),
    "progressive": ("none", "output_skip", "residual"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive_combine": ("sum", "cat"),
    "embedding": ("positional", "fourier", "none"),
    "nonlinearity": tuple(NONLINEARITIES),
    "attention_up": ("level", "block"),
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
