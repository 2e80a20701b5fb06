"""From a config to the objects of a run."""

from scorejax.build.arguments import options, pick, unset
from scorejax.build.model import (
    dataset,
    init_params,
    labelled_score,
    learned_range,
    network,
    null_label,
    score,
    sde,
)
from scorejax.build.sampling import sampler
from scorejax.build.training import check, learning_rate, objective, optimizer, steps_per_call

__all__ = [
    "check",
    "dataset",
    "init_params",
    "labelled_score",
    "learned_range",
    "learning_rate",
    "network",
    "null_label",
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
