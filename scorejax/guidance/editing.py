"""What samplers make of given images: fill in what is missing, add color, edit by diffusing part of the way."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance.replacement import ChannelRotation, Known, known, replacement, resampling
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.samplers.driver import Sample, sample
from scorejax.samplers.stepper import Stepper
from scorejax.scores.clipping import Clip, Interval
from scorejax.scores.predictions import Score
from scorejax.sdes import times as grids
from scorejax.sdes.corruption import check_kind, check_static
from scorejax.sdes.linear import LinearSDE

GRAY_AND_CHROMA = np.array([[1.0, -2.0, 0.0], [1.0, 1.0, 1.0], [1.0, 1.0, -1.0]]) / np.sqrt([3.0, 6.0, 2.0])
"""Orthonormal columns: the gray of a pixel times sqrt(3), and two directions of color (Score-SDE, appendix I)."""

# Streams of their own, apart from those of `sample`, which draws from small numbers folded into the key.
_START, _REPEAT = 2**32 - 4, 2**31


def inpaint(
    key: Array,
    sde: LinearSDE,
    score: Score,
    y: Array,
    mask: Array | np.ndarray,
    *,
    stepper: Stepper,
    times: Array | np.ndarray,
    corrector: Stepper | None = None,
    corrector_first: bool = False,
    rounds: int = 1,
    jump: int = 1,
    denoise: bool = True,
    clip: Interval | Clip | None = None,
    start: int | Array = 0,
) -> Sample:
    """Draw samples whose known part is `y`, by replacement after every update (Score-SDE, appendix I; RePaint).

    The known part starts, and is drawn after each update, from its own law `N(alpha_t y, sigma_t^2)`; at the end it
    is `y` exactly.

    Args:
        key: a typed PRNG key, or one per sample.
        sde: the forward process.
        score: the unconditional score.
        y: `[B, ...]`, known data where the mask is true and anything, NaN included, elsewhere.
        mask: true (nonzero) where `y` is known; the shape of an example or of the batch.
        stepper: the predictor.
        times: decreasing times from `sde.t_max`, `[n + 1]`.
        corrector: Langevin steps at each level.
        corrector_first: run the corrector before the predictor.
        rounds: how often each predictor step is taken (RePaint's resampling); 1 is plain replacement.
        jump: how many steps each of these rounds goes back over.
        denoise: return the posterior mean at the last time; else points at that time, the known part diffused too.
        clip: as in `sample`.
        start: index of the first sample.

    Raises:
        ValueError: if the mask does not fit `y`, the grid does not decrease, `rounds < 1` or `jump < 1`.
    """
    check_kind(sde, LinearSDE, "inpaint")
    return _fill(
        key, sde, score, known(y, mask), jnp.shape(y), stepper=stepper, times=times, corrector=corrector,
        corrector_first=corrector_first, rounds=rounds, jump=jump, denoise=denoise, clip=clip, start=start,
    )  # fmt: skip


def colorize(
    key: Array,
    sde: LinearSDE,
    score: Score,
    gray: Array,
    *,
    stepper: Stepper,
    times: Array | np.ndarray,
    corrector: Stepper | None = None,
    corrector_first: bool = False,
    rounds: int = 1,
    jump: int = 1,
    denoise: bool = True,
    clip: Interval | Clip | None = None,
    start: int | Array = 0,
) -> Sample:
    """Draw color images `[B, H, W, 3]` whose channel mean is `gray`: inpainting in a basis of gray and chroma.

    Args:
        key: a typed PRNG key, or one per sample.
        sde: the forward process.
        score: the unconditional score of color images.
        gray: the mean of the three channels, `[B, H, W, 1]`, in the units of the data.
        stepper: the predictor.
        times: decreasing times from `sde.t_max`, `[n + 1]`.
        corrector: Langevin steps at each level.
        corrector_first: run the corrector before the predictor.
        rounds: how often each predictor step is taken.
        jump: how many steps each of these rounds goes back over.
        denoise: return the posterior mean at the last time.
        clip: as in `sample`.
        start: index of the first sample.

    Raises:
        ValueError: if `gray` has not one channel, or as `inpaint`.
    """
    check_kind(sde, LinearSDE, "colorize")
    gray = doors.points(gray, "gray")
    if gray.ndim < 2 or gray.shape[-1] != 1:
        raise ValueError(f"colorize: a gray image [B, H, W, 1] is needed, got shape {jnp.shape(gray)}")
    y = jnp.repeat(gray, 3, axis=-1)
    mask = jnp.broadcast_to(jnp.array([True, False, False]), (*[1] * (y.ndim - 2), 3))
    part = known(y, mask, basis=ChannelRotation(jnp.asarray(GRAY_AND_CHROMA)))
    return _fill(
        key, sde, score, part, y.shape, stepper=stepper, times=times, corrector=corrector,
        corrector_first=corrector_first, rounds=rounds, jump=jump, denoise=denoise, clip=clip, start=start,
    )  # fmt: skip


def sdedit(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    t0: float,
    *,
    stepper: Stepper,
    steps: int = 100,
    grid: Callable[[LinearSDE, int], Array] = grids.log_snr,
    corrector: Stepper | None = None,
    corrector_first: bool = False,
    repeats: int = 1,
    mask: Array | np.ndarray | None = None,
    denoise: bool = True,
    clip: Interval | Clip | None = None,
    start: int | Array = 0,
) -> Sample:
    """Edit `x0`: diffuse it to `t0` and sample back (SDEdit, arXiv 2108.01073).

    `score` may carry any guidance; with the energies of `faithful` and `realistic` by `experts` this is EGSDE.

    Args:
        key: a typed PRNG key, or one per sample.
        sde: the forward process.
        score: `score(x, t)`.
        x0: the guide, `[B, ...]`, in the units of the data.
        t0: any time in `(t_min, t_max]`; small keeps the guide, large follows the model. 0.3 to 0.6 of the range
            suits VP.
        stepper: the predictor.
        steps: steps from `t0` to `sde.t_min`, so many for every `t0`.
        grid: how to place them, from `scorejax.times`.
        corrector: Langevin steps at each level.
        corrector_first: run the corrector before the predictor.
        repeats: how often to diffuse and come back, each time from the last result.
        mask: true (nonzero) where edits are allowed; the rest is held to `x0` and returned as it was.
        denoise: return the posterior mean at the last time.
        clip: as in `sample`.
        start: index of the first sample.

    Raises:
        ValueError: if `t0` lies outside the times of the process, `repeats < 1`, or the mask does not fit `x0`.
    """
    check_kind(sde, LinearSDE, "sdedit")
    x0 = doors.points(x0, "x0")
    check_static("sdedit", t0=t0)
    if not sde.t_min < t0 <= sde.t_max:
        raise ValueError(f"sdedit: t0={t0} lies outside ({sde.t_min}, {sde.t_max}], the times of this process")
    if repeats < 1:
        raise ValueError(f"sdedit: at least one repeat is needed, got {repeats}")
    keys = keys_lib.per_example(key, x0.shape[0], start)
    until_t0 = sde.replace(t_max=float(t0))
    # numbers even inside a compiled program, so that a stepper can be prepared for this grid, which only we know
    with doors.evaluated(sde):
        times = grid(until_t0, steps)
    kept = None if mask is None else known(x0, jnp.asarray(mask) == 0)
    if kept is not None:
        stepper = replacement(stepper, kept)
        corrector = None if corrector is None else replacement(corrector, kept, corrector=True)
    x, nfe = x0, jnp.zeros((), jnp.int32)
    for i in range(repeats):
        own = keys if i == 0 else keys_lib.fold_in(keys, _REPEAT + i)
        noise = keys_lib.normal(keys_lib.fold_in(own, _START), x.shape, x.dtype)
        found = sample(
            own, sde, score, x.shape, stepper=stepper, times=times, corrector=corrector,
            corrector_first=corrector_first, x_init=sde.perturb(x, times[0], noise), denoise=denoise or i + 1 < repeats,
            clip=clip,
        )  # fmt: skip
        x, nfe = found.x, nfe + found.nfe
        if kept is not None and (denoise or i + 1 < repeats):
            x = kept.paste(x, kept.y)
    return Sample(x, nfe)


def _fill(
    key: Array, sde: LinearSDE, score: Score, part: Known, shape: tuple[int, ...], *, stepper: Stepper,
    times: Array | np.ndarray, corrector: Stepper | None, corrector_first: bool, rounds: int, jump: int,
    denoise: bool, clip: Interval | Clip | None, start: int | Array,
) -> Sample:  # fmt: skip
    doors.grid(times, sde.t_min, sde.t_max)
    keys = keys_lib.per_example(key, shape[0], start)
    held = replacement(stepper, part)
    begin = keys_lib.fold_in(keys, _START)
    # the known part starts with the variance of its time, not as data among noise
    x = part.diffuse(begin, sde, sde.prior_sample(begin, shape), jnp.asarray(times)[0])
    found = sample(
        keys, sde, score, shape, stepper=held if rounds == 1 else resampling(held, rounds, jump), times=times,
        corrector=None if corrector is None else replacement(corrector, part, corrector=True),
        corrector_first=corrector_first, x_init=x, denoise=denoise, clip=clip,
    )  # fmt: skip
    return found._replace(x=part.paste(found.x, part.y)) if denoise else found
