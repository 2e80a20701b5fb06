"""The seam between the driver and the methods: a stepper is a pair of pure functions."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

from jax import Array

from scorejax.scores.predictions import Score
from scorejax.sdes.linear import LinearSDE


class Step(NamedTuple):
    """What a stepper returns.

    Attributes:
        x: the new points, `[B, ...]`.
        mean: the new points before fresh noise was added.
        memory: what the next step needs of this one: `()` for one-step methods, history for multistep ones.
        nfe: number of network evaluations, set where it depends on the data or where they happen inside a loop;
            otherwise the driver counts calls.
    """

    x: Array
    mean: Array
    memory: Any = ()
    nfe: Array | int | None = None


class Stepper(abc.ABC):
    """One method of moving samples from time `t` down to `s`, or of mixing them at time `t`.

    Write a frozen dataclass registered as a pytree; its numbers are then traced, and changing one does not compile
    the sampler again.
    """

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Any:
        """Return the memory before the first step of a grid of `times [n + 1]`."""
        return ()

    @abc.abstractmethod
    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Any) -> Step:
        """Return the samples at time `s < t`.

        Args:
            keys: one PRNG key per sample, `[B]`, for this step alone.
            sde: the forward process.
            score: `score(x, t)` with `t` a scalar or `[B]`.
            x: samples at time `t`, `[B, ...]`.
            t: current time, a scalar.
            s: next time, a scalar.
            memory: what `init` or the step before returned.
        """
