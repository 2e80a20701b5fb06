"""From a config to the objects of a run."""

from scorejax.experiment.assemble.arguments import options, pick, unset
from scorejax.experiment.assemble.chains import VARIANCES, Fitted, Head, Plan, chain, grid, needs
from scorejax.experiment.assemble.classifier import by_log_snr, is_classifier, logits
from scorejax.experiment.assemble.model import (
    check_takes_labels,
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
from scorejax.experiment.assemble.objectives import Objective, objective
from scorejax.experiment.assemble.sampling import needed, plan, sampler
from scorejax.experiment.assemble.training import check, learning_rate, optimizer, steps_per_call

__all__ = [
    "VARIANCES",
    "Fitted",
    "Head",
    "Objective",
    "Plan",
    "by_log_snr",
    "chain",
    "check",
    "check_takes_labels",
    "dataset",
    "grid",
    "init_params",
    "is_classifier",
    "labelled_score",
    "learned_range",
    "learning_rate",
    "logits",
    "needed",
    "needs",
    "network",
    "null_label",
    "objective",
    "optimizer",
    "options",
    "pick",
    "plan",
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
