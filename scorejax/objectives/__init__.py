"""Training objectives, never averaged over the batch: `(key, sde, score, x0) -> loss [B]` of a process, and, in
`score_matching`, `(key, score, x) -> loss [B]` of one density."""

from collections.abc import Callable

from jax import Array

from scorejax.objectives import linear_family, score_matching
from scorejax.objectives.classification import CLASSIFICATION_WEIGHTINGS, classification
from scorejax.objectives.contrastive import Contrast, contrastive
from scorejax.objectives.denoising import denoising
from scorejax.objectives.npr import variance_head
from scorejax.objectives.over_time import over_time
from scorejax.objectives.score_matching import MATCHINGS
from scorejax.objectives.sliced import finite_difference, implicit, sliced
from scorejax.objectives.time_laws import CosMap, LogitNormal, LogNormal, Mode, TimeLaw
from scorejax.objectives.time_sampling import TIME_SAMPLERS, TIMES, TimesBy, draw_times, time_density
from scorejax.objectives.vdm import continuous_vlb
from scorejax.objectives.vlb import LossHistory, draw_terms, hybrid, vlb
from scorejax.objectives.weighting import FIXED_WEIGHTINGS, REDUCTIONS, WEIGHTINGS

__all__ = [
    "CLASSIFICATION_WEIGHTINGS",
    "FIXED_WEIGHTINGS",
    "MATCHINGS",
    "OBJECTIVES",
    "REDUCTIONS",
    "TIMES",
    "TIME_SAMPLERS",
    "WEIGHTINGS",
    "Contrast",
    "CosMap",
    "LogNormal",
    "LogitNormal",
    "LossHistory",
    "Mode",
    "TimeLaw",
    "TimesBy",
    "classification",
    "continuous_vlb",
    "contrastive",
    "denoising",
    "draw_terms",
    "draw_times",
    "finite_difference",
    "hybrid",
    "implicit",
    "linear_family",
    "over_time",
    "score_matching",
    "sliced",
    "time_density",
    "variance_head",
    "vlb",
]

OBJECTIVES: dict[str, Callable[..., Array]] = {
    "denoising": denoising,
    "sliced": sliced,
    "implicit": implicit,
    "finite_difference": finite_difference,
    "hybrid": hybrid,
    "vlb": vlb,
    "continuous_vlb": continuous_vlb,
    "classification": classification,
}
"""The objectives by name; the parameters of each with their defaults are its settings, but for what the program
supplies: `t`, `terms` and `proposal` (drawn for the whole batch), `chain`, `levels`, `centered` and `diffuse`."""
