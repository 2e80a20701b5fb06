"""Weights that others have published, as parameters of our networks."""

from scorejax.models.pretrained.diffusers import from_diffusers, module_from_diffusers_config, params_from_diffusers
from scorejax.models.pretrained.load import load
from scorejax.models.pretrained.score_sde import from_score_sde, module_from_score_sde_config, params_from_score_sde
from scorejax.models.pretrained.score_sde_flax import read_score_sde_flax
from scorejax.models.pretrained.score_sde_torch import read_score_sde_torch

__all__ = [
    "from_diffusers",
    "from_score_sde",
    "load",
    "module_from_diffusers_config",
    "module_from_score_sde_config",
    "params_from_diffusers",
    "params_from_score_sde",
    "read_score_sde_flax",
    "read_score_sde_torch",
]
