"""Conditioning: transforms `score -> score` for every sampler and the likelihood, and the steppers that go beyond.

    score = scorejax.guidance.classifier_free(cond, uncond, guidance_scale=2.0)
    score = scorejax.guidance.moment_matching(sde, score, operators.average_pool(4), y, sigma_y=0.05)

A transform adds the gradient of a log density to the score. How strongly it acts is therefore a property of the law
that is sampled, not of the sampler or of the number of steps. The `nfe` of a sampler counts evaluations of the
transformed score, not of its parts: with classifier-free guidance each is two evaluations of the network, or one
where the scale is 1; with a classifier, one of the network and one of the classifier with its gradient.
"""

from scorejax.guidance import likelihoods, operators
from scorejax.guidance.autoguidance import autoguidance
from scorejax.guidance.classifier_free import classifier_free, classifier_free_batched, drop_each, drop_labels
from scorejax.guidance.cold import cold
from scorejax.guidance.ddrm import ddrm
from scorejax.guidance.editing import colorize, inpaint, sdedit
from scorejax.guidance.energies import faithful, realistic
from scorejax.guidance.experts import class_log_prob, classifier, experts
from scorejax.guidance.posterior import dps, moment_matching, pigdm
from scorejax.guidance.potentials import Potential, potential
from scorejax.guidance.replacement import known, replacement, resampling
from scorejax.guidance.strength import from_w, interval
from scorejax.scores.clipping import clipped

__all__ = [
    "Potential",
    "autoguidance",
    "class_log_prob",
    "classifier",
    "classifier_free",
    "classifier_free_batched",
    "clipped",
    "cold",
    "colorize",
    "ddrm",
    "dps",
    "drop_each",
    "drop_labels",
    "experts",
    "faithful",
    "from_w",
    "inpaint",
    "interval",
    "known",
    "likelihoods",
    "moment_matching",
    "operators",
    "pigdm",
    "potential",
    "realistic",
    "replacement",
    "resampling",
    "sdedit",
]
