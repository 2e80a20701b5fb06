"""Forward processes `q(x_t | x_0) = N(alpha_t x_0, sigma_t^2)`."""

from collections.abc import Callable

from scorejax.sdes.basis import Identity, Rotation
from scorejax.sdes.continuous import cosine, edm, flow, subvp, ve, vp
from scorejax.sdes.discrete import ddpm, smld
from scorejax.sdes.learned import learned
from scorejax.sdes.linear import LinearSDE
from scorejax.sdes.still import still

__all__ = [
    "SDES",
    "Identity",
    "LinearSDE",
    "Rotation",
    "cosine",
    "ddpm",
    "edm",
    "flow",
    "learned",
    "smld",
    "still",
    "subvp",
    "ve",
    "vp",
]

SDES: dict[str, Callable[..., LinearSDE]] = {
    "vp": vp,
    "ve": ve,
    "subvp": subvp,
    "edm": edm,
    "cosine": cosine,
    "flow": flow,
    "ddpm": ddpm,
    "smld": smld,
    "learned": learned,
}
"""The forward processes by name; the parameters of each with their defaults are its settings."""
