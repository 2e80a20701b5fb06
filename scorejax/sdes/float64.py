"""Numbers of a process in float64, in programs of any precision.

Differences such as `sigma_t^2 - a^2 sigma_s^2` lose most of their digits where steps are short; tables of a whole
time grid are therefore made once, here, on the host.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics.trees import PyTree
from scorejax.sdes.corruption import Corruption
from scorejax.sdes.discrete import Chain


def evaluate(function: Callable[..., PyTree], sde: Corruption, *numbers: np.ndarray | float) -> PyTree:
    """Return `function(sde, *numbers)` computed in float64, as numpy arrays; also while another function is traced.

    A function defined once, not a new lambda each time, is compiled once.

    Raises:
        ValueError: if the process itself is traced: its numbers are then unknown.
    """
    if not doors.known(sde):
        raise ValueError(
            "tables in float64 need a process whose numbers are known, got one that is traced by a JAX "
            "transformation; make the table outside, or close over the process instead of passing it as an argument"
        )
    # copies, because JAX remembers host arrays by identity and would later take their float64 form for a float32 one
    sde = jax.tree.map(np.array, sde)
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        values = jax.jit(function)(sde, *(np.asarray(t, np.float64) for t in numbers))
        return jax.tree.map(lambda value: np.array(value, np.float64), values)


def exact_times(sde: Corruption, times: Array | np.ndarray) -> np.ndarray:
    """Return times in float64; those of a chain that float32 has rounded are put back on their levels `n / N`.

    Raises:
        ValueError: if the times are traced: their numbers are then unknown.
    """
    if not doors.known(times):
        raise ValueError(
            "tables in float64 need times whose numbers are known, got times that are traced by a JAX transformation; "
            "make them outside, or inside by numpy, or by scorejax.times for a process that is not traced"
        )
    times = np.asarray(times, np.float64)
    if not isinstance(sde, Chain):
        return times
    nearest = np.round(times * sde.levels) / sde.levels
    return np.where(np.abs(times - nearest) < 2e-6, nearest, times)


def decreasing_times(sde: Corruption, times: Array | np.ndarray) -> np.ndarray:
    """Return a checked time grid in float64, from the prior down to the data.

    Raises:
        ValueError: if it is traced, is not a vector, does not decrease strictly, or leaves the times of the process;
            the last of a chain may be 0, the data themselves.
    """
    times = exact_times(sde, times)
    doors.grid(times, 0.0 if isinstance(sde, Chain) else sde.t_min, sde.t_max, least=1)
    return times
