"""From a config to the objects of a run."""

from scorejax.build.arguments import options, pick, unset
from scorejax.build.classifier import by_log_snr, is_classifier, logits
from scorejax.build.model import (
    dataset,
    init_params,
    labelled_score,
    learned_range,
    network,
    null_label,
    process_of,
    sample_labels,
    score,
    score_and_range,
    sde,
    shapes,
    with_process,
)
from scorejax.build.objectives import Objective, objective
from scorejax.build.sampling import sampler
from scorejax.build.training import check, learning_rate, optimizer, steps_per_call

__all__ = [
    "Objective",
    "by_log_snr",
    "check",
    "dataset",
    "init_params",
    "is_classifier",
    "labelled_score",
    "learned_range",
    "learning_rate",
    "logits",
    "network",
    "null_label",
    "objective",
    "optimizer",
    "options",
    "pick",
    "process_of",
    "sample_labels",
    "sampler",
    "score",
    "score_and_range",
    "sde",
    "shapes",
    "steps_per_call",
    "unset",
    "with_process",
]
