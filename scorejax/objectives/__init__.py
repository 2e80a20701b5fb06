"""Training objectives: `(key, sde, score, x0) -> loss [B]`."""

from scorejax.objectives.denoising import denoising
from scorejax.objectives.sliced import implicit, sliced
from scorejax.objectives.time_sampling import TIME_SAMPLERS, draw_times, time_density
from scorejax.objectives.weighting import REDUCTIONS, WEIGHTINGS

__all__ = [
    "REDUCTIONS",
    "TIME_SAMPLERS",
    "WEIGHTINGS",
    "denoising",
    "draw_times",
    "implicit",
    "sliced",
    "time_density",
]
