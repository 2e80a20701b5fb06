"""What the fields of the general U-Net may be, and how it is shrunk for a trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol, TypeAlias, get_args

import jax
from annotated_types import MinLen

from scorejax.models.layers import Nonlinearity, Padding
from scorejax.numerics.ranges import Count, Finite

Block: TypeAlias = Literal["biggan", "ddpm"]
Progressive: TypeAlias = Literal["none", "output_skip", "residual"]
ProgressiveInput: TypeAlias = Literal["none", "input_skip", "residual"]
ProgressiveCombine: TypeAlias = Literal["sum", "cat"]
Embedding: TypeAlias = Literal["positional", "fourier", "none"]
AttentionUp: TypeAlias = Literal["level", "block"]
Multipliers: TypeAlias = Annotated[Sequence[Count], MinLen(1)]
Paddings: TypeAlias = Annotated[Sequence[Padding], MinLen(1)]
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
    @property
    def padding(self) -> Sequence[Padding]: ...


def level_sizes(shape: tuple[int, ...], levels: int) -> set[int]:
    """Return the sizes (the longest side, in pixels) that examples `(*sides, C)` have at the levels of a U-Net."""
    return {-(-max(shape[:-1]) // 2**level) for level in range(levels)}


def paddings(padding: Sequence[Padding], sides: int) -> tuple[Padding, ...]:
    """Return what lies beyond the edges of every side: one for all, or one each.

    Raises:
        ValueError: another number of them, or an unknown one.
    """
    chosen = tuple(padding) * sides if len(padding) == 1 else tuple(padding)
    if len(chosen) != sides or not set(chosen) <= set(get_args(Padding)):
        raise ValueError(
            f"padding is zeros or circular, one for all sides or one for each of the {sides}, got {tuple(padding)}"
        )
    return chosen


def check_unet(network: Unet, x: jax.Array) -> None:
    """Check the fields of a U-Net, and that its levels fit into examples `[B, *sides, C]` of one to three sides.

    Raises:
        ValueError: if a field has no such value, or the sides are too small, or do not close to circles.
    """
    name = type(network).__name__
    if x.ndim not in (3, 4, 5):
        raise ValueError(
            f"{name} takes images [batch, height, width, channels], series [batch, length, channels] or volumes "
            f"[batch, depth, height, width, channels], got an array of shape {x.shape}"
        )
    for field, choices in CHOICES.items():
        if getattr(network, field) not in choices:
            raise ValueError(f"{field} must be one of {choices}, got {getattr(network, field)!r}")
    if network.features < 1 or network.blocks_per_level < 1 or not network.channel_multipliers:
        raise ValueError(
            "features and blocks_per_level must be at least 1 and channel_multipliers not empty, got "
            f"{network.features}, {network.blocks_per_level} and {tuple(network.channel_multipliers)}"
        )
    sides, halvings = x.shape[1:-1], len(network.channel_multipliers) - 1
    if max(sides) > 1 and min(side for side in sides if side > 1) <= 2 ** (halvings - 1):
        raise ValueError(
            f"channel_multipliers {tuple(network.channel_multipliers)} halve the image {halvings} times, but "
            f"{'x'.join(map(str, sides))} is down to one pixel before: use fewer multipliers"
        )
    unit = 2**halvings
    for axis, (side, kind) in enumerate(zip(sides, paddings(network.padding, len(sides)), strict=True)):
        if kind == "circular" and side > 1 and side % unit:
            near = [n for n in (side // unit * unit, -(-side // unit) * unit) if n]
            raise ValueError(
                f"axis {axis} has {side} pixels around its circle, which channel_multipliers "
                f"{tuple(network.channel_multipliers)} halve {halvings} times: take a multiple of {unit}, such as "
                f"{' or '.join(map(str, near))}, padding=zeros on this axis, or fewer multipliers"
            )
