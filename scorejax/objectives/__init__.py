"""Training objectives: `(key, sde, score, x0) -> loss [B]`."""

from scorejax.objectives.denoising import WEIGHTINGS, denoising
from scorejax.objectives.time_sampling import TIME_SAMPLERS, draw_times, time_density

__all__ = ["TIME_SAMPLERS", "WEIGHTINGS", "denoising", "draw_times", "time_density"]
