"""Training objectives: `(key, sde, score, x0) -> loss [B]`, never averaged over the batch."""

from collections.abc import Callable

from jax import Array

from scorejax.objectives.classification import CLASSIFICATION_WEIGHTINGS, classification
from scorejax.objectives.denoising import denoising
from scorejax.objectives.npr import variance_head
from scorejax.objectives.sliced import implicit, sliced
from scorejax.objectives.time_sampling import TIME_SAMPLERS, draw_times, time_density
from scorejax.objectives.vdm import continuous_vlb
from scorejax.objectives.vlb import LossHistory, draw_terms, hybrid, vlb
from scorejax.objectives.weighting import REDUCTIONS, WEIGHTINGS

__all__ = [
    "CLASSIFICATION_WEIGHTINGS",
    "OBJECTIVES",
    "REDUCTIONS",
    "TIME_SAMPLERS",
    "WEIGHTINGS",
    "LossHistory",
    "classification",
    "continuous_vlb",
    "denoising",
    "draw_terms",
    "draw_times",
    "hybrid",
    "implicit",
    "sliced",
    "time_density",
    "variance_head",
    "vlb",
]

OBJECTIVES: dict[str, Callable[..., Array]] = {
    "denoising": denoising,
    "sliced": sliced,
    "implicit": implicit,
    "hybrid": hybrid,
    "vlb": vlb,
    "continuous_vlb": continuous_vlb,
    "classification": classification,
}
"""The objectives by name; the parameters of each with their defaults are its settings, but for what the program
supplies: `t`, `terms` and `proposal` (drawn for the whole batch), `chain`, `levels`, `centered` and `diffuse`."""
