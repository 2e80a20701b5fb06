"""Weights that others have published, as parameters of our networks."""

from scorejax.pretrained.score_sde import from_score_sde, module_from_score_sde_config, params_from_score_sde

__all__ = ["from_score_sde", "module_from_score_sde_config", "params_from_score_sde"]
