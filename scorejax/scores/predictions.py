"""What networks predict, and the one thing everything else takes: `score(x, t) = grad log p_t(x)`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.numerics import doors
from scorejax.numerics.trees import PyTree, as_pytree
from scorejax.scores import below
from scorejax.scores.below import CHAIN_PREDICTIONS
from scorejax.sdes.corruption import SDE, Time, check_kind
from scorejax.sdes.discrete import Chain
from scorejax.sdes.linear import LinearSDE

Score = Callable[[Array, Array], Array]
"""`score(x, t)`: `x [B, ...]`, `t [B]` -> `[B, ...]`, always `grad log p_t(x)`.

Where both float32 and float64 are used, a score writes `jnp.asarray(a, x.dtype)` for a NumPy array `a` that it closes
over: JAX may remember such an array in the precision in which it first met it.
"""

ConditionalScore = Callable[[Array, Array, Array], Array]
"""`score(x, t, condition)`: as `Score`, with a condition `[B, ...]`: classes, vectors or sequences of vectors."""

PREDICTIONS = ("noise", "data", "score", "v", "velocity")
"""What a network may predict, for any process."""


def convert(sde: SDE, x: Array, t: Time, value: Array, source: str, target: str) -> Array:
    """Convert between equivalent predictions at the same point `x_t = alpha x_0 + sigma noise`.

        noise = -sigma score,   data = (x - sigma noise) / alpha,   v = alpha noise - sigma data

    (`v` of Salimans & Ho, arXiv 2202.00512.) And the velocity of the probability flow, `drift(x, t) - g^2 score / 2`,
    on `flow` that of flow matching, `noise - data` (Lipman et al., arXiv 2210.02747). For a chain also the mean
    of `q(x_s | x_t, x_0)`, where `s` is one level below `t` (DDPM, arXiv 2006.11239, eq. 7):

        previous_mean = c_t x + c_0 data,   with the coefficients of `sde.posterior(s, t)`

    and how far it lies from the mean of the forward kernel `q(x_t | x_s) = N(a x_s, v)`, used in reverse, in units of
    that kernel's standard deviation: what the first diffusion model predicts (Sohl-Dickstein et al., arXiv 1503.03585,
    appendix D.2, as in its code). Under DDPM it is zero everywhere for standard normal data.

        mean_shift = (previous_mean - a x) / sqrt(v)

    Args:
        sde: the forward process.
        x: the points `x_t`, `[B, ...]`.
        t: their times, a scalar or `[B]`.
        value: the prediction, shaped like `x`.
        source: what `value` is: one of `PREDICTIONS`, or `previous_mean`, `mean_shift` or `sharpening`.
        target: what to return, same choices.

    Raises:
        ValueError: if a kind is unknown, the process has no levels, the prediction has another shape than `x`, or a
            time lies outside the process's, or is neither a scalar nor one per example.
    """
    x = doors.points(x, finite=False)
    value = doors.field(x, value, "a prediction")
    doors.times(t, sde.t_min, sde.t_max, of=x.shape)
    for kind in (source, target):
        check_prediction(sde, kind)
    if source == target:
        return value
    sde = check_kind(sde, LinearSDE, f"to make {target} of {source}")
    if source in below.OF_SCORE:
        of_x, of_score = below.weights(sde, t, source)
        score = sde.scale(1.0 / of_score, t, value - sde.scale(of_x, t, x))
        return convert(sde, x, t, score, "score", target)
    if target in below.OF_SCORE:
        of_x, of_score = below.weights(sde, t, target)
        return sde.scale(of_x, t, x) + sde.scale(of_score, t, convert(sde, x, t, value, source, "score"))
    alpha, sigma = sde.alpha(t), sde.sigma(t)

    def times(coefficient: Array, y: Array) -> Array:
        return sde.scale(coefficient, t, y)

    if source == "noise":
        noise = value
    elif source == "score":
        noise = -times(sigma, value)
    elif source == "data":
        noise = times(1.0 / sigma, x) - times(alpha / sigma, value)
    else:
        # for processes that do not preserve variance (x, v) is a rotation of (data, noise) and a stretch by `total`
        total = alpha**2 + sigma**2
        noise = times(alpha / total, value) + times(sigma / total, x)

    if target == "noise":
        return noise
    if target == "score":
        return -times(1.0 / sigma, noise)
    if source == "v":
        data = times(alpha / total, x) - times(sigma / total, value)
    else:
        data = value if source == "data" else times(1.0 / alpha, x) - times(sigma / alpha, noise)
    return data if target == "data" else times(alpha, noise) - times(sigma, data)


def check_prediction(sde: SDE, predicts: str, *others: str) -> None:
    """Check that a network may predict this, for this process.

    Raises:
        ValueError: if it is unknown, the process has no levels, or is no Gaussian one and so knows scores alone.
    """
    choices = (*PREDICTIONS, *others, *CHAIN_PREDICTIONS)
    if predicts not in choices:
        raise ValueError(f"unknown prediction {predicts!r}; choose one of {', '.join(choices)}")
    if predicts != "score" and not isinstance(sde, LinearSDE):
        raise ValueError(
            f"a network that predicts {predicts!r} needs {LinearSDE.described}, got {type(sde).__name__}, "
            f"{sde.described}; predict 'score'"
        )
    if predicts in CHAIN_PREDICTIONS and not isinstance(sde, Chain):
        raise ValueError(
            f"{predicts} is of the mean one level below, and {type(sde).__name__} has no levels; take a chain (ddpm, "
            f"smld), or predict one of {', '.join(PREDICTIONS)}"
        )


def tweedie(sde: SDE, x: Array, t: Time, score: Array) -> Array:
    """Return the posterior mean `E[x_0 | x_t] = (x_t + sigma_t^2 score) / alpha_t` (Tweedie's formula).

    Args:
        sde: the forward process.
        x: the points `x_t`, `[B, ...]`.
        t: their times, a scalar or `[B]`.
        score: the value of the score there, shaped like `x`.

    Raises:
        ValueError: if the score has another shape than `x`, or a time lies outside the process's, or is neither a
            scalar nor one per example.
    """
    sde = check_kind(sde, LinearSDE, "Tweedie's formula")
    x = doors.points(x, finite=False)
    score = doors.field(x, score)
    doors.times(t, sde.t_min, sde.t_max, of=x.shape)
    alpha = sde.alpha(t)
    return sde.scale(1.0 / alpha, t, x) + sde.scale(sde.variance(jnp.asarray(t)) / alpha, t, score)


def probability_flow(sde: SDE, score: Score) -> Score:
    """Return the drift `f x - g^2 score / 2` of the probability-flow ODE, as a function of `(x, t)`."""

    def drift(x: Array, t: Array) -> Array:
        return sde.drift(x, t) - sde.scale(0.5 * sde.diffusion_squared(t), t, score(x, t))

    return drift


def reverse_drift(sde: SDE, score: Score) -> Score:
    """Return the drift `f x - g^2 score` of the reverse-time SDE (Anderson 1982), as a function of `(x, t)`."""

    def drift(x: Array, t: Array) -> Array:
        return sde.drift(x, t) - sde.scale(sde.diffusion_squared(t), t, score(x, t))

    return drift


def score_from_energy(energy: Callable[[Array, Array], Array]) -> Score:
    """Return the score `-grad_x E(x, t)` of the density `exp(-E(x, t))`, up to normalization.

    Args:
        energy: maps `x [B, ...]`, `t [B]` to energies `[B]`, each example's from its own row alone. Give parameters
            to it by `jax.tree_util.Partial(function, params)`; new ones then do not compile a sampler again.

    Raises:
        ValueError: when evaluated, if the energy is not one number per example.
    """
    return Partial(_energy_score, energy if isinstance(energy, Partial) else Partial(energy))


def energy_of(score: Score) -> Callable[[Array, Array], Array] | None:
    """Return the energy `(x, t) -> [B]` of a score that `score_from_energy` made; None for any other."""
    return score.args[0] if isinstance(score, Partial) and score.func is _energy_score else None


def make_score(
    sde: SDE,
    apply_fn: Callable[[PyTree, Array, Array], Array],
    params: PyTree,
    predicts: str = "noise",
    *,
    label: Callable[[Array], Array] | None = None,
    sigma_data: float = 0.5,
) -> Score:
    """Return `score(x, t)` for a network of any library.

    The result is a pytree that carries `params`, so passing it to a compiled function again, even with other
    parameters, does not compile again.

    Args:
        sde: the forward process the network was trained for.
        apply_fn: `apply_fn(params, x, label) -> prediction`, with the noise label `[B]`.
        params: anything `apply_fn` takes, a pytree.
        predicts: `noise`, `data`, `score`, `v`, for a chain of levels also `previous_mean` and
            `mean_shift` (see `convert`), or `edm`
            for a raw network `F` under the preconditioning of EDM.
        label: maps `t [B]` to the noise label, the network's second argument. The default hands over `t` itself;
            networks that follow the conventions of Score-SDE, like `scorejax.models`, take `sde.label`. With `edm`
            the default is EDM's own `log(sigma / alpha) / 4`.
        sigma_data: standard deviation of the data, used by `edm` alone.

    Raises:
        ValueError: if `predicts` is unknown, or does not fit the process; when evaluated, if the network does not
            return an array of the shape of `x`, or on times that lie outside the process's or are neither a scalar nor
            one per example.
    """
    check_prediction(sde, predicts, "edm")
    return Partial(_NetworkScore(apply_fn, predicts, label, sigma_data), sde, params)


def make_conditional_score(
    sde: SDE,
    apply_fn: Callable[[PyTree, Array, Array, Array], Array],
    params: PyTree,
    predicts: str = "noise",
    *,
    label: Callable[[Array], Array] | None = None,
    sigma_data: float = 0.5,
) -> ConditionalScore:
    """Return `score(x, t, condition)` for a network that takes a condition, for `classifier_free_batched`.

    Args:
        sde: the forward process the network was trained for.
        apply_fn: `apply_fn(params, x, label, condition) -> prediction`, with the noise label `[B]` and the condition
            `[B, ...]`, a class or anything else.
        params: anything `apply_fn` takes, a pytree.
        predicts: as in `make_score`.
        label: maps `t [B]` to the noise label, as in `make_score`.
        sigma_data: as in `make_score`.

    Raises:
        ValueError: if `predicts` is unknown, or does not fit the process; when evaluated, if the network does not
            return an array of the shape of `x`, or on times that lie outside the process's or are neither a scalar nor
            one per example.
    """
    check_prediction(sde, predicts, "edm")
    return Partial(_NetworkScore(apply_fn, predicts, label, sigma_data), sde, params)


def edm_coefficients(ratio: Array, sigma_data: float) -> tuple[Array, Array, Array, Array]:
    """Return `(c_skip, c_out, c_in, c_noise)` of EDM (arXiv 2206.00364, table 1) at noise-to-signal `ratio`.

    The denoiser `D(y) = c_skip y + c_out F(c_in y, c_noise)` acts on `y = x / alpha`, whose noise is `ratio`.
    """
    total = ratio**2 + sigma_data**2
    c_out = ratio * sigma_data / jnp.sqrt(total)
    return sigma_data**2 / total, c_out, 1.0 / jnp.sqrt(total), 0.25 * jnp.log(ratio)


def _energy_score(energy: Callable[[Array, Array], Array], x: Array, t: Array) -> Array:
    x = doors.points(x, finite=False)
    return -jax.grad(lambda y: jnp.sum(doors.per_row(y, energy(y, t), "an energy")))(x)


@dataclasses.dataclass(frozen=True)
class _NetworkScore:
    """Static part of a network's score; equal for equal settings, so that compiled programs are found again."""

    apply_fn: Callable[..., Array]
    predicts: str
    label: Callable[[Array], Array] | None
    sigma_data: float

    def __call__(self, sde: SDE, params: PyTree, x: Array, t: Array, *condition: Array) -> Array:
        x = doors.points(x, finite=False)
        doors.times(t, sde.t_min, sde.t_max, of=x.shape)
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])  # a network takes one per example
        if self.predicts == "edm":
            assert isinstance(sde, LinearSDE)  # `check_prediction` refuses others
            return convert(sde, x, t, self._denoise(sde, params, x, t, *condition), "data", "score")
        label = t if self.label is None else self.label(t)
        value = doors.field(x, self.apply_fn(params, x, label, *condition), "apply_fn")
        return sde.tangential(x, convert(sde, x, t, value, self.predicts, "score"))

    def _denoise(self, sde: LinearSDE, params: PyTree, x: Array, t: Array, *condition: Array) -> Array:
        ratio = sde.sigma(t) / sde.alpha(t)
        c_skip, c_out, c_in, c_noise = edm_coefficients(ratio, self.sigma_data)
        y = sde.scale(1.0 / sde.alpha(t), t, x)
        label = c_noise if self.label is None else self.label(t)
        raw = doors.field(x, self.apply_fn(params, sde.scale(c_in, t, y), label, *condition), "apply_fn")
        return sde.scale(c_skip, t, y) + sde.scale(c_out, t, raw)


def as_score(score: Score) -> Score:
    """Return a score as a pytree that refuses, while it is traced, to return another shape than that of `x`."""
    if isinstance(score, Partial) and score.func is _checked:
        return score
    return Partial(_checked, as_pytree(score))


def _checked(score: Score, x: Array, t: Array) -> Array:
    return doors.field(x, score(x, t))
