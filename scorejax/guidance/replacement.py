"""Steppers that hold a known part of the sample to its law: inpainting by replacement, and resampling (RePaint)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import keys as keys_lib
from scorejax.guidance.operators.base import EXACT
from scorejax.guidance.operators.selections import fit_mask
from scorejax.samplers.stepper import Step, Stepper
from scorejax.score import Score
from scorejax.sdes.basis import Identity
from scorejax.sdes.linear import LinearSDE, Time, static

# Streams of their own: the stepper inside draws from `keys` itself and from small numbers folded into them.
_KNOWN, _UP = 2**32 - 2, 2**32 - 3


@jax.tree_util.register_dataclass
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


@jax.tree_util.register_dataclass
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
    basis: Any

    def paste(self, into: Array, known: Array) -> Array:
        """Return `into` with the known modes taken from `known`."""
        mask = fit_mask(self.mask, into.shape)
        modes = jnp.where(mask, self.basis.to_modes(known), self.basis.to_modes(into))
        return self.basis.from_modes(modes)

    def diffuse(self, keys: Array, sde: LinearSDE, into: Array, t: Time) -> Array:
        """Return `into` with the known modes drawn afresh from `N(alpha_t y, sigma_t^2)`."""
        noise = keys_lib.normal(keys_lib.fold_in(keys, _KNOWN), into.shape, into.dtype)
        return self.paste(into, sde.perturb(jnp.broadcast_to(self.y, into.shape), t, noise))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Replacement(Stepper):
    """A stepper after which the known part is drawn from its own law at the time reached."""

    stepper: Stepper
    known: Known
    corrector: bool = static(default=False)

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Any:
        return self.stepper.init(sde, x, times)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Any) -> Step:
        step = self.stepper.step(keys, sde, score, x, t, s, memory)
        reached = t if self.corrector else s
        clean = sde.scale(sde.alpha(reached), reached, jnp.broadcast_to(self.known.y, x.shape))
        # the mean of the unknown part comes from the step's own mean, so that it is free of noise everywhere
        return step._replace(x=self.known.diffuse(keys, sde, step.x, reached), mean=self.known.paste(step.mean, clean))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Resampling(Stepper):
    """A stepper that goes back up after each step and comes down again, `rounds` times in all."""

    stepper: Stepper
    rounds: int = static(default=10)

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Any:
        return self.stepper.init(sde, x, times)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Any) -> Step:
        if self.rounds == 1:
            return self.stepper.step(keys, sde, score, x, t, s, memory)
        a, v = sde.transition(s, t)

        def up(own: Array, below: Array) -> Array:
            noise = keys_lib.normal(keys_lib.fold_in(own, _UP), x.shape, x.dtype)
            return (sde.scale(a, t, below) + sde.scale(jnp.sqrt(v), t, noise)).astype(x.dtype)

        def again(carry: tuple[Array, Array, Any, Array], i: Array) -> tuple[tuple[Array, Array, Any, Array], None]:
            below, _, _, nfe = carry
            own = keys_lib.fold_in(keys, i)
            calls = 0

            def counted(x: Array, t: Array) -> Array:
                nonlocal calls
                calls += 1
                return score(x, t)

            start = jnp.where(i == 0, x, up(own, below))
            # every round comes down from t, with the memory of the step that arrived there
            step = self.stepper.step(own, sde, counted, start, t, s, memory)
            nfe = nfe + (calls if step.nfe is None else step.nfe)
            return (step.x.astype(x.dtype), step.mean.astype(x.dtype), step.memory, nfe), None

        carry = (x, x, memory, jnp.zeros((), jnp.int32))
        (below, mean, memory, nfe), _ = jax.lax.scan(again, carry, jnp.arange(self.rounds))
        return Step(below, mean, memory, nfe)


def known(y: Array | np.ndarray, mask: Array | np.ndarray, *, basis: Any = None) -> Known:
    """Return what is known of a sample: the entries of `y` where the mask is true.

    Args:
        y: `[B, ...]` or `[1, ...]`, in the units of the data; where the mask is false anything, NaN included.
        mask: true (nonzero) where `y` is known; the shape of an example or of the batch.
        basis: an orthogonal basis with `to_modes` and `from_modes`, where the mask applies to modes.

    Raises:
        ValueError: if the mask does not fit `y`.
    """
    y, mask = jnp.asarray(y), jnp.asarray(mask) != 0
    basis = Identity() if basis is None else basis
    if isinstance(basis, Identity):
        # NaN times zero is NaN: what is unknown must go before any arithmetic
        y = jnp.where(fit_mask(mask, y.shape), y, 0.0)
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


def resampling(stepper: Stepper, rounds: int = 10) -> Resampling:
    """Return a stepper that repeats each step, diffusing back up in between (RePaint, arXiv 2201.09865).

    Around a `replacement` this lets the unknown part settle with the known one. Each round jumps over one step.

    Args:
        stepper: usually a `replacement`; with one round it steps as it would alone.
        rounds: how often each step is taken.

    Raises:
        ValueError: if `rounds < 1`.
    """
    if rounds < 1:
        raise ValueError(f"resampling: at least one round is needed, got {rounds}")
    return Resampling(stepper, rounds)
