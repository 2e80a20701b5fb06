"""Langevin chains at one level of noise: moves along a score with noise, and their correction by Metropolis.

A chain knows one density alone. Its unadjusted moves have a law that is off by the step size; with the accept-reject
rule of Metropolis and Hastings the law is exact, for which the energy must be known and not the score alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Positive
from scorejax.numerics.trees import as_pytree, register_dataclass, static
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import SDE, Corruption, per_batch

Convention: TypeAlias = Literal["full", "half"]
_ACCEPT = 1  # stream of a move's key; 0 is its noise


def langevin_step(x: Array, score: Array, step_size: float | Array, noise_scale: float | Array, noise: Array) -> Array:
    """Return `x + step_size score + noise_scale noise`, one Langevin move.

    Its chains have the law `p^(1 / T)` with `T = noise_scale^2 / (2 step_size)`, up to the error of the step size. On
    `N(0, 1 / p)` the variance is `noise_scale^2 / (2 step_size p - step_size^2 p^2)`.

    Args:
        x: points, `[B, ...]`.
        score: `grad log p(x)`, of the same shape.
        step_size: a number, or one for each example.
        noise_scale: likewise; `sqrt(2 step_size)` for temperature one.
        noise: standard normal, of the shape of `x`.
    """
    return x + _wide(step_size, x) * score + _wide(noise_scale, x) * noise


class Move(NamedTuple):
    """Points of chains and what the next move needs of them.

    Attributes:
        x: points, `[B, ...]`.
        energy: theirs, `[B]`.
        gradient: of the energy, `[B, ...]`.
        accepted: whether the last proposal was taken, `[B]`.
    """

    x: Array
    energy: Array
    gradient: Array
    accepted: Array


def metropolis_start(energy: Callable[[Array], Array], x: Array) -> Move:
    """Return what the first move of Metropolis-adjusted chains needs."""
    value, gradient = _energy_and_gradient(energy, x)
    return Move(x, value, gradient, jnp.ones(len(x), bool))


def metropolis_step(
    keys: Array,
    energy: Callable[[Array], Array],
    at: Move,
    step_size: float | Array,
    temperature: float | Array = 1.0,
) -> Move:
    """Make one move of the Metropolis-adjusted Langevin algorithm, which keeps `exp(-E / T)` exactly.

        x' = x - e grad E(x) + sqrt(2 e T) z,   taken with the probability
        min(1, exp((E(x) - E(x')) / T) q(x | x') / q(x' | x)),   q the density of the proposals

    (Roberts & Tweedie 1996.) A proposal whose energy is not finite is not taken.

    Args:
        keys: one key per chain, `[B]`, for this move alone.
        energy: `(x [B, ...]) -> nats [B]`.
        at: where the chains are.
        step_size: `e`, a number, or one for each chain.
        temperature: `T`, likewise.
    """
    noise = keys_lib.normal(keys, at.x.shape, at.x.dtype)
    scale = jnp.sqrt(2.0 * step_size * temperature)
    x = langevin_step(at.x, -at.gradient, step_size, scale, noise)
    value, gradient = _energy_and_gradient(energy, x)
    # The way back needs the noise that would have led from x' to x.
    back = at.x - x + _wide(step_size, x) * gradient
    log_back, log_there = -_square(back) / (2.0 * scale**2), -0.5 * _square(noise)
    excess = (at.energy - value) / temperature + log_back - log_there
    patience = -jnp.log1p(-keys_lib.uniform(keys_lib.fold_in(keys, _ACCEPT), (len(x),)))  # -log u is exponential
    taken = jnp.isfinite(value) & (excess > -patience)
    wide = _wide(taken, x)
    return Move(
        jnp.where(wide, x, at.x), jnp.where(taken, value, at.energy), jnp.where(wide, gradient, at.gradient), taken
    )


@register_dataclass
@dataclass(frozen=True)
class ULA(Stepper):
    """`x <- x + e score + sqrt(2 e T) z` at the cleanest level of the process."""

    process: ClassVar[type[Corruption]] = SDE
    stays: ClassVar[bool] = True
    step_size: float | Array
    temperature: float | Array
    steps: int = static(default=1)

    def step(self, keys: Array, sde: SDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        def move(i: Array, x: Array) -> Array:
            noise = keys_lib.normal(keys_lib.fold_in(keys, i), x.shape, x.dtype)
            scale = jnp.sqrt(2.0 * self.step_size * self.temperature)
            moved = langevin_step(x, score(x, jnp.asarray(sde.t_min)), self.step_size, scale, noise)
            return sde.settled(moved).astype(x.dtype)

        return Step(jax.lax.fori_loop(0, self.steps, move, x), nfe=self.steps)


@register_dataclass
@dataclass(frozen=True)
class MALA(Stepper):
    """The same proposals, taken or refused by the rule of Metropolis and Hastings."""

    process: ClassVar[type[Corruption]] = SDE
    stays: ClassVar[bool] = True
    step_size: float | Array
    temperature: float | Array
    energy: Callable[[Array, Array], Array] | None = None
    steps: int = static(default=1)

    def with_energy(self, energy: Callable[[Array, Array], Array]) -> MALA:
        return self if self.energy is not None else dataclasses.replace(self, energy=as_pytree(energy))

    def step(self, keys: Array, sde: SDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        of = self.energy
        if of is None:
            raise ValueError(
                "mala accepts or refuses moves by their energy, and this score has none: give energy=(x, t) -> [B], a "
                "score of score_from_energy, or use ula"
            )
        cleanest = jnp.full(len(x), sde.t_min, jnp.result_type(float))

        def energy(x: Array) -> Array:
            value = doors.per_row(x, of(x, cleanest), "an energy")
            if (inside := sde.settled(x)) is x:
                return value
            return jnp.where(jnp.all((inside == x).reshape(len(x), -1), axis=1), value, jnp.inf)  # walls refuse moves

        def move(i: Array, at: Move) -> Move:
            return metropolis_step(keys_lib.fold_in(keys, i), energy, at, self.step_size, self.temperature)

        at = jax.lax.fori_loop(0, self.steps, move, metropolis_start(energy, x))
        return Step(at.x, nfe=self.steps + 1)


def ula(
    step_size: Positive = 1e-2, steps: Count = 1, temperature: Positive = 1.0, *, convention: Convention = "full"
) -> ULA:
    """Return the unadjusted Langevin algorithm, `x <- x + e score + sqrt(2 e T) z`, at the cleanest level alone.

    It forgets the levels of the process: plain Langevin dynamics with the score of the data. On `N(0, v)` the law of
    its chains has the variance `v / (1 - e / (2 v))`, and they diverge where `e >= 2 v`. It does not cross from mode to
    mode in a reasonable time; `annealed_langevin` does.

    Args:
        step_size: `e`, in squared model units.
        steps: moves in each step of the time grid, so that a grid of `n` steps makes `n` times as many.
        temperature: `T` of the law `p^(1 / T)`.
        convention: `full` is `x + e score + sqrt(2 e T) z`; `half` is `x + (e / 2) score + sqrt(e T) z`, as algorithms
            of NCSN (arXiv 1907.05600) are printed, whose steps of the same `e` are half as long.

    Raises:
        ValueError: unless step_size and temperature are positive, there is a step, and the convention is known.
    """
    if convention not in ("full", "half"):
        raise ValueError(f"ula: unknown convention {convention!r}; choose one of full, half")
    _check("ula", step_size, steps, temperature)
    return ULA(step_size if convention == "full" else 0.5 * step_size, temperature, steps)


def mala(
    step_size: Positive = 1e-2,
    steps: Count = 1,
    temperature: Positive = 1.0,
    *,
    convention: Convention = "full",
    energy: Callable[[Array, Array], Array] | None = None,
) -> MALA:
    """Return the Metropolis-adjusted Langevin algorithm at the cleanest level: its law is `exp(-E / T)` exactly.

    The best step size accepts about 57 % of the moves (Roberts & Rosenthal 1998).

    Args:
        step_size: `e` of the proposals, in squared model units.
        steps: moves in each step of the time grid.
        temperature: `T` of the law `exp(-E / T)`.
        convention: as of `ula`.
        energy: `(x [B, ...], t [B]) -> nats [B]`, whose gradient is minus the score; that of `score_from_energy` if
            not given.

    Raises:
        ValueError: as `ula`; when stepping, if the energy is not known.
    """
    proposals = ula(step_size, steps, temperature, convention=convention)
    return MALA(proposals.step_size, temperature, None if energy is None else as_pytree(energy), steps)


def _check(name: str, step_size: float | Array, steps: int, temperature: float | Array) -> None:
    if steps < 1 or (doors.known(step_size, temperature) and not (step_size > 0 and temperature > 0)):
        raise ValueError(
            f"{name} needs step_size > 0, temperature > 0 and steps >= 1, got step_size={step_size}, "
            f"temperature={temperature}, steps={steps}"
        )


def _energy_and_gradient(energy: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    value, pull = jax.vjp(energy, x)
    return value, pull(jnp.ones_like(value))[0]


def _wide(number: float | Array, x: Array) -> Array:
    number = jnp.asarray(number)
    return per_batch(number, number, x.ndim)


def _square(x: Array) -> Array:
    return jnp.sum(x.reshape(len(x), -1) ** 2, axis=1)
