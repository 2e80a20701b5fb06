"""Chains of an energy in training: where they begin, how they move, and what becomes of those that run away.

The gradient of the log partition function is a mean over the law of the energy, which chains stand for. They begin at
the data in every step (contrastive divergence, Hinton 2002), live on from step to step (persistent chains, Tieleman
2008), or are drawn from a pool, a share of which begins anew (replay buffer, Du and Mordatch, arXiv 1903.08689).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

from scorejax.numerics import keys as keys_lib
from scorejax.samplers.chains import langevin_step

Energy: TypeAlias = Callable[[Array], Array]
"""`x [B, ...] -> E [B]`."""
Start: TypeAlias = Literal["persistent", "data", "buffer"]
"""Where the chains of a step of training begin."""
# Streams of an example's key; 0 prepares the example.
_STARTS, _OFFERS, _MOVES, _ANEW, _RESCUED = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Chains:
    """How chains move; equal for equal settings, so that compiled programs are found again.

        x <- x - step_size grad E(x) + noise_scale z,   z ~ N(0, 1)

    Small steps of it keep the law `exp(-E / T)` with the temperature `T = noise_scale^2 / (2 step_size)`.

    Attributes:
        steps: moves in a round.
        step_size: in squared units of model space.
        noise_scale: in units of model space.
        start_scale: standard deviation of the normal law in which chains begin.
        offers: whether a round begins with the offer of a fresh start, by the rule of Metropolis and Hastings.
        gradient_clip: largest slope of the energy along each coordinate; 0: no limit.
        interval: where every coordinate is held; None: anywhere.
        reach: how many `start_scale` a coordinate may have before its chain counts as run away.
    """

    steps: int
    step_size: float
    noise_scale: float
    start_scale: float
    offers: bool = False
    gradient_clip: float = 0.0
    interval: tuple[float, float] | None = None
    reach: float = 100.0

    @property
    def temperature(self) -> float:
        """`T` of the law `exp(-E / T)` that small moves keep."""
        return self.noise_scale**2 / (2 * self.step_size)

    def start(self, keys: Array, shape: tuple[int, ...]) -> Array:
        """Return where chains begin, each by its own key."""
        return self._held(self.start_scale * keys_lib.normal(keys_lib.fold_in(keys, _STARTS), shape, jnp.float32))

    def round(self, energy: Energy, keys: Array, x: Array) -> Array:
        """Return chains after the offer of a fresh start, if there are offers, and Langevin moves."""
        x = self.offer(energy, keys, x) if self.offers else x
        keys = keys_lib.fold_in(keys, _MOVES)

        def once(i: Array, x: Array) -> Array:
            slope = jax.grad(lambda y: jnp.sum(energy(y)))(x)
            if self.gradient_clip:
                slope = jnp.clip(slope, -self.gradient_clip, self.gradient_clip)
            noise = keys_lib.normal(keys_lib.fold_in(keys, i), x.shape, x.dtype)
            return self._held(langevin_step(x, -slope, self.step_size, self.noise_scale, noise))

        return lax.fori_loop(0, self.steps, once, x)

    def offer(self, energy: Energy, keys: Array, x: Array) -> Array:
        """Return one move of Metropolis and Hastings whose proposals do not depend on `x`: it keeps `exp(-E / T)`."""
        fresh = self.start(keys, x.shape)

        def excess(x: Array) -> Array:
            # T log(q / p) for the law q of fresh starts and p = exp(-E / T), each up to a constant.
            of_start = jnp.sum(x.reshape(len(x), -1) ** 2, axis=1) / (2 * self.start_scale**2)
            return energy(x) - self.temperature * of_start

        # -log u of a uniform u is exponential.
        patience = -jnp.log1p(-keys_lib.uniform(keys_lib.fold_in(keys, _OFFERS), (len(x),)))
        return _where(excess(fresh) - excess(x) < self.temperature * patience, fresh, x)

    def sound(self, energy: Energy, x: Array) -> Array:
        """Return whether each chain is where chains belong, with an energy that is a number, `[B]`."""
        rows = x.reshape(len(x), -1)
        return jnp.all(jnp.abs(rows) <= self.reach * self.start_scale, axis=1) & jnp.isfinite(energy(x))

    def run(self, energy: Energy, keys: Array, shape: tuple[int, ...], moves: int) -> Array:
        """Return samples, each the end of a chain of its own, after whole rounds of at least so many moves."""

        def once(i: Array, x: Array) -> Array:
            return self.round(energy, keys_lib.fold_in(keys, i), x)

        return lax.fori_loop(1, self.rounds(moves) + 1, once, self.start(keys, shape))

    def rounds(self, moves: int) -> int:
        """Return how many rounds make so many moves."""
        return -(-moves // self.steps)

    def evaluations(self, moves: int) -> int:
        """Return how many evaluations of the network a sample takes: one for a slope, two for an offer."""
        return self.rounds(moves) * (self.steps + 2 * self.offers)

    def _held(self, x: Array) -> Array:
        return x if self.interval is None else jnp.clip(x, *self.interval)


class Drawn(NamedTuple):
    """The negative samples of a step.

    Attributes:
        x: where the chains are after their round, `[B, ...]`; nothing to be differentiated.
        sound: false for a chain that ran away and began anew: it says nothing of the energy, `[B]`.
        carry: what is remembered.
    """

    x: Array
    sound: Array
    carry: Array | None


@dataclass(frozen=True)
class Negatives:
    """Where the negative samples of training come from.

    Attributes:
        start: `data`: chains begin at the data of each step, and nothing is remembered. `persistent`: they live on,
            and move in turn. `buffer`: they are drawn at random from a pool, to which they return.
        count: how many chains are remembered.
        anew: share of those drawn from a buffer that begin anew.
        chains: how they move.
    """

    start: Start
    count: int
    anew: float
    chains: Chains

    def carry(self, key: Array, shape: tuple[int, ...]) -> Array | None:
        """Return the chains before the first step; None where nothing is remembered."""
        if self.start == "data":
            return None
        x = self.chains.start_scale * jax.random.normal(key, (self.count, *shape), jnp.float32)
        return x if self.chains.interval is None else jnp.clip(x, *self.chains.interval)

    def draw(self, energy: Energy, carry: Array | None, x: Array, keys: Array, step: Array, device_key: Array) -> Drawn:
        """Return the negative samples of a step; a chain that ran away begins anew.

        Args:
            energy: without a gradient to its weights.
            carry: what was remembered.
            x: the data of the step.
            keys: one for each example.
            step: how many were taken before.
            device_key: of the step, by which a buffer is drawn from.

        Raises:
            ValueError: fewer chains are remembered than there are examples, or chains of another shape.
        """
        count, places = len(x), None
        begin = x
        if self.start != "data":
            assert carry is not None
            if count > self.count:
                raise ValueError(
                    f"recipe.chains = {self.count} are fewer than the {count} examples of a device's batch; take at "
                    "least as many"
                )
            if carry.shape != (self.count, *x.shape[1:]):
                raise ValueError(
                    f"the chains that were kept have the shape {carry.shape}, and these settings and data need "
                    f"{(self.count, *x.shape[1:])}; go on with the recipe.chains and data that the run began with"
                )
            # In turn, or at random without repetition: no chain is moved twice in one step.
            places = (step * count + jnp.arange(count)) % self.count
            if self.start == "buffer":
                places = jax.random.choice(device_key, self.count, (count,), replace=False)
            begin = carry[places]
            if self.start == "buffer":
                renewed = keys_lib.uniform(keys_lib.fold_in(keys, _ANEW), (count,)) < self.anew
                begin = _where(renewed, self.chains.start(keys, x.shape), begin)
        moved = self.chains.round(energy, keys, begin)
        sound = self.chains.sound(energy, moved)
        moved = _where(sound, moved, self.chains.start(keys_lib.fold_in(keys, _RESCUED), x.shape))
        moved = lax.stop_gradient(moved)  # the estimate of grad log Z holds the samples fixed
        return Drawn(moved, sound, carry if places is None or carry is None else carry.at[places].set(moved))


def _where(chosen: Array, x: Array, other: Array) -> Array:
    """The rows of `x` where `chosen [B]`, else those of `other`."""
    return jnp.where(chosen.reshape(-1, *[1] * (x.ndim - 1)), x, other)
