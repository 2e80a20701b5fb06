"""The one driver of every sampler: a single compiled scan of `stepper.step` over a time grid.

It owns what all methods share: the keys of every sample, the prior, correctors, the last denoising, and the count of
network evaluations.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.degradations.base import Degradation
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.adjoints import hint_at_adjoint
from scorejax.samplers.stepper import Memory, Step, Stepper
from scorejax.scores import self_conditioning
from scorejax.scores.clipping import Clip, Interval, clipped, clipped_data
from scorejax.scores.predictions import Score, as_score, energy_of, tweedie
from scorejax.sdes.corruption import Corruption, check_kind, check_moves
from scorejax.sdes.linear import LinearSDE

S = TypeVar("S", Stepper, Stepper | None)


class Sample(NamedTuple):
    """What `sample` returns.

    Attributes:
        x: samples, `[B, ...]`.
        nfe: network evaluations made, each on the whole batch.
    """

    x: Array
    nfe: Array


class Trajectory(NamedTuple):
    """What `trajectory` returns.

    Attributes:
        t: the time grid, `[n + 1]`.
        x: samples at each time, `[n + 1, B, ...]`.
        denoised: the posterior means `E[x_0 | x_t]` there, `[n + 1, B, ...]`; None for a process that has no formula
            for them.
        nfe: network evaluations made for `x` (those of `denoised` not counted).
    """

    t: Array
    x: Array
    denoised: Array | None
    nfe: Array


def sample(
    key: Array,
    sde: Corruption,
    score: Score,
    shape: tuple[int, ...],
    *,
    stepper: Stepper,
    times: Array | np.ndarray,
    corrector: Stepper | None = None,
    corrector_first: bool = False,
    x_init: Array | None = None,
    denoise: bool | None = None,
    clip: Interval | Clip | None = None,
    start: int | Array = 0,
) -> Sample:
    """Draw samples by stepping from the prior down a time grid (Score-SDE, algorithm 1).

    One compiled scan; a repeated call with the same shapes does not compile again when `score` is a
    `jax.tree_util.Partial`, which `make_score` and the analytic laws return. Sample `i` draws all its noise from
    `fold_in(key, start + i)` alone, so an image depends neither on the batch size nor on the number of devices.

    Args:
        key: a typed PRNG key, or one key per sample `[B]`.
        sde: the forward process.
        score: `score(x, t)`; on a degradation, which has no score, its restoration `R(x, t) -> x_0`.
        shape: `(B, ...)`.
        stepper: the predictor, from `scorejax.samplers`.
        times: decreasing times `[n + 1]` of the process, from `scorejax.times`. The last of a chain may be 0, the data
            themselves, without `denoise`.
        corrector: Langevin steps after each predictor step, at the time it reached.
        corrector_first: run the corrector before the predictor, as the published code does; the paper runs it after.
        x_init: points at `times[0]` to start from, floating numbers; drawn from the prior if not given, which is
            `N(0, sigma^2)` with the `sigma` of `sde.t_max`. For the `N(0, 1)` of Score-SDE's code give normal noise.
        denoise: return the posterior mean `E[x_0 | x_t]`, or the restoration, at the last time (one more evaluation)
            instead of `x_t`. None: where Tweedie's formula gives it, that is for every Gaussian process, and of a
            degradation.
        clip: where predicted data are held, at every evaluation: (low, high) in the units of the data, such as (-1, 1)
            for images, or a function of them such as `samplers.dynamic_threshold()`. None leaves them as they are.
        start: index of the first sample under one key.

    Raises:
        ValueError: if the grid does not decrease or leaves the times of the process, the shape holds no examples,
            `x_init` is not of this shape or no finite floating numbers, the bounds of `clip` are not two numbers with
            `low < high`, the score returns another shape, or the stepper or `denoise` is not for this process.
    """
    if denoise is None:
        denoise = isinstance(sde, LinearSDE | Degradation)
    elif denoise and not isinstance(sde, Degradation):
        check_kind(sde, LinearSDE, "denoise=True, the posterior mean by Tweedie's formula,")
    times = _grid(sde, times, ends_at_data=not denoise)
    stepper, corrector = _prepared(sde, times, score, stepper), _prepared(sde, times, score, corrector)
    x, times = _begin(key, sde, shape, times, x_init, start)
    with hint_at_adjoint():
        x, nfe, _ = _run(
            keys_lib.per_example(key, shape[0], start), sde, _held(sde, score, clip), x, stepper, times, corrector,
            corrector_first=corrector_first, denoise=denoise, keep=False,
        )  # fmt: skip
    return Sample(x, nfe)


def trajectory(
    key: Array,
    sde: Corruption,
    score: Score,
    shape: tuple[int, ...],
    *,
    stepper: Stepper,
    times: Array | np.ndarray,
    corrector: Stepper | None = None,
    corrector_first: bool = False,
    x_init: Array | None = None,
    clip: Interval | Clip | None = None,
    start: int | Array = 0,
) -> Trajectory:
    """Draw samples as `sample` does and keep every state, with its posterior mean; arguments as there.

    Raises:
        ValueError: as `sample`.
    """
    times = _grid(sde, times, ends_at_data=isinstance(sde, Degradation))
    stepper, corrector = _prepared(sde, times, score, stepper), _prepared(sde, times, score, corrector)
    x, times = _begin(key, sde, shape, times, x_init, start)
    score = _held(sde, score, clip)
    denoised = None
    with hint_at_adjoint():
        _, nfe, states = _run(
            keys_lib.per_example(key, shape[0], start), sde, score, x, stepper, times, corrector,
            corrector_first=corrector_first, denoise=False, keep=True,
        )  # fmt: skip
    states = jnp.concatenate([x[None], states])
    if isinstance(sde, LinearSDE | Degradation):
        denoised = _denoise_all(sde, score, states, times)
    return Trajectory(times, states, denoised, nfe)


@partial(jax.jit, static_argnames=("corrector_first", "denoise", "keep"))
def _run(
    keys: Array,
    sde: Corruption,
    score: Score,
    x: Array,
    stepper: Stepper,
    times: Array,
    corrector: Stepper | None,
    *,
    corrector_first: bool,
    denoise: bool,
    keep: bool,
) -> tuple[Array, Array, Array | None]:
    n = times.shape[0] - 1
    below = jnp.concatenate([times[2:], times[-1:]])  # the level under the one a step arrives at

    def body(carry, inputs):
        x, memory, corrector_memory, nfe, x0 = carry
        i, t, s, under = inputs
        given = self_conditioning.given(score, x0)

        def correct(x, memory, t, s):
            if corrector is None:
                return x, memory, 0
            return _advance(corrector, keys_lib.fold_in(keys, 2 * i + 1), sde, given, x, t, s, memory)

        # even streams are the stepper's and odd ones the corrector's, so that adding a corrector moves no other noise
        first = second = 0
        if corrector_first:
            x, corrector_memory, first = correct(x, corrector_memory, t, s)
        if x0 is not None:  # at the point where the stepper begins, so that the compiled program evaluates it once
            x0 = self_conditioning.estimate(cast(LinearSDE, sde), given, x, _spread(t, x))
        x, memory, used = _advance(stepper, keys_lib.fold_in(keys, 2 * i), sde, given, x, t, s, memory)
        if not corrector_first:
            x, corrector_memory, second = correct(x, corrector_memory, s, under)
        return (x, memory, corrector_memory, nfe + first + used + second, x0), x if keep else None

    # a stream of its own again, next to that of the prior
    memory = stepper.begin(keys_lib.fold_in(keys, 2**32 - 2), sde, x, times)
    # counts are part of the carry because a step may make as many evaluations as its data ask for
    kind = cast(LinearSDE, sde)  # `_prepared` has found it to be of the kind that it needs
    memories = memory, () if corrector is None else corrector.init(kind, x, times)
    first = jnp.zeros_like(x) if self_conditioning.is_self_conditioned(score) else None
    carry = (x, *memories, jnp.zeros((), jnp.int32), first)
    (x, _, _, nfe, x0), states = jax.lax.scan(body, carry, (jnp.arange(n), times[:-1], times[1:], below))
    if denoise:
        # a last step to no noise at all, without which images keep the visible noise of `t_min`
        x, nfe = _predicted(sde, self_conditioning.given(score, x0), x, times[-1]), nfe + 1
    return x, nfe, states


def _advance(
    stepper: Stepper, keys: Array, sde: Corruption, score: Score, x: Array, t: Array, s: Array, memory: Memory
) -> tuple[Array, Memory, Array | int]:
    """Take one step and count the evaluations it makes; the count is part of the traced program."""
    calls = 0

    def counted(x: Array, t: Array) -> Array:
        nonlocal calls
        calls += 1
        return score(x, _spread(t, x))

    step: Step = stepper.step(keys, cast(LinearSDE, sde), counted, x, t, s, memory)  # checked by `_prepared`
    # a count of 64 bits would not fit the carry, whose count has 32 in every precision
    used = calls if step.nfe is None else jnp.asarray(step.nfe, jnp.int32)
    return sde.settled(step.x).astype(x.dtype), step.memory, used


@jax.jit
def _denoise_all(sde: Corruption, score: Score, states: Array, times: Array) -> Array:
    def one(inputs: tuple[Array, Array]) -> Array:
        x, t = inputs
        return _predicted(sde, score, x, t)

    # one time after the other: all at once would need the memory of `n` batches
    return jax.lax.map(one, (states, times))


def _predicted(sde: Corruption, score: Score, x: Array, t: Array) -> Array:
    """Return the data that are predicted at `x_t`: the posterior mean, or the restoration."""
    value = score(x, _spread(t, x))
    if isinstance(sde, Degradation):
        return jnp.where(t < 0.5 * sde.t_min, x, value)  # level 0 is the data
    return tweedie(check_kind(sde, LinearSDE, "the posterior mean"), x, t, value)


def _held(sde: Corruption, score: Score, clip: Interval | Clip | None) -> Score:
    """Return the score, with its predicted data held where they are to lie, as a pytree."""
    if clip is None:
        return as_score(score)
    if isinstance(sde, Degradation):
        return clipped_data(score, clip)
    return clipped(check_kind(sde, LinearSDE, "clip"), score, clip)


def _prepared(sde: Corruption, times: Array | np.ndarray, score: Score, stepper: S) -> S:
    """Return the stepper prepared for score and grid; not for what is not known yet, numbers of process or grid."""
    if stepper is None:
        return stepper
    check_kind(sde, stepper.process, f"the stepper {type(stepper).__name__}")
    if self_conditioning.is_self_conditioned(score):
        check_kind(sde, LinearSDE, "self-conditioning, an estimate of the data by Tweedie's formula,")
    if not stepper.stays:
        check_moves(sde, f"the stepper {type(stepper).__name__}")
    if (energy := energy_of(score)) is not None:
        stepper = stepper.with_energy(energy)
    if not doors.known(sde, times):
        return stepper
    return stepper.prepare(cast(LinearSDE, sde), times)  # of the kind that it needs, as was checked


def _grid(sde: Corruption, times: Array | np.ndarray, *, ends_at_data: bool) -> Array | np.ndarray:
    """Return the checked grid; first of all, or else each stepper would have its own words for a bad one."""
    # level 0 of a chain is the data: a step may end there, but no score is asked for there
    low = 0.0 if ends_at_data and sde.ends_at_data else sde.t_min
    doors.grid(times, low, sde.t_max)
    return times if isinstance(times, Array) else np.asarray(times)


def _begin(
    key: Array,
    sde: Corruption,
    shape: tuple[int, ...],
    times: Array | np.ndarray,
    x_init: Array | None,
    start: int | Array,
) -> tuple[Array, Array]:
    times, shape = jnp.asarray(times, jnp.result_type(float)), doors.batch_shape(shape)
    if x_init is not None:
        return doors.points(x_init, "x_init", shape=shape), times
    # a stream of its own: step i uses fold_in(key, 2 i) and fold_in(key, 2 i + 1)
    prior_keys = keys_lib.fold_in(keys_lib.per_example(key, shape[0], start), 2**32 - 1)
    return sde.prior_sample(prior_keys, shape), times


def _spread(t: Array, x: Array) -> Array:
    return jnp.broadcast_to(jnp.asarray(t, jnp.result_type(float)), x.shape[:1])
