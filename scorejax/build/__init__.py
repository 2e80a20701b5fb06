"""From a config to the objects of a run."""

from scorejax.build.arguments import options, pick, unset
from scorejax.build.model import dataset, init_params, network, score, sde
from scorejax.build.sampling import grid, sampler
from scorejax.build.training import check, learning_rate, objective, optimizer, steps_per_call

__all__ = [
    "check",
    "dataset",
    "grid",
    "init_params",
    "learning_rate",
    "network",
    "objective",
    "optimizer",
    "options",
    "pick",
    "sampler",
    "score",
    "sde",
    "steps_per_call",
    "unset",
]
