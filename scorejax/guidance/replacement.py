"""Steppers that hold a known part of the sample to its law `N(alpha_t y, sigma_t^2)`: replacement and RePaint.

Both wrap another stepper. RePaint goes back up the grid by the forward process and comes down again; the stepper inside
then resumes with the memory that it had at that time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance.operators.base import EXACT
from scorejax.guidance.operators.selections import fit_mask
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import register_dataclass, static
from scorejax.reverse.variance import UnboundHead, VarianceHead
from scorejax.samplers.stepper import Memory, Step, Stepper
from scorejax.scores.predictions import Score
from scorejax.sdes.basis import Identity
from scorejax.sdes.corruption import Time
from scorejax.sdes.linear import LinearSDE

# Streams of their own: the stepper inside draws from `keys` itself and from small numbers folded into them.
_KNOWN, _UP = 2**32 - 2, 2**32 - 3


class Modes(Protocol):
    """An orthogonal basis, a pytree: those of `scorejax.sdes.basis`, or another."""

    def to_modes(self, x: Array) -> Array:
        """Return `U^T x` for `x [B, ...]`."""
        ...

    def from_modes(self, modes: Array) -> Array:
        """Return `U modes`, the inverse."""
        ...


@register_dataclass
@dataclass(frozen=True)
class ChannelRotation:
    """An orthogonal basis of the channels, the same at every pixel; columns of `matrix [C, C]` are the modes."""

    matrix: Array

    def to_modes(self, x: Array) -> Array:
        """Return `U^T x` for `x [..., C]`."""
        return jnp.matmul(x, jnp.asarray(self.matrix, x.dtype), precision=EXACT)

    def from_modes(self, modes: Array) -> Array:
        """Return `U modes` for `modes [..., C]`."""
        return jnp.matmul(modes, jnp.asarray(self.matrix, modes.dtype).T, precision=EXACT)


@register_dataclass
@dataclass(frozen=True)
class Known:
    """What is known of the sample: the modes of `y` where the mask is true, in an orthogonal basis.

    Attributes:
        y: the known data, in data space, `[B, ...]` or `[1, ...]`; finite everywhere.
        mask: true where it is known.
        basis: where the mask applies; pixels themselves by default.
    """

    y: Array
    mask: Array
    basis: Modes

    def paste(self, into: Array, known: Array) -> Array:
        """Return `into` with the known modes taken from `known`."""
        mask = fit_mask(self.mask, into.shape)
        modes = jnp.where(mask, self.basis.to_modes(known), self.basis.to_modes(into))
        return self.basis.from_modes(modes)

    def diffuse(self, keys: Array, sde: LinearSDE, into: Array, t: Time) -> Array:
        """Return `into` with the known modes drawn afresh from `N(alpha_t y, sigma_t^2)`.

        Raises:
            ValueError: the process mixes what is known with what is not.
        """
        if sde.by_modes and self.basis != sde.basis:
            raise ValueError(
                f"replacement draws what is known by itself, but {type(sde).__name__} mixes known and unknown numbers "
                "in its modes; take guidance by moment_matching, pigdm or dps, or a mask of the modes themselves"
            )
        noise = keys_lib.normal(keys_lib.fold_in(keys, _KNOWN), into.shape, into.dtype)
        return self.paste(into, sde.perturb(jnp.broadcast_to(self.y, into.shape), t, noise))


@register_dataclass
@dataclass(frozen=True)
class Replacement(Stepper):
    """A stepper after which the known part is drawn from its own law at the time reached."""

    stepper: Stepper
    known: Known
    corrector: bool = static(default=False)

    def prepare(self, sde: LinearSDE, times: Array | np.ndarray) -> Replacement:
        return replace(self, stepper=self.stepper.prepare(sde, times))

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Memory:
        return self.stepper.init(sde, x, times)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Memory) -> Step:
        step = self.stepper.step(keys, sde, score, x, t, s, memory)
        reached = t if self.corrector else s
        return step._replace(x=self.known.diffuse(keys, sde, step.x, reached))

    def bind(self, bind_head: Callable[[UnboundHead], VarianceHead]) -> Replacement:
        return replace(self, stepper=self.stepper.bind(bind_head))


class Rounds(NamedTuple):
    """What resampling remembers: the grid, how far it has come, and what the stepper inside remembered there."""

    times: Array
    done: Array
    memory: Memory
    at_top: Memory


@register_dataclass
@dataclass(frozen=True)
class Resampling(Stepper):
    """A stepper that goes back up over every `jump` steps and comes down again, `rounds` times in all."""

    stepper: Stepper
    rounds: int = static(default=10)
    jump: int = static(default=1)

    def prepare(self, sde: LinearSDE, times: Array | np.ndarray) -> Resampling:
        return replace(self, stepper=self.stepper.prepare(sde, times))

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Rounds:
        memory = self.stepper.init(sde, x, times)
        return Rounds(jnp.asarray(times), jnp.zeros((), jnp.int32), memory, memory)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Rounds) -> Step:
        times, done = memory.times, memory.done
        left = times.shape[0] - 1 - done  # this step included
        top = done + 1 - self.jump  # where the steps begin that end with this one
        # a whole group of `jump` steps is repeated when its last step is reached
        # every round comes down with the memory of the step that arrived at its top
        at_top = jax.tree.map(partial(jnp.where, left % self.jump == 0), memory.memory, memory.at_top)
        repeats = (self.rounds - 1) * self.jump
        updates = 1 + jnp.where(((left - 1) % self.jump == 0) & (top >= 0), repeats, 0)

        def update(i: Array, state: tuple[Array, Memory, Array]) -> tuple[Array, Memory, Array]:
            x, inside, nfe = state
            own = jnp.where(i == 0, keys, keys_lib.fold_in(keys, i))
            up = (i > 0) & ((i - 1) % self.jump == 0)
            place = jnp.where(i == 0, done, top + (i - 1) % self.jump)
            start = jnp.where(up, diffused(own, x), x)
            inside = jax.tree.map(partial(jnp.where, up), at_top, inside)
            calls = 0

            def counted(x: Array, t: Array) -> Array:
                nonlocal calls
                calls += 1
                return score(x, t)

            step = self.stepper.step(own, sde, counted, start, times[place], times[place + 1], inside)
            nfe = nfe + (calls if step.nfe is None else step.nfe)
            return step.x.astype(x.dtype), step.memory, nfe

        def diffused(own: Array, below: Array) -> Array:
            t = times[jnp.maximum(top, 0)]
            a, v = sde.transition(s, t)
            noise = keys_lib.normal(keys_lib.fold_in(own, _UP), x.shape, x.dtype)
            return (sde.scale(a, t, below) + sde.scale(jnp.sqrt(v), t, noise)).astype(x.dtype)

        state = (x, memory.memory, jnp.zeros((), jnp.int32))
        x, inside, nfe = jax.lax.fori_loop(0, updates, update, state)
        return Step(x, Rounds(times, done + 1, inside, at_top), nfe)

    def bind(self, bind_head: Callable[[UnboundHead], VarianceHead]) -> Resampling:
        return replace(self, stepper=self.stepper.bind(bind_head))


def known(y: Array | np.ndarray, mask: Array | np.ndarray, *, basis: Modes | None = None) -> Known:
    """Return what is known of a sample: the entries of `y` where the mask is true.

    Args:
        y: `[B, ...]` or `[1, ...]`, in the units of the data; where the mask is false anything, NaN included.
        mask: true (nonzero) where `y` is known; the shape of an example or of the batch.
        basis: an orthogonal basis with `to_modes` and `from_modes`, where the mask applies to modes.

    Raises:
        ValueError: if the mask does not fit `y`, or `y` is not floating numbers, finite where they are known.
    """
    y, mask = doors.points(y, "y", finite=False), jnp.asarray(mask) != 0
    basis = Identity() if basis is None else basis
    if isinstance(basis, Identity):
        # NaN times zero is NaN: what is unknown must go before any arithmetic
        y = jnp.where(fit_mask(mask, y.shape), y, 0.0)
    doors.check_finite(y, "y, where it is known,")
    return Known(y, mask, basis)


def replacement(stepper: Stepper, known: Known, *, corrector: bool = False) -> Replacement:
    """Return a stepper that draws the known part from `N(alpha y, sigma^2)` after each update (Score-SDE, app. I).

    The unknown part then follows the score at a noisy copy of what is known, which is not the conditional score
    unless the two parts are independent; `resampling` lessens that bias, `moment_matching` on `operators.mask`
    has none for Gaussian data.

    Args:
        stepper: a predictor or corrector.
        known: what is known of the samples.
        corrector: whether the stepper stays at the time `t` it was given, as Langevin steps do.
    """
    return Replacement(stepper, known, corrector)


def resampling(stepper: Stepper, rounds: int = 10, jump: int = 1) -> Resampling:
    """Return a stepper that repeats its steps, diffusing back up in between (RePaint, arXiv 2201.09865).

    Around a `replacement` this lets the unknown part settle with the known one; long jumps change it more in a round
    than short ones. The steps are grouped from the end of the grid: those before the first whole group are taken once.

    Args:
        stepper: usually a `replacement`; with one round it steps as it would alone.
        rounds: how often each step is taken (10 as published).
        jump: how many steps each round goes back over (10 of 250 as published).

    Raises:
        ValueError: if `rounds < 1` or `jump < 1`.
    """
    if rounds < 1 or jump < 1:
        raise ValueError(f"resampling: at least one round over at least one step is needed, got {rounds=}, {jump=}")
    return Resampling(stepper, rounds, jump)
