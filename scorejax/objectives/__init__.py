"""Training objectives: `(key, sde, score, x0) -> loss [B]`."""

from scorejax.objectives.denoising import WEIGHTINGS, denoising
from scorejax.objectives.npr import variance_head
from scorejax.objectives.time_sampling import TIME_SAMPLERS, draw_times, time_density
from scorejax.objectives.vdm import continuous_vlb
from scorejax.objectives.vlb import LossHistory, draw_terms, hybrid, vlb

__all__ = [
    "TIME_SAMPLERS",
    "WEIGHTINGS",
    "LossHistory",
    "continuous_vlb",
    "denoising",
    "draw_terms",
    "draw_times",
    "hybrid",
    "time_density",
    "variance_head",
    "vlb",
]
