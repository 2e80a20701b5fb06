"""Hamiltonian moves that keep a law between a normal one and that of an energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib

_MOMENTUM, _PATIENCE = 0, 1  # streams of a move's key


class Place(NamedTuple):
    """Where chains are.

    Attributes:
        x: points, `[B, ...]`.
        energy: theirs, in nats, `[B]`.
        slope: the gradient of the energy there, `[B, ...]`.
    """

    x: Array
    energy: Array
    slope: Array


class Moved(NamedTuple):
    """What a move came to.

    Attributes:
        place: where the chains are after it.
        accepted: 1 where the proposal was taken, 0 where it was not, `[B]`.
        probability: that it is taken, `[B]`.
    """

    place: Place
    accepted: Array
    probability: Array


class Bridge(NamedTuple):
    """The laws `q^(1 - b) exp(-b E)` between `q = N(mean, scale^2)`, at `b = 0`, and that of an energy, at `b = 1`.

    Attributes:
        energy: `x [B, ...] -> E [B]`.
        mean: a number, or of the shape of an example.
        scale: likewise.
    """

    energy: Callable[[Array], Array]
    mean: Array
    scale: Array

    def minus_log_base(self, x: Array) -> Array:
        """Return `-log q(x)`, `[B]`."""
        z = (x - self.mean) / self.scale
        logs = jnp.broadcast_to(jnp.log(self.scale) + 0.5 * jnp.log(2 * jnp.pi), x.shape[1:])
        return 0.5 * jnp.sum(z.reshape(len(x), -1) ** 2, axis=1) + jnp.sum(logs)

    def place(self, x: Array) -> Place:
        """Return points with their energies and slopes."""

        def total(x: Array) -> tuple[Array, Array]:
            each = doors.per_row(x, self.energy(x), "an energy")
            return jnp.sum(each), each

        slope, each = jax.grad(total, has_aux=True)(x)
        return Place(x, each, slope)

    def start(self, keys: Array, shape: tuple[int, ...]) -> Place:
        """Return draws from `q`, each from its own key."""
        return self.place(self.mean + self.scale * keys_lib.normal(keys, (len(keys), *shape), jnp.float32))

    def move(self, keys: Array, place: Place, beta: Array, step_size: Array, leapfrog_steps: int) -> Moved:
        """Return where a Hamiltonian move leads, which keeps the law at `b = beta` (Neal, arXiv 1206.1901).

        Leapfrog steps of a particle of unit mass with a fresh momentum, taken or refused by the rule of Metropolis. A
        proposal whose energy is not finite is refused.

        Args:
            keys: one for each chain, of this move.
            place: of the chains.
            beta: of the law.
            step_size: of a leapfrog step.
            leapfrog_steps: how many.
        """

        def potential(at: Place) -> Array:
            return beta * at.energy + (1 - beta) * self.minus_log_base(at.x)

        def kinetic(p: Array) -> Array:
            return 0.5 * jnp.sum(p.reshape(len(p), -1) ** 2, axis=1)

        def push(at: Place) -> Array:
            return -0.5 * step_size * (beta * at.slope + (1 - beta) * (at.x - self.mean) / self.scale**2)

        def leap(_: Array, state: tuple[Place, Array]) -> tuple[Place, Array]:
            at, p = state
            p = p + push(at)
            at = self.place(at.x + step_size * p)
            return at, p + push(at)

        p = keys_lib.normal(keys_lib.fold_in(keys, _MOMENTUM), place.x.shape, place.x.dtype)
        proposal, end = lax.fori_loop(0, leapfrog_steps, leap, (place, p))
        gain = potential(place) + kinetic(p) - potential(proposal) - kinetic(end)
        probability = jnp.where(jnp.isfinite(gain), jnp.exp(jnp.minimum(gain, 0.0)), 0.0)
        taken = keys_lib.uniform(keys_lib.fold_in(keys, _PATIENCE), (len(keys),)) < probability

        def chosen(new: Array, old: Array) -> Array:
            return jnp.where(taken.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return Moved(jax.tree.map(chosen, proposal, place), taken.astype(jnp.float32), probability)
