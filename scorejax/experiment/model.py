"""What a trained model can do: capabilities, each there or None.

Evaluation, sampling and sweeps ask which of them a model has; none asks what kind of training it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from jax import Array
from jax.tree_util import Partial

from scorejax.degradations import Degradation
from scorejax.numerics.trees import register_dataclass, static
from scorejax.reverse.variance import VarianceHead
from scorejax.samplers import Stepper
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import SDE, Corruption


class ConditionalScore(Protocol):
    """A score that takes a condition `[B, ...]`; None for a model without conditions."""

    def __call__(self, x: Array, t: Array, condition: Array | None, /) -> Array: ...


class Logits(Protocol):
    """Log-probabilities of classes, up to a constant, `[B, K]`."""

    def __call__(self, x: Array, t: Array, /) -> Array: ...


@register_dataclass
@dataclass(frozen=True)
class Model:
    """Capabilities of a trained model. A pytree whose leaves are its weights, so that it can be the argument of a
    compiled program, and other weights compile nothing again; every function in it is a `jax.tree_util.Partial`.

    Attributes:
        sde: the forward process; where it is learned, as the weights have it.
        degradation: what `restore` undoes, in the place of a process.
        score: `(x [B, ...], t [B], condition) -> grad log p_t`.
        energy: `(x [B, ...]) -> nats [B]`, minus the log density up to a constant; minus its gradient is the score.
        learned_range: `condition -> VarianceHead`, reverse variances that the network learned with its score.
        bound_bits: `(keys [B], raw [B, ...], condition, times) -> bits/dim [B]` of the bound that was trained, for
            models that were trained by one in continuous time.
        log_prob: `(keys [B], x [B, ...]) -> nats [B]`, the log density of model space.
        evidence: `(keys [B], raw [B, ...], samples=, temperatures=) -> likelihood.Evidence`, a lower bound of the log
            probability of gray levels, or of the log density of model space for vectors, under latent variables.
        sample: `(keys [B], shape) -> x [B, ...]`, by the model's own way.
        logits: `(x, t) -> [B, K]`, of noisy data; a model without a process ignores `t`.
        features: `(x, t)`, the last feature map of a classifier.
        logits_of_features: `features [B, F] -> [B, K]`, the last layer of a classifier whose features are vectors.
        restore: `(x [B, ...], t [B]) -> x_0`, of degraded data.
        binarizes: whether the evidence is that of black and white pixels, drawn from the gray levels.
        temperature: of the chains that an energy was trained against, in units of what the network returns.
        sample_nfe: network evaluations that `sample` makes.
        of_process: `(sde, cleanest) -> Model`, the same weights for another process: of a classifier that follows the
            log SNR. Data cleaner than the log SNR `cleanest` pass for that clean. None: for its own process alone.
        variance_head: `(sde, score) -> VarianceHead`, of a head that was trained next to this score.
        dequantizer: `(keys [B], raw [B, ...]) -> (noise in (0, 1), its log density [B])`.
        self_conditioned: whether the score has a place for its last estimate of the data, which a sampler fills.
        observes: whether points may hold NaN, a number that is missing; see `scores.observed`.
        conditional: whether the score takes a condition.
        null_condition: the condition that stands for none; None if the model was not trained with one.
        num_classes: how many classes the condition or the logits have; 0 for none.
        feature_layer: the layer of an image network whose input is its last feature map.
    """

    sde: SDE | None = None
    degradation: Degradation | None = None
    score: Partial | None = None
    energy: Partial | None = None
    learned_range: Partial | None = None
    bound_bits: Partial | None = None
    log_prob: Partial | None = None
    evidence: Partial | None = None
    sample: Partial | None = None
    logits: Partial | None = None
    features: Partial | None = None
    logits_of_features: Partial | None = None
    restore: Partial | None = None
    of_process: Partial | None = None
    variance_head: Partial | None = None
    dequantizer: Partial | None = None
    conditional: bool = static(default=False)
    self_conditioned: bool = static(default=False)
    observes: bool = static(default=False)
    binarizes: bool = static(default=False)
    temperature: float = static(default=1.0)
    sample_nfe: int = static(default=1)
    null_condition: float | None = static(default=None)
    num_classes: int = static(default=0)
    feature_layer: str = static(default="norm_out")

    def can(self) -> list[str]:
        """The names of the capabilities that are there."""
        return [name for name in CAPABILITIES if getattr(self, name) is not None]

    def described(self) -> str:
        """The same for a message, with what kind of score there is."""
        if self.sde is None:
            kind = "score without a forward process"
        elif not self.sde.moves:
            kind = "score of one noise level"
        else:
            kind = "self-conditioned score" if self.self_conditioned else "score"
        return ", ".join(kind if name == "score" else name for name in self.can())

    def offers(self, *capabilities: str) -> bool:
        """Whether the model has one of these capabilities.

        A score counts only together with its process. On one that does not move it is no diffusion, and counts as
        `chains`: samples are drawn from it by Langevin chains. One that is given its last estimate of the data is no
        function of point and time, and counts as `steps`: a sampler hands the estimate on. A restoration counts as
        `generation` too if the law of the last level of its degradation is known.
        """
        there = set(self.can())
        if self.sde is None:
            there.discard("score")
        elif not self.sde.moves and "score" in there:
            there = (there - {"score"}) | {"chains"}
        elif self.self_conditioned and "score" in there:
            there = (there - {"score"}) | {"steps"}
        if self.degradation is not None and self.degradation.starts:
            there.add("generation")
        return bool(there & set(capabilities))

    @property
    def process(self) -> Corruption | None:
        """What samples are drawn along: the forward process, or the degradation."""
        return self.degradation if self.sde is None else self.sde

    def sampled_by(self, stepper: Stepper) -> Stepper:
        """The stepper with the energy of the model, for one that asks for it; call it inside the compiled program."""
        return stepper if self.energy is None else stepper.with_energy(Partial(_at_any_time, self.energy))

    def score_given(self, condition: Array | None) -> Score:
        """The score `(x, t)` given this condition, in the form that samplers take.

        Raises:
            ValueError: the model has no score.
        """
        if self.score is None:
            raise ValueError(f"this model has no score; it has {', '.join(self.can())}")
        return Partial(_given, self.score, condition)


TO_DRAW = ("sample", "score", "chains", "steps", "generation")
"""Capabilities of which samples need one, see `Model.offers`."""


def any_of(capabilities: Sequence[str]) -> str:
    """Capabilities of which one is needed, for a message; `steps` goes without saying where a score would do."""
    return " or ".join(each for each in dict.fromkeys(capabilities) if each != "steps" or "score" not in capabilities)


CAPABILITIES = (
    "score",
    "energy",
    "learned_range",
    "bound_bits",
    "log_prob",
    "evidence",
    "sample",
    "logits",
    "features",
    "logits_of_features",
    "restore",
    "of_process",
    "variance_head",
    "dequantizer",
)


def _given(score: Callable[..., Array], condition: Array | None, x: Array, t: Array) -> Array:
    return score(x, t, condition)


def _at_any_time(energy: Callable[[Array], Array], x: Array, t: Array) -> Array:
    return energy(x)


__all__ = ["CAPABILITIES", "TO_DRAW", "ConditionalScore", "Logits", "Model", "VarianceHead", "any_of"]
