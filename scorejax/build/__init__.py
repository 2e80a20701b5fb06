"""From a config to the objects of a run."""

from scorejax.build.arguments import options, pick, unset
from scorejax.build.classifier import by_log_snr, is_classifier, logits
from scorejax.build.model import (
    check_takes_labels,
    dataset,
    init_params,
    labelled_score,
    network,
    null_label,
    score,
    sde,
)
from scorejax.build.sampling import grid, sampler
from scorejax.build.training import check, learning_rate, loss, objective, optimizer, steps_per_call

__all__ = [
    "by_log_snr",
    "check",
    "check_takes_labels",
    "dataset",
    "grid",
    "init_params",
    "is_classifier",
    "labelled_score",
    "learning_rate",
    "logits",
    "loss",
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
