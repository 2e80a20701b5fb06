"""From a config to the objects of a run."""

from scorejax.build.arguments import options, pick, unset
from scorejax.build.classifier import by_log_snr, is_classifier, logits
from scorejax.build.model import dataset, init_params, labelled_score, network, null_label, score, sde
from scorejax.build.sampling import sampler
from scorejax.build.training import check, learning_rate, loss, objective, optimizer, steps_per_call

__all__ = [
    "by_log_snr",
    "check",
    "dataset",
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
