"""The seam between the driver and the methods: a stepper is a pair of pure functions, `init` and `step`.

The driver calls `prepare` on the host before it compiles anything, then `init` once and `step` for every interval of
the grid. A stepper knows where it is by what it remembers, such as a count of its steps, and never searches the grid
for a time: two times that differ in the last digit of float32 are not equal.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from jax import Array

from scorejax.numerics import keys as keys_lib
from scorejax.reverse.chain import ReverseChain
from scorejax.reverse.variance import UnboundHead, VarianceHead
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import Corruption
from scorejax.sdes.linear import LinearSDE

Memory: TypeAlias = Any
"""What a stepper remembers from one step to the next: any pytree of arrays, of one structure throughout."""


Process: TypeAlias = Any
"""A forward process of the kind `Stepper.process`, which the driver checks; most steppers write `LinearSDE`."""


class Step(NamedTuple):
    """What a stepper returns.

    Attributes:
        x: the new points, `[B, ...]`.
        memory: what the next step needs of this one: `()` for one-step methods, history for multistep ones.
        nfe: number of network evaluations, set where it depends on the data or where they happen inside a loop;
            otherwise the driver counts calls.
    """

    x: Array
    memory: Memory = ()
    nfe: Array | int | None = None


class Kernel(NamedTuple):
    """The Gaussian that a step draws from, `N(mean, std^2)`, whose width depends on the times alone.

    Attributes:
        mean: `[B, ...]`.
        std: a coefficient of the process: a scalar, or one per mode.
        memory: as of `Step`.
    """

    mean: Array
    std: Array
    memory: Memory = ()

    def draw(self, keys: Array, sde: Process, t: Array) -> Step:
        """Return the step that draws from it."""
        noise = keys_lib.normal(keys, self.mean.shape, self.mean.dtype)
        return Step(self.mean + sde.scale(self.std, t, noise), self.memory)


class Stepper(abc.ABC):
    """One method of moving samples from time `t` down to `s`, or of mixing them at time `t`.

    Write a frozen dataclass registered as a pytree; its numbers are then traced, and changing one does not compile
    the sampler again. `step` alone must be written. A stepper that wraps another passes `prepare` and `bind` on to it.

    Attributes:
        grid: the time grid that the method wants for every process, by its name in `samplers.GRIDS`; None: that of
            the process.
        process: what kind of process it steps on.
        stays: whether its moves mix the points of one level of noise, so that it serves a process that does not move.
    """

    grid: ClassVar[str | None] = None
    process: ClassVar[type[Corruption]] = LinearSDE
    stays: ClassVar[bool] = False

    @property
    def decides_clip(self) -> bool:
        """Whether a setting of its own decides if predicted data are clipped; a config then clips no second time."""
        return False

    def prepare(self, sde: Process, times: Array | np.ndarray) -> Stepper:
        """Return the stepper with the tables that it needs of this process on this grid, in float64, on the host.

        `sample` and `trajectory` call it where process and times are known numbers. Inside a compiled program that
        takes either as an argument they are not: prepare the stepper outside and pass it in. Preparing a stepper that
        is already prepared for this grid returns it as it is.

        Args:
            sde: the forward process.
            times: decreasing times `[n + 1]`.
        """
        return self

    def init(self, sde: Process, x: Array, times: Array) -> Memory:
        """Return the memory before the first step of a grid of `times [n + 1]`."""
        return ()

    def begin(self, keys: Array, sde: Process, x: Array, times: Array) -> Memory:
        """Return the memory before the first step, for a stepper that draws something once for a whole trajectory.

        Args:
            keys: one PRNG key per sample, `[B]`, for this alone.
            sde: as of `init`, which it calls by default.
            x: the points at `times[0]`.
            times: as of `init`.
        """
        return self.init(sde, x, times)

    @abc.abstractmethod
    def step(self, keys: Array, sde: Process, score: Score, x: Array, t: Array, s: Array, memory: Memory) -> Step:
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

    def chain(self, sde: Process, times: Array | np.ndarray) -> ReverseChain | None:
        """Return the reverse chain that the stepper draws from, which `likelihood.elbo` measures; None if it has none.

        Args:
            sde: the forward process.
            times: decreasing times `[n + 1]`.
        """
        return None

    def kernel(self, sde: Process, score: Score, x: Array, t: Array, s: Array, memory: Memory) -> Kernel | None:
        """Return the Gaussian that a step from `t` to `s` draws from; None if it is no draw from one.

        A sampler that weighs its points, such as `posterior.smc`, asks for it. Arguments as of `step`.
        """
        return None

    def taken(self, memory: Memory, take: Callable[[Array], Array]) -> Memory:
        """Return the memory of points of which `take` chooses some, `[B, ...] -> [B, ...]`."""
        return memory

    def with_energy(self, energy: Callable[[Array, Array], Array]) -> Stepper:
        """Return the stepper with the energy `(x [B, ...], t [B]) -> nats [B]` behind the score, if it asks for one."""
        return self

    def bind(self, bind_head: Callable[[UnboundHead], VarianceHead]) -> Stepper:
        """Return the stepper with every head that it holds without a network put on its network.

        Call it inside the compiled program, where the parameters are: score and variance then share one evaluation.

        Args:
            bind_head: returns the head on its network, given the one without.
        """
        return self
