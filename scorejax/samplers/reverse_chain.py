"""Sampling by a reverse chain: Analytic-DPM, NPR-DPM, SN-DPM, DDPM, DDIM, learned variances, on any grid.

The chain `p(x_s | x_t) = N(mean, variance)` of every step is a table in float64 (`scorejax.reverse.chain`). A part
describes the chain without its grid; `prepare` makes the table, once process and grid are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NoReturn, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Finite, Positive, Share
from scorejax.numerics.trees import register_dataclass
from scorejax.reverse import VARIANCES, ReverseChain, chain
from scorejax.reverse.gamma import Gamma
from scorejax.reverse.variance import UnboundHead, VarianceHead
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.clipping import Interval
from scorejax.scores.predictions import Score
from scorejax.sdes.float64 import exact_times
from scorejax.sdes.linear import LinearSDE

VarianceName: TypeAlias = Literal["posterior", "forward", "analytic", "npr", "sn", "ocm", "learned"]
FITTED = ("analytic", "npr", "sn", "ocm", "learned")
"""Variances that were fitted to a network, and that only the program which holds the network can supply."""

Variance = Gamma | VarianceHead | UnboundHead
Fitted = Callable[[str], Variance]


@register_dataclass
@dataclass(frozen=True)
class ChainStepper(Stepper):
    """`x_s ~ p(x_s | x_t)` of a reverse chain, a table of the one grid that it was made for.

    It counts its steps; what returns to an earlier time restores the memory of that time, and the count with it.

    Attributes:
        table: the reverse chain.
        last_noise: most `E |sigma z|` that the last step may add, or None.
    """

    table: ReverseChain
    last_noise: float | Array | None = None

    @property
    def decides_clip(self) -> bool:
        return self.table.clip is not None

    @property
    def times(self) -> np.ndarray | Array:
        """The grid to give to `sample`."""
        return self.table.times

    def prepare(self, sde: LinearSDE, times: Array | np.ndarray) -> ChainStepper:
        # float32 has rounded a grid that went through JAX: 1e-6 is a few of its last digits
        own, given = np.asarray(self.times), exact_times(sde, times)
        if own.shape != given.shape or not np.allclose(own, given, rtol=0.0, atol=1e-6 * sde.t_max):
            raise ValueError(
                f"this reverse chain was made for {_grid(own)}, got {_grid(given)}; sample on `stepper.times`, or give "
                "`sample` the part that is not prepared yet, samplers.reverse_chain(variance)"
            )
        return self

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Array:
        """Return the number of the first step."""
        steps = self.table.steps.t.shape[0]
        if times.shape[0] != steps + 1:
            raise ValueError(f"this reverse chain has {steps} steps, got a grid of {times.shape[0] - 1}")
        return jnp.zeros((), jnp.int32)

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Array) -> Step:
        step = self.table.step(memory)
        mean, variance = self.table.predict(sde, score, x, step)
        if self.last_noise is not None:
            # E |sigma z| = sigma sqrt(2 / pi)
            most = jnp.minimum(variance, self.last_noise**2 * math.pi / 2.0)
            variance = jnp.where(memory == self.table.steps.t.shape[0] - 1, most, variance)
        noise = keys_lib.normal(keys, x.shape, x.dtype)
        std = jnp.sqrt(variance)
        # a head's variance is one for each example too
        noise = sde.from_own_modes(std * noise) if std.shape == x.shape else sde.scale(std, step.t, noise)
        return Step(mean + noise, memory + 1)

    def chain(self, sde: LinearSDE, times: Array | np.ndarray) -> ReverseChain:
        """Return the chain without the limit on its last noise, which is for pictures and not for the bound."""
        return self.prepare(sde, times).table

    def bind(self, bind_head: Callable[[UnboundHead], VarianceHead]) -> ChainStepper:
        return replace(self, table=self.table.bind(bind_head))


@jax.tree_util.register_static  # compared by identity: what it holds may have no equality
@dataclass(frozen=True, eq=False)
class ChainPart(Stepper):
    """A reverse chain whose grid is not known yet; `prepare` makes the stepper."""

    variance: str | Variance
    eta: float
    clip: bool | Interval | None
    last_noise: float | None
    fitted: Fitted | None
    data_range: Interval | None
    bind_head: Callable[[UnboundHead], VarianceHead] | None = None

    @property
    def decides_clip(self) -> bool:
        return self.clip is not None

    def prepare(self, sde: LinearSDE, times: Array | np.ndarray) -> ChainStepper:
        return ChainStepper(self.chain(sde, times), self.last_noise)

    def chain(self, sde: LinearSDE, times: Array | np.ndarray) -> ReverseChain:
        variance = self.variance
        if isinstance(variance, str) and variance in FITTED:
            if self.fitted is None:
                raise ValueError(
                    f"variance {variance!r} is fitted to a network and is not here; give "
                    "fitted=lambda name: ..., which returns a scorejax.gamma.Gamma for 'analytic' or a head of "
                    f"scorejax.variance for the others, or choose one of {', '.join(VARIANCES)}"
                )
            variance = self.fitted(variance)
        built = chain(
            sde,
            times,
            variance=variance,
            eta=self.eta,
            clip=self.data_range if self.clip is True else None if self.clip is False else self.clip,
            rederive_noise=self.eta == 1.0,  # Analytic-DPM's DDIM keeps the predicted noise
            data_range=self.data_range,
        )
        return built if self.bind_head is None else built.bind(self.bind_head)

    def bind(self, bind_head: Callable[[UnboundHead], VarianceHead]) -> ChainPart:
        return replace(self, bind_head=bind_head)

    def init(self, sde: LinearSDE, x: Array, times: Array) -> NoReturn:
        raise ValueError(
            "a reverse chain needs a table of its grid in float64, but the numbers of the process or of the times are "
            "unknown here: they are arguments of a compiled program, or made by jax.numpy inside it. Make the times by "
            "scorejax.times or numpy, or prepare it outside, stepper = stepper.prepare(sde, times), and pass it in"
        )

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Array) -> NoReturn:
        raise ValueError("a reverse chain steps on a grid; call stepper.prepare(sde, times) first")


def reverse_chain(
    variance: VarianceName | Variance | ReverseChain = "posterior",
    *,
    eta: Share = 1.0,
    clip: bool | tuple[Finite, Finite] | None = True,
    last_noise: Positive | None = None,
    fitted: Fitted | None = None,
    data_range: Interval | None = None,
) -> ChainPart | ChainStepper:
    """Return sampling by a reverse chain of any variance (Analytic-DPM, arXiv 2201.06503, and its relatives).

        p(x_s | x_t) = N(x_weight x_t + data_weight E[x_0 | x_t], variance)

    Its table is made when `sample` meets the grid. `posterior` with `eta = 0` is DDIM, with `eta = 1` DDPM.

    Args:
        variance: `posterior` (DDPM's beta tilde; for `eta < 1` DDIM's own), `forward` (DDPM's beta); what was fitted
            to a network: `analytic`, `npr`, `sn`, `ocm`, `learned`; a `Gamma`; a head of `scorejax.variance`; or a
            `ReverseChain`, which brings its grid, `eta` and `clip`.
        eta: the forward family: 1 is DDPM, 0 is DDIM.
        clip: bounds of the predicted data; True clips to `data_range`, where that is known; False never clips; None
            leaves it to the sampler, as other steppers do.
        last_noise: most `E |sigma z|`, in data units, that the last step may add; what it adds stays in the image.
            Analytic-DPM allows 2 / 255 or 4 / 255 for images in [-1, 1] when a Frechet distance is wanted; a
            likelihood is of the chain without it.
        fitted: returns what was fitted to the network under the name `variance`.
        data_range: an interval that holds all data, which bounds optimal variances; None if unknown.

    Raises:
        ValueError: if `last_noise` is not positive, the variance is unknown, or settings are given along with a chain;
            on preparation, as `scorejax.reverse.chain`, or for a variance that was not fitted.
    """
    if last_noise is not None and doors.known(last_noise) and not last_noise > 0.0:
        raise ValueError(f"last_noise must be positive, got {last_noise}")
    if isinstance(variance, ReverseChain):
        # these belong to the chain: taking them here would leave it unclear which hold
        if (eta, clip, fitted, data_range) != (1.0, True, None, None):
            raise ValueError("a ReverseChain has its own eta, clip and data_range; give them to scorejax.reverse.chain")
        return ChainStepper(variance, last_noise)
    if isinstance(variance, str) and variance not in (*VARIANCES, *FITTED):
        choices = ", ".join((*VARIANCES, *FITTED))
        raise ValueError(f"reverse_chain: unknown variance {variance!r}; choose one of {choices}")
    return ChainPart(variance, eta, clip, last_noise, fitted, data_range)


def analytic_dpm(
    *,
    eta: Share = 1.0,
    clip: bool | tuple[Finite, Finite] | None = True,
    last_noise: Positive | None = None,
    fitted: Fitted | None = None,
    data_range: Interval | None = None,
) -> ChainPart | ChainStepper:
    """Return Analytic-DPM (arXiv 2201.06503) with the statistic `fitted("analytic")`; arguments as in `reverse_chain`.

    `analytic` is the same for a statistic and a grid that are at hand.
    """
    return reverse_chain("analytic", eta=eta, clip=clip, last_noise=last_noise, fitted=fitted, data_range=data_range)


def npr(
    *,
    eta: Share = 1.0,
    clip: bool | tuple[Finite, Finite] | None = True,
    last_noise: Positive | None = None,
    fitted: Fitted | None = None,
    data_range: Interval | None = None,
) -> ChainPart | ChainStepper:
    """Return NPR-DPM (arXiv 2206.07309) with the head `fitted("npr")`; arguments as in `reverse_chain`."""
    return reverse_chain("npr", eta=eta, clip=clip, last_noise=last_noise, fitted=fitted, data_range=data_range)


def sn(
    *,
    eta: Share = 1.0,
    clip: bool | tuple[Finite, Finite] | None = True,
    last_noise: Positive | None = None,
    fitted: Fitted | None = None,
    data_range: Interval | None = None,
) -> ChainPart | ChainStepper:
    """Return SN-DPM (arXiv 2206.07309) with the head `fitted("sn")`; arguments as in `reverse_chain`."""
    return reverse_chain("sn", eta=eta, clip=clip, last_noise=last_noise, fitted=fitted, data_range=data_range)


def analytic(
    sde: LinearSDE,
    times: Array | np.ndarray,
    gamma: Gamma,
    *,
    eta: float = 1.0,
    clip: Interval | None = None,
    data_range: Interval | None = None,
    last_noise: float | None = None,
) -> ChainStepper:
    """Return Analytic-DPM (arXiv 2201.06503): ancestral sampling with the variance of the highest likelihood.

    This is `reverse_chain(gamma)`, prepared for a grid and never clipped unless bounds are given.

    Args:
        sde: the forward process.
        times: decreasing times `[K]`; give the same to `sample`.
        gamma: the statistic of the network, of this process.
        eta: 1 for Analytic-DDPM, 0 for Analytic-DDIM.
        clip: bounds of the predicted data, or None.
        data_range: an interval that holds all data, or None.
        last_noise: as in `reverse_chain`.

    Raises:
        ValueError: on a grid that does not decrease, or a `Gamma` of another schedule.
    """
    part = reverse_chain(gamma, eta=eta, clip=clip, last_noise=last_noise, data_range=data_range)
    return part.prepare(sde, times)


def _grid(times: np.ndarray) -> str:
    return f"{len(times)} times from {times[0]:.7g} to {times[-1]:.7g}"
