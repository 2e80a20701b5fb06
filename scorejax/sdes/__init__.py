"""Forward processes: `q(x_t | x_0) = N(alpha_t x_0, sigma_t^2)`, and diffusions with any other drift."""

from collections.abc import Callable

from scorejax.sdes.bases import BASES
from scorejax.sdes.basis import Identity, Rotation, Separable
from scorejax.sdes.blur import blur
from scorejax.sdes.colored import colored
from scorejax.sdes.continuous import cosine, edm, flow, subvp, ve, vp
from scorejax.sdes.corruption import SDE, Corruption
from scorejax.sdes.discrete import ddpm, smld
from scorejax.sdes.drifting import Drifting, drifting
from scorejax.sdes.heat import blurring, ihdm
from scorejax.sdes.laws import independent
from scorejax.sdes.learned import learned
from scorejax.sdes.linear import LinearSDE
from scorejax.sdes.modes import check_process, inverse_mean_log_snr
from scorejax.sdes.reflected import reflected
from scorejax.sdes.still import still
from scorejax.sdes.wells import double_well

__all__ = [
    "BASES",
    "SDE",
    "SDES",
    "Corruption",
    "Drifting",
    "Identity",
    "LinearSDE",
    "Rotation",
    "Separable",
    "blur",
    "blurring",
    "check_process",
    "colored",
    "cosine",
    "ddpm",
    "double_well",
    "drifting",
    "edm",
    "flow",
    "ihdm",
    "independent",
    "inverse_mean_log_snr",
    "learned",
    "reflected",
    "smld",
    "still",
    "subvp",
    "ve",
    "vp",
]

SDES: dict[str, Callable[..., SDE]] = {
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
    "double_well": double_well,
    "reflected": reflected,
}
"""The forward processes by name; the parameters of each with their defaults are its settings."""
