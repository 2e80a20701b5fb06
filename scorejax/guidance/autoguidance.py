"""Autoguidance: a model led away from a worse version of itself."""

from __future__ import annotations

from scorejax.guidance.classifier_free import classifier_free
from scorejax.guidance.strength import Strength
from scorejax.scores.predictions import Score


def autoguidance(good: Score, bad: Score, guidance_scale: Strength = 2.0) -> Score:
    """Return `bad + guidance_scale (good - bad)` (Karras et al., arXiv 2406.02507).

    The paper extrapolates the predicted data, `D = (x + sigma^2 score) / alpha`, which is linear in the score, so that
    this is the same. The bad model is smaller, or less trained, and errs in the same places but more. A scale of 1 is
    the good model, and the bad one is then never evaluated. Beyond 1 the result is not the score of any diffused law:
    of two normal laws the probability-flow ODE gives another standard deviation than the product of their densities.

    Args:
        good: the score of the model.
        bad: that of its worse version, of the same process and the same data.
        guidance_scale: a number, `[B]`, or a function of `t` (`interval`).
    """
    return classifier_free(good, bad, guidance_scale)
