"""A linen network as a score, as reverse variances, and as a classifier of noisy data.

What is bound here are `jax.tree_util.Partial`s with static parts that are equal for equal networks, so that compiled
programs are found again for any parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypedDict

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.experiment.assemble.parameters import of_network
from scorejax.models.augment import AUGMENT
from scorejax.models.dropout import DropoutKeys, in_training
from scorejax.models.self_conditioned import ESTIMATE
from scorejax.numerics.trees import PyTree
from scorejax.reverse.variance import AroundForward, LearnedRange, VarianceHead
from scorejax.scores.predictions import make_conditional_score
from scorejax.scores.self_conditioning import Estimate
from scorejax.sdes import SDE, LinearSDE
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.discrete import Chain

NoiseLabel: TypeAlias = Literal["process", "log_ratio", "log_half_ratio"]
"""What a network is given about the noise: the label of its process, or, of the ratio `r = sigma / alpha`, either
`ln(r) / 4`, as under the preconditioning of EDM, or `ln(r / 2)`, as under EDM's form of VE."""

ReverseVariance: TypeAlias = Literal["range", "around_forward"]
"""What the second half of the output of a network with `learned_range` says, see `learned_range`."""


class About(TypedDict):
    """How a network is preconditioned, and what else it is given, see `score`."""

    sigma_data: float
    noise_label: NoiseLabel
    self_conditioned: bool


class Applied(Protocol):
    """What is applied as a linen module is; a protocol, since `run_once` gives something that is none."""

    def apply(self, variables: PyTree, /, *args: PyTree, **options: PyTree) -> PyTree:
        """Run the network with these variables."""


def score(
    process: SDE,
    module: Applied,
    params: PyTree,
    predicts: str,
    *,
    sigma_data: float = 0.5,
    noise_label: NoiseLabel = "process",
    dropout: DropoutKeys | None = None,
    augmented: Array | None = None,
    self_conditioned: bool = False,
) -> Partial:
    """The network as `(x, t, condition) -> score`.

    Args:
        process: the forward process, as `process_of` has it.
        module: the network.
        params: its parameters, as `with_process` made them.
        predicts: what it puts out, see `make_score`.
        sigma_data: for `predicts = "edm"`.
        noise_label: what the network is given about the noise.
        dropout: what it draws from in training.
        augmented: labels `[B, n]` of how the examples were augmented; None: zeros, which stand for not at all.
        self_conditioned: the network has a place for the estimate of the data that a sampler hands on.
    """
    place = Estimate() if self_conditioned else None
    carried = _Carried(of_network(params), dropout, augmented, place)
    label = process.label if noise_label == "process" else _LogRatio(process, noise_label)
    bound = make_conditional_score(process, _Apply(module), carried, predicts, label=label, sigma_data=sigma_data)
    return bound if isinstance(bound, Partial) else Partial(bound)


def learned_range(
    process: SDE,
    module: Applied,
    params: PyTree,
    condition: Array | None,
    dropout: DropoutKeys | None = None,
    *,
    kind: ReverseVariance = "range",
) -> VarianceHead:
    """The reverse variances that a network with `learned_range` puts out next to its prediction.

    Where score and variances are evaluated at the same points in one compiled program, the network runs once.

    Args:
        process: the forward process.
        module: the network.
        params: its parameters, as `with_process` made them.
        condition: `[B, ...]`, for a conditional network.
        dropout: what it draws from in training.
        kind: what the second half of its output says: `range`, `2 v - 1` of a variance between two bounds;
            `around_forward`, for a chain, by how much it differs from the forward variance.
    """
    carried = _Carried(of_network(params), dropout)
    second = _Second(_Apply(module, half=1), process.label, share=kind == "range")
    network = Partial(second, carried, condition)
    if kind == "range":
        return LearnedRange(network)
    assert isinstance(process, Chain)  # the recipe refuses other processes
    return AroundForward(network, scale=process.levels**-0.5)


def run_once(module: nn.Module) -> _Once:
    """The network with its last result kept, so that two readers of the same points run it once."""
    return _Once(module)


def logits(
    process: LinearSDE,
    module: nn.Module,
    params: PyTree,
    *,
    dropout: DropoutKeys | None = None,
    headless: bool = False,
    cleanest: float | None = None,
) -> Partial:
    """The network as `(x [B, ...], t [B]) -> logits [B, K]`.

    A network with the embedding `log_snr` sees `x / sqrt(alpha^2 + sigma^2)` and `log(alpha^2 / sigma^2)`, and so knows
    nothing of the process: what it learned of one holds for every other (the ratio is the mean over modes where each
    has its own). With any other embedding it sees `x` and the process's own label, as published ones do.

    Args:
        process: the forward process.
        module: the network.
        params: its parameters.
        dropout: what it draws from in training.
        headless: features instead of logits: the last feature map `[B, H', W', C]`, or `[B, C]` of vectors.
        cleanest: the largest log signal-to-noise ratio that the network is given; cleaner data pass for this clean.
    """
    return Partial(_Logits(module, headless, cleanest), process, params, dropout)


def by_log_snr(module: nn.Module) -> bool:
    """Whether a classifier is given the log signal-to-noise ratio, and so fits every process."""
    return getattr(module, "embedding", None) == "log_snr"


@dataclasses.dataclass(frozen=True)
class _LogRatio:
    """The label of a time by the ratio of noise to signal, see `NoiseLabel`."""

    process: SDE
    kind: NoiseLabel

    def __call__(self, t: Array) -> Array:
        process = check_kind(self.process, LinearSDE, "a label that is the ratio of noise to signal")
        log_ratio = -0.5 * process.mean_log_snr(t)
        return 0.25 * log_ratio if self.kind == "log_ratio" else log_ratio - jnp.log(2.0)


class _Carried(NamedTuple):
    """What a network is run with, next to points, labels and conditions; see `score`."""

    params: PyTree
    dropout: DropoutKeys | None = None
    augmented: Array | None = None
    estimate: Estimate | None = None

    def collections(self, count: int) -> dict[str, dict[str, Array]]:
        """The variables of the network for so many points; where an example has several, they come in turns."""
        x0 = None if self.estimate is None else self.estimate.x0
        given = {AUGMENT: ("labels", self.augmented), ESTIMATE: ("x0", x0)}
        return {"params": self.params} | {
            collection: {name: jnp.tile(value, (count // len(value), *[1] * (value.ndim - 1)))}
            for collection, (name, value) in given.items()
            if value is not None
        }


@dataclasses.dataclass(frozen=True)
class _Apply:
    """`apply_fn` of a linen network; of one with a learned range one half: 0 the prediction, 1 the range."""

    module: Applied
    half: int = 0

    def __call__(self, carried: _Carried, x: Array, label: Array, condition: Array | None) -> Array:
        more, rngs = in_training(carried.dropout)
        variables, train = carried.collections(len(x)) | more, carried.dropout is not None
        out = jnp.asarray(self.module.apply(variables, x, label, condition, train, rngs=rngs))
        return jnp.split(out, 2, axis=-1)[self.half] if getattr(self.module, "learned_range", False) else out


class _Once:
    """See `run_once`."""

    learned_range = True

    def __init__(self, module: nn.Module) -> None:
        self.module, self.last = module, (None, None)

    def apply(self, variables: PyTree, x: Array, *rest: PyTree, **options: PyTree) -> PyTree:
        if self.last[0] is not x:
            self.last = x, self.module.apply(variables, x, *rest, **options)
        return self.last[1]


@dataclasses.dataclass(frozen=True)
class _Second:
    """Static part of reverse variances: the second half of the output, or `v` where that is `2 v - 1`."""

    apply_fn: _Apply
    label: Callable[[Array], Array]
    share: bool

    def __call__(self, carried: _Carried, condition: Array | None, x: Array, t: Array) -> Array:
        value = self.apply_fn(carried, x, self.label(t), condition)
        return 0.5 * (1.0 + value) if self.share else value


@dataclasses.dataclass(frozen=True)
class _Logits:
    """Static part of a bound classifier."""

    module: nn.Module
    headless: bool
    cleanest: float | None

    def __call__(self, process: LinearSDE, params: PyTree, dropout: DropoutKeys | None, x: Array, t: Array) -> Array:
        t = jnp.broadcast_to(t, x.shape[:1])
        if by_log_snr(self.module):
            label = process.mean_log_snr(t)
            label = label if self.cleanest is None else jnp.minimum(label, self.cleanest)
            x = process.scale(jax.lax.rsqrt(process.alpha(t) ** 2 + process.variance(t)), t, x)
        else:
            label = process.label(t)
        more, rngs = in_training(dropout)
        variables = {"params": params, **more}
        return jnp.asarray(self.module.apply(variables, x, label, dropout is not None, self.headless, rngs=rngs))
