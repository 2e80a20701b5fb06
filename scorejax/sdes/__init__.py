"""Forward processes `q(x_t | x_0) = N(alpha_t x_0, sigma_t^2)`."""

from collections.abc import Callable

from scorejax.sdes.bases import BASES
from scorejax.sdes.basis import Identity, Rotation, Separable
from scorejax.sdes.blur import blur
from scorejax.sdes.colored import colored
from scorejax.sdes.continuous import cosine, edm, flow, subvp, ve, vp
from scorejax.sdes.corruption import SDE, Corruption
from scorejax.sdes.discrete import ddpm, smld
from scorejax.sdes.heat import blurring, ihdm
from scorejax.sdes.learned import learned
from scorejax.sdes.linear import LinearSDE
from scorejax.sdes.modes import inverse_mean_log_snr
from scorejax.sdes.still import still

__all__ = [
    "BASES",
    "SDE",
    "SDES",
    "Corruption",
    "Identity",
    "LinearSDE",
    "Rotation",
    "Separable",
    "blur",
    "blurring",
    "colored",
    "cosine",
    "ddpm",
    "edm",
    "flow",
    "ihdm",
    "inverse_mean_log_snr",
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
    "blur": blur,
    "blurring": blurring,
    "ihdm": ihdm,
}
"""The forward processes by name; the parameters of each with their defaults are its settings."""
