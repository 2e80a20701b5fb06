"""Twisted sequential Monte Carlo: guided samples with weights, which make the posterior out of any guidance.

Particles move by the guided score. Each carries the ratio between the prior's chain times a potential and the chain
that it was drawn from; where few weights hold all, particles are drawn anew. In the limit of many particles that is the
posterior of the chain, whatever the potential (twisted diffusion sampler, Wu et al., arXiv 2306.17775).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance.potentials import Evaluation, LogLikelihood, Own, Potential
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import as_pytree
from scorejax.posterior.particles import Particles, effective, systematic
from scorejax.samplers.predictors import ancestral
from scorejax.samplers.stepper import Kernel, Memory, Stepper
from scorejax.scores.clipping import Clip, Interval, as_clip, clipped
from scorejax.scores.predictions import Score, as_score, tweedie
from scorejax.sdes.corruption import check_kind, check_moves
from scorejax.sdes.linear import LinearSDE

Twist: TypeAlias = Potential | Callable[[Array, Array], Array] | None
_RESAMPLING, _PRIOR = 2**32 - 3, 2**32 - 1  # streams of a posterior's key and of a particle's, next to those of steps


class _State(NamedTuple):
    x: Array
    log_weights: Array
    log_evidence: Array
    guided: Memory
    prior: Memory


def smc(
    key: Array,
    sde: LinearSDE,
    score: Score,
    shape: tuple[int, ...],
    *,
    particles: int,
    potential: Twist = None,
    log_likelihood: LogLikelihood | None = None,
    times: Array | np.ndarray,
    stepper: Stepper | None = None,
    resample: float = 0.5,
    denoise: bool = True,
    clip: Interval | Clip | None = None,
    start: int | Array = 0,
) -> Particles:
    """Draw weighted points of posteriors `p(x_0) p(y | x_0) / p(y)` by twisted sequential Monte Carlo.

    With the kernel p of the prior's chain and q of the guided one, every step multiplies the weight by

        p(x_s | x_t) psi_s(x_s) / (q(x_s | x_t) psi_t(x_t))

    and the last by `p(y | x_0) / psi`. The estimate of the evidence is unbiased for the chain. What is exact in the
    limit is the posterior of the chain of the stepper, whose own error of discretization remains. One compiled scan;
    each step costs one evaluation of the network, with its products, on all B N particles.

    Args:
        key: a typed PRNG key, or one per posterior `[B]`; posterior i uses `fold_in(key, start + i)`, its particle j
            `fold_in` of that and j, as a sample of `sample` would.
        sde: the forward process.
        score: the score of the prior.
        shape: `(B, ...)`: how many posteriors, and the shape of a point.
        particles: N, of each posterior.
        potential: of `guidance.potential`, any function `(x, t) -> log psi [B]`, or None, which follows the prior and
            leaves all to the weights.
        log_likelihood: `log p(y | x_0)`, `[B, ...] -> [B]`; that of the potential if not given. A potential of your
            own without one is the target itself, `p_t(x) psi_t(x)` at the last time.
        times: decreasing times `[n + 1]`.
        stepper: one whose steps draw from a Gaussian: `ancestral`, the default, `sde_dpm_solver`,
            `reverse_diffusion` or `euler_maruyama`.
        resample: particles are drawn anew where their effective number falls below this share of them; 0 never.
        denoise: return the posterior means at the last time, at which the likelihood is taken, as `sample` does.
        clip: where predicted data are held, of the prior and of the guided chain, as in `sample`.
        start: index of the first posterior under one key.

    Raises:
        ValueError: on another stepper, a grid that does not fall or leaves the process's times, less than one
            particle, or a log-likelihood that is not one number per posterior.
    """
    sde = check_kind(sde, LinearSDE, "posterior.smc")
    check_moves(sde, "posterior.smc")
    shape = doors.batch_shape(shape)
    doors.grid(times, sde.t_min, sde.t_max)
    if particles < 1 or not 0.0 <= resample <= 1.0:
        raise ValueError(
            "posterior.smc needs at least one particle and a share of resampling in [0, 1], got "
            f"particles={particles}, resample={resample}"
        )
    stepper = ancestral() if stepper is None else stepper
    if type(stepper).kernel is Stepper.kernel:
        raise ValueError(
            f"posterior.smc weighs steps that draw from a Gaussian, which {type(stepper).__name__} does not; choose "
            "one of ancestral, sde_dpm_solver, reverse_diffusion, euler_maruyama"
        )
    if doors.known(sde, times):
        stepper = stepper.prepare(sde, times)
    if isinstance(potential, Potential):
        twist, of_twist = potential, potential.log_likelihood
    else:
        twist, of_twist = Own(as_score(score), None if potential is None else as_pytree(potential)), None
    likelihood = log_likelihood if log_likelihood is not None else of_twist
    if likelihood is None and potential is None:
        raise ValueError("posterior.smc: give a potential, a log_likelihood, or both")
    return _run(
        keys_lib.per_example(key, shape[0], start),
        sde,
        twist,
        None if likelihood is None else as_pytree(likelihood),
        stepper,
        jnp.asarray(times, jnp.result_type(float)),
        resample,
        None if clip is None else as_clip(clip),
        shape=shape,
        particles=particles,
        denoise=denoise,
    )


@partial(jax.jit, static_argnames=("shape", "particles", "denoise"))
def _run(
    keys: Array,
    sde: LinearSDE,
    potential: Potential | Own,
    likelihood: LogLikelihood | None,
    stepper: Stepper,
    times: Array,
    resample: float | Array,
    clip: Clip | None,
    *,
    shape: tuple[int, ...],
    particles: int,
    denoise: bool,
) -> Particles:
    each = _over_particles(particles)
    own = jax.vmap(lambda j: keys_lib.fold_in(keys, j))(jnp.arange(particles))  # [N, B]
    n, rows = times.shape[0] - 1, jnp.arange(shape[0])

    def evaluate(x: Array, t: Array) -> Evaluation:
        t = jnp.broadcast_to(t, shape[:1])

        def held(x: Array) -> Evaluation:
            found = potential.evaluate(x, t)
            if clip is None:
                return found
            prior, guided = (
                clipped(sde, lambda x, t, value=value: value, clip)(x, t) for value in (found.prior, found.guided)
            )
            return Evaluation(found.log_value, prior, guided)

        return each(held, x)

    def weighed(state: _State, ratio: Array, key: Array, found: Any) -> tuple[_State, Any, Array]:
        """Multiply the weights by a ratio, and draw particles anew, with what was found at them, where few count."""
        log_weights = state.log_weights + ratio
        share = effective(log_weights)
        anew = share < resample
        which = jnp.where(anew, systematic(key, log_weights), jnp.arange(particles)[:, None])
        mean = jax.nn.logsumexp(log_weights, axis=0) - jnp.log(particles)

        def take(a: Array) -> Array:
            return a[which, rows]

        state = _State(
            take(state.x), jnp.where(anew, 0.0, log_weights), state.log_evidence + jnp.where(anew, mean, 0.0),
            stepper.taken(state.guided, take), stepper.taken(state.prior, take),
        )  # fmt: skip
        return state, jax.tree.map(take, found), share

    def body(state: _State, inputs: tuple[Array, Array, Array]) -> tuple[_State, Array]:
        i, t, s = inputs
        found = evaluate(state.x, t)
        anew = keys_lib.fold_in(keys_lib.fold_in(keys, _RESAMPLING), i)
        state, found, share = weighed(state, found.log_value, anew, found)

        def kernel(x: Array, value: Array, memory: Memory) -> Kernel:
            made = stepper.kernel(sde, lambda x, t: value, x, t, s, memory)
            assert made is not None  # `smc` refuses others
            return made

        towards = each(kernel, state.x, found.guided, state.guided)
        prior = each(kernel, state.x, found.prior, state.prior)
        noise = each(lambda k: keys_lib.normal(keys_lib.fold_in(k, 2 * i), shape, state.x.dtype), own)
        std = jax.tree.map(lambda a: a[0], towards.std)  # of the times alone, the same for all particles
        x = each(lambda mean, noise: mean + sde.scale(std, t, noise), towards.mean, noise)
        inverse = jnp.where(std > 0.0, 1.0 / jnp.where(std > 0.0, std, 1.0), 0.0)
        apart = each(lambda a, b: sde.scale(inverse, t, a - b), towards.mean, prior.mean)
        # log p - log q of two Gaussians of one width, at mean + std noise
        ratio = -_inner(apart, noise) - 0.5 * _inner(apart, apart)
        log_weights = state.log_weights + ratio - found.log_value
        return _State(x.astype(state.x.dtype), log_weights, state.log_evidence, towards.memory, prior.memory), share

    x = each(lambda k: sde.prior_sample(keys_lib.fold_in(k, _PRIOR), shape), own)
    zeros = jnp.zeros((particles, shape[0]), x.dtype)
    memory = each(lambda x: stepper.init(sde, x, times), x)
    state = _State(x, zeros, jnp.zeros(shape[:1], x.dtype), memory, memory)
    state, shares = jax.lax.scan(body, state, (jnp.arange(n), times[:-1], times[1:]))

    found = evaluate(state.x, times[-1])
    data = each(lambda x, value: tweedie(sde, x, times[-1], value), state.x, found.prior)
    end = found.log_value
    if likelihood is not None:
        at = data if denoise else state.x
        end = each(lambda x: doors.per_row(x, likelihood(x), "a log-likelihood"), at)
    log_weights = state.log_weights + end
    total = jax.nn.logsumexp(log_weights, axis=0)
    return Particles(
        jnp.moveaxis(data if denoise else state.x, 0, 1), (log_weights - total).T,
        state.log_evidence + total - jnp.log(particles),
        jnp.concatenate([shares, effective(log_weights)[None]]), jnp.int32(n + 1),
    )  # fmt: skip


def _over_particles(particles: int) -> Callable[..., Any]:
    """Return `each(function, *arrays [N, B, ...])`, which maps a function of batches over the particles.

    What the function closes over keeps its axis of posteriors, such as a measurement for each. One particle is not
    mapped over, so that its numbers are those of `sample`.
    """

    def each(function: Callable[..., Any], *arrays: Any) -> Any:
        if particles > 1:
            return jax.vmap(function)(*arrays)
        return jax.tree.map(lambda a: jnp.asarray(a)[None], function(*jax.tree.map(lambda a: a[0], arrays)))

    return each


def _inner(a: Array, b: Array) -> Array:
    """Return inner products of points `[N, B, ...]`, `[N, B]`."""
    return jnp.sum((a * b).reshape(*a.shape[:2], -1), axis=-1)
