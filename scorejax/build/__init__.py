"""From a config to the objects of a run."""

from scorejax.build.arguments import options, pick, unset
from scorejax.build.chains import VARIANCES, Fitted, Head, Plan, chain, needs
from scorejax.build.classifier import by_log_snr, is_classifier, logits
from scorejax.build.model import dataset, init_params, labelled_score, network, null_label, score, sde
from scorejax.build.sampling import needed, plan, sampler
from scorejax.build.training import check, learning_rate, loss, objective, optimizer, steps_per_call

__all__ = [
    "VARIANCES",
    "Fitted",
    "Head",
    "Plan",
    "by_log_snr",
    "chain",
    "check",
    "dataset",
    "init_params",
    "is_classifier",
    "labelled_score",
    "learning_rate",
    "logits",
    "loss",
    "needed",
    "needs",
    "network",
    "null_label",
    "objective",
    "optimizer",
    "options",
    "pick",
    "plan",
    "sampler",
    "score",
    "sde",
    "steps_per_call",
    "unset",
]
