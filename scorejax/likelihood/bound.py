"""The variational bound of the reverse-time SDE's likelihood: no ODE is solved, one score per drawn time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.likelihood.divergence import check_divergence, probe_vectors
from scorejax.likelihood.prior import named_prior
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import as_pytree
from scorejax.scores.jacobian import score_and_products
from scorejax.scores.predictions import Score
from scorejax.scores.self_conditioning import of_point_and_time
from scorejax.sdes.corruption import Time, check_kind, check_moves, per_batch
from scorejax.sdes.linear import LinearSDE

FORMS = ("denoising", "sliced")
TIMES = ("importance", "uniform")
TIME, NOISE, PROBE, DATA, PRIOR = range(5)  # streams of a chunk's keys


class Bound(NamedTuple):
    """What `likelihood_bound` returns, one entry per example.

    Attributes:
        value: unbiased estimate of an upper bound of the negative log density, in nats, `[B]`.
        stderr: its standard error, from the scatter of chunks, `[B]`; NaN for a single chunk.
    """

    value: Array
    stderr: Array


def likelihood_bound(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x: Array,
    *,
    form: str = "denoising",
    times: str = "importance",
    samples: int = 1000,
    chunk: int = 10,
    divergence: str = "rademacher",
    probes: int = 1,
    offset: bool = True,
    prior: str = "marginal",
    prior_logp: Callable[[Array], Array] | None = None,
) -> Bound:
    """Return an upper bound of `-log p(x)` under the reverse-time SDE (Song et al., arXiv 2101.09258, theorem 3).

        E[-log prior(x_T)] + 1/2 int_{t_min}^{t_max} E[ g^2 (|s - r|^2 - |r|^2) - 2 div f ] dt      (denoising)
        E[-log prior(x_T)] + 1/2 int_{t_min}^{t_max} E[ g^2 (2 div s + |s|^2) - 2 div f ] dt        (sliced)

    with `s = score(x_t, t)`, `r = grad log p(x_t | x)` and expectations over `x_t` given `x`. The two are equal.
    They bound `E[-log p_{t_min}(x_{t_min}) | x]`, the cost of data that already carry the noise of `t_min`, and are
    equal to it where the score is exact at all times. The offset adds what it costs to take this noise away,
    `E[-log q(x | x_{t_min})] - H(x_{t_min} | x)` with `q` normal about Tweedie's mean, of scale `sigma / alpha`: the
    sum bounds `-log p(x)` of the data themselves.

    The drift's divergence, the terminal cross entropy of the process's own prior, and the entropies of the offset are
    exact; what is drawn is what depends on the score. In the denoising form the noise that a score for data of unit
    variance would leave is subtracted, a control variate, which changes the spread alone. Differentiable in `x`.

    Args:
        key: one key, or one per example `[B]`; an example's draws never depend on its batch-mates.
        sde: the forward process. A chain is taken as the continuous process through its levels.
        score: `score(x, t)`.
        x: data in model units, `[B, ...]`.
        form: `denoising`, one score per time, or `sliced`, which adds Jacobian-vector products.
        times: `importance`, density proportional to `g^2 / sigma^2`, or `uniform`; within a chunk one time falls
            into each of `chunk` equal slots.
        samples: times drawn for each example.
        chunk: times evaluated at once, a divisor of `samples`: the memory is that of `chunk` batches.
        divergence: of the sliced form: `exact`, `rademacher` or `gaussian`, as in `log_prob`.
        probes: of the sliced form: vectors for each time.
        offset: bound the density of the data; otherwise of the data with the noise of `t_min`.
        prior: the law at `sde.t_max`, as in `log_prob`: `marginal`, or `standard` for N(0, 1).
        prior_logp: the log density `[B]` of any other law there, in place of `prior`.

    Raises:
        ValueError: on unknown names, numbers that do not divide, data that are not finite floating
            numbers, or a score of another shape.
    """
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r} of the bound; choose one of {', '.join(FORMS)}")
    if times not in TIMES:
        raise ValueError(f"unknown times {times!r} of the bound; choose one of {', '.join(TIMES)}")
    check_kind(sde, LinearSDE, "the likelihood bound")
    if chunk < 1 or samples < 1 or samples % chunk:
        raise ValueError(f"samples must be a multiple of chunk >= 1, got samples={samples}, chunk={chunk}")
    divergence = check_divergence(divergence, probes) if form == "sliced" else ""
    check_moves(sde, "the likelihood bound")
    x = doors.points(x)
    keys = keys_lib.per_example(key, x.shape[0])
    law = named_prior(sde, prior) if prior_logp is None else as_pytree(prior_logp)
    if law is None and not sde.prior_is_noise:
        law = Partial(_own_prior, sde)
    return _estimate(
        keys, sde, of_point_and_time(score, "bound"), x, law,
        times=times, chunk=chunk, chunks=samples // chunk, divergence=divergence, probes=probes, offset=offset,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("times", "chunk", "chunks", "divergence", "probes", "offset"))
def _estimate(
    keys: Array,
    sde: LinearSDE,
    score: Score,
    x: Array,
    prior_logp: Callable[[Array], Array] | None,
    *,
    times: str,
    chunk: int,
    chunks: int,
    divergence: str,
    probes: int,
    offset: bool,
) -> Bound:
    def normal(keys: Array, stream: int) -> Array:
        return keys_lib.normal(keys_lib.fold_in(keys, stream), x.shape, x.dtype)

    def integrand(keys: Array, slot: Array, shift: Array) -> Array:
        t, width = _time(sde, (slot + shift) / chunk, times)
        keys = keys_lib.fold_in(keys, slot)
        value, noise = jnp.zeros_like(t), normal(keys, NOISE)
        if prior_logp is not None:
            value -= doors.per_row(x, prior_logp(sde.perturb(x, sde.t_max, normal(keys, PRIOR))), "prior_logp")
        if not divergence:
            return value + width * _denoising(sde, score, x, t, noise)
        vectors = probe_vectors(keys_lib.fold_in(keys, PROBE), x, divergence, probes)
        return value + width * _sliced(sde, score, sde.perturb(x, t, noise), t, vectors, divergence == "exact")

    def estimate(index: Array) -> Array:
        own = keys_lib.fold_in(keys, index)
        shift = keys_lib.uniform(keys_lib.fold_in(own, TIME), x.shape[:1])
        drawn = jax.vmap(integrand, in_axes=(None, 0, None))(
            keys_lib.fold_in(own, NOISE), jnp.arange(chunk, dtype=jnp.uint32), shift
        )
        value = jnp.mean(drawn, axis=0)
        if offset:
            value += _noise_error(sde, score, x, jnp.full(x.shape[0], sde.t_min, x.dtype), normal(own, DATA))
        return value

    # a single chunk is no loop: gradients of convolutions are slow in loops on a CPU
    values = (
        estimate(jnp.uint32(0))[None] if chunks == 1 else jax.lax.map(estimate, jnp.arange(chunks, dtype=jnp.uint32))
    )
    stderr = jnp.std(values, axis=0, ddof=1) / chunks**0.5
    return Bound(jnp.mean(values, axis=0) + _exact_part(sde, x, prior_logp is None, offset), stderr)


def _own_prior(sde: LinearSDE, x: Array) -> Array:
    return sde.prior_logp(x)


def _exact_part(sde: LinearSDE, x: Array, own_prior: bool, offset: bool) -> Array:
    """Return what needs no drawing, `[B]`: the drift's divergence, the process's prior, the offset's constants.

    `int div f dt` is the change of `log alpha` summed over modes, and `-H` and the scale of `q` together cost
    `-log alpha(t_min)` a mode, which cancels its lower end.
    """

    def total(t: float) -> Array:
        return _sum_modes(sde.log_alpha(jnp.asarray(t, x.dtype)), 0.0, x[:1])[0]

    value = -total(sde.t_max) if offset else total(sde.t_min) - total(sde.t_max)
    if not own_prior:
        return jnp.broadcast_to(value, x.shape[:1])
    # the noise of x_T is the prior's: its squares are one each
    mean = sde.scale(sde.alpha(sde.t_max), sde.t_max, x)
    return value - sde.prior_logp(mean) + 0.5 * math.prod(x.shape[1:])


def _time(sde: LinearSDE, u: Array, times: str) -> tuple[Array, Array]:
    """Return the times `[B]` at `u` in [0, 1) and one over their density, so that means are integrals."""
    if times == "uniform":
        length = sde.t_max - sde.t_min
        return sde.t_min + length * u, jnp.full_like(u, length)
    first, last = sde.mean_log_snr(sde.t_min), sde.mean_log_snr(sde.t_max)
    t = jnp.clip(sde.inverse_log_snr(first + u * (last - first)), sde.t_min, sde.t_max)
    return t, (first - last) / sde.mean_rate(t)


def _denoising(sde: LinearSDE, score: Score, x: Array, t: Array, noise: Array) -> Array:
    """Return `g^2 (|s - r|^2 - |r|^2) / 2` at `x_t`, less the noise whose mean is zero, `[B]`.

    For data of variance v the score predicts the share `k = sigma^2 / (alpha^2 v + sigma^2)` of the noise, which
    leaves `(k^2 - 2 k) |noise|^2`; that of v = 1 is replaced by its mean.
    """
    rate = sde.diffusion_squared(t) / sde.variance(t)
    share = 0.5 * rate * (1.0 - jax.nn.sigmoid(sde.log_snr(t)) ** 2)
    surplus = _dot(noise, sde.scale(share, t, noise)) - _sum_modes(share, t, x)
    scaled = sde.scale(sde.sigma(t), t, score(sde.perturb(x, t, noise), t))
    return 0.5 * _dot(scaled, sde.scale(rate, t, scaled + 2.0 * noise)) + surplus


def _noise_error(sde: LinearSDE, score: Score, x: Array, t: Array, noise: Array) -> Array:
    """Return `(|sigma s + noise|^2 - |noise|^2) / 2`, `[B]`: the drawn part of `-log q(x | x_t)`."""
    scaled = sde.scale(sde.sigma(t), t, score(sde.perturb(x, t, noise), t))
    return 0.5 * _dot(scaled, scaled + 2.0 * noise)


def _sliced(sde: LinearSDE, score: Score, x: Array, t: Array, vectors: Array, exact: bool) -> Array:
    """Return `g^2 (2 div s + |s|^2) / 2` at `x`, `[B]`."""
    g2 = sde.diffusion_squared(t)
    value, products = score_and_products(score)(x, t, vectors)
    traces = jax.vmap(lambda v, p: _dot(v, sde.scale(g2, t, p)), in_axes=1)(vectors, products)
    return 0.5 * _dot(value, sde.scale(g2, t, value)) + (jnp.sum(traces, 0) if exact else jnp.mean(traces, 0))


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum((a * b).reshape(a.shape[0], -1), axis=1)


def _sum_modes(coefficient: Array, t: Time, x: Array) -> Array:
    """Return a coefficient summed over all modes of each example, `[B]`."""
    spread = jnp.broadcast_to(per_batch(coefficient, t, x.ndim), x.shape)
    return jnp.sum(spread.reshape(x.shape[0], -1), axis=1)
