"""How much noise a network finds at each time: `E |eps(x_t, t)|^2 / D`, the one statistic of optimal reverse variances.

It is estimated once for a network (`estimate`, `Gamma.of`) and then serves every grid and every `eta`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import array_files, doors
from scorejax.numerics import keys as keys_lib
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.discrete import Chain
from scorejax.sdes.float64 import evaluate, exact_times
from scorejax.sdes.linear import LinearSDE


@dataclass(frozen=True, eq=False)
class Gamma:
    """The mean square of the predicted noise, `E |eps(x_t, t)|^2 / D = sigma_t^2 Gamma_t`, over a grid of times.

    `Gamma_t = E |score|^2 / D` is the statistic of Analytic-DPM (arXiv 2201.06503); times `sigma_t^2` it has no unit,
    and is at most 1 for the exact score. The marginals `q(x_t)` are shared by every trajectory and by DDPM and DDIM,
    so one estimate serves them all.

    Attributes:
        times: `[n]`, increasing.
        mean_square: `[n]`, the mean over examples; where the modes of the process differ `[n, ...]`, one for each.
        scatter: the sum over examples of squared deviations from the mean, likewise.
        count: number of examples.
        log_alpha: what the process was there, likewise.
        variance: likewise.
    """

    times: np.ndarray
    mean_square: np.ndarray
    scatter: np.ndarray
    count: int
    log_alpha: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, sde: LinearSDE, times: Array | np.ndarray, squares: Array | np.ndarray) -> Gamma:
        """Return the statistic of `squares [B, n, ...]`, which `estimate` returns for the same times.

        Raises:
            ValueError: if shapes do not fit.
        """
        check_kind(sde, LinearSDE, "the statistic Gamma")
        times, squares = exact_times(sde, times), np.asarray(squares, np.float64)
        modes = np.shape(sde.log_snr(sde.t_max))
        if times.ndim != 1 or squares.shape[1:] != (len(times), *modes) or not len(squares):
            raise ValueError(
                f"Gamma: need times [n] and squares [B, n{', modes' * bool(modes)}], got {times.shape} and "
                f"{squares.shape}"
            )
        order = np.argsort(times)
        times, squares = times[order], squares[:, order]
        mean = squares.mean(axis=0)
        return cls(times, mean, np.sum((squares - mean) ** 2, axis=0), len(squares), *_schedule(sde, times))

    def merge(self, other: Gamma) -> Gamma:
        """Return the statistic of both sets of examples (Chan, Golub and LeVeque 1983).

        Raises:
            ValueError: if the times or the processes differ.
        """
        if self.times.shape != other.times.shape or not np.allclose(self.times, other.times, rtol=1e-9):
            raise ValueError(f"Gamma: cannot merge grids of {len(self.times)} and {len(other.times)} other times")
        self._refuse_other_schedule(other.log_alpha, other.variance, "the one merged with it")
        count, shift = self.count + other.count, other.mean_square - self.mean_square
        return replace(
            self,
            count=count,
            mean_square=self.mean_square + shift * (other.count / count),
            scatter=self.scatter + other.scatter + shift**2 * (self.count * other.count / count),
        )

    def since(self, t_min: float) -> Gamma:
        """Return the statistic of the times from `t_min` on.

        Raises:
            ValueError: if fewer than two of its times are left.
        """
        kept = self.times >= t_min * (1.0 - 1e-6)
        if np.sum(kept) < 2:
            raise ValueError(f"Gamma was estimated for times up to {self.times[-1]:.6g}; t_min={t_min} leaves none")
        arrays = {name: value[kept] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays)

    @property
    def stderr(self) -> np.ndarray:
        """Standard error of `mean_square`; NaN for a single example."""
        if self.count < 2:
            return np.full_like(self.mean_square, np.nan)
        return np.sqrt(self.scatter / (self.count - 1) / self.count)

    def residual(self, sde: LinearSDE, t: Array | np.ndarray) -> np.ndarray:
        """Return `1 - E |eps|^2 / D`, the mean variance of the noise given `x_t`, at times `t`, at least 0.

        Where the modes differ, that of each, `t.shape + mode shape`.
        Between the times of the estimate it is interpolated linearly (Analytic-DPM, appendix E.1).

        Raises:
            ValueError: if the process is not the one of the estimate, or a time lies outside its grid.
        """
        self.check(sde)
        t = exact_times(sde, t)
        # Times that passed through float32 may lie a rounding error outside the grid.
        slack = 1e-9 + 1e-6 * self.times[-1]
        if t.size and not (self.times[0] - slack <= t.min() and t.max() <= self.times[-1] + slack):
            raise ValueError(
                f"Gamma was estimated for times {self.times[0]:.6g} to {self.times[-1]:.6g}, got {t.min():.6g} to "
                f"{t.max():.6g}; estimate it for a grid that holds them"
            )
        # The mean over finitely many examples can exceed one, where no variance is left.
        right = np.clip(np.searchsorted(self.times, t), 1, len(self.times) - 1)
        share = np.clip((t - self.times[right - 1]) / (self.times[right] - self.times[right - 1]), 0.0, 1.0)
        share = share.reshape(share.shape + (1,) * (self.mean_square.ndim - 1))
        between = (1.0 - share) * self.mean_square[right - 1] + share * self.mean_square[right]
        return np.maximum(1.0 - between, 0.0)

    def check(self, sde: LinearSDE) -> None:
        """Refuse a process other than the one of the estimate.

        Raises:
            ValueError: if its signal or noise scales differ by more than 1e-5 at a time of the estimate.
        """
        self._refuse_other_schedule(*_schedule(sde, self.times), f"this {type(sde).__name__}")

    def save(self, path: str | Path) -> None:
        """Write an `.npz` with one array per attribute."""
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: str | Path, sde: LinearSDE | None = None) -> Gamma:
        """Read what `save` wrote; given a process, refuse the file if it belongs to another one.

        Raises:
            FileNotFoundError: no such file.
            ValueError: if the file belongs to another process, is damaged, or is not one of `save`.
        """
        values = array_files.read(path, cls.__dataclass_fields__)
        if missing := sorted(set(cls.__dataclass_fields__) - set(values)):
            raise ValueError(f"{path} is no file of Gamma.save: it lacks {', '.join(missing)}; estimate it again")
        gamma = cls(**{**values, "count": int(values["count"])})
        if sde is not None:
            gamma.check(sde)
        return gamma

    def _refuse_other_schedule(self, log_alpha: np.ndarray, variance: np.ndarray, other: str) -> None:
        # Relative, as the scales of a process span many orders of magnitude; log alpha may also be 0.
        if self.variance.shape != variance.shape:
            raise ValueError(
                f"Gamma belongs to another process: it has modes of shape {self.variance.shape[1:]}, {other} "
                f"{variance.shape[1:]}; estimate it again for this process"
            )
        apart = np.abs(self.log_alpha - log_alpha) > 1e-5 * (1.0 + np.abs(self.log_alpha))
        apart |= np.abs(self.variance - variance) > 1e-5 * self.variance
        if np.any(apart):
            i = np.unravel_index(int(np.argmax(apart)), apart.shape)
            raise ValueError(
                f"Gamma belongs to another schedule: at t={self.times[i[0]]:.6g} it variance is {self.variance[i]:.6g} "
                f"and log alpha {self.log_alpha[i]:.6g}, {other} has {variance[i]:.6g} and {log_alpha[i]:.6g}; "
                "estimate it again for this process"
            )


def grid(sde: LinearSDE) -> np.ndarray:
    """Return the times of an estimate, increasing: all levels of a chain, or a thousand of a continuous process."""
    check_kind(sde, LinearSDE, "the statistic Gamma")
    if isinstance(sde, Chain):
        return np.arange(1, sde.levels + 1) / sde.levels
    # As many as a published chain has levels; `residual` interpolates between them.
    return np.linspace(sde.t_min, sde.t_max, 1000)


def estimate(key: Array, sde: LinearSDE, score: Score, x0: Array, times: Array | np.ndarray) -> Array:
    """Return `|eps(x_t, t)|^2 / D` of every example at every time, `[B, n]`: what `Gamma.of` takes.

        x_t = alpha_t x_0 + sigma_t z,   eps = -sigma_t score(x_t, t)

    Where the modes of the process differ it is the square of each, `[B, n, ...]`. One fresh draw `z` for each
    example and time. Pure, so that batches may run on any number of devices.

    Args:
        key: one key, or one per example `[B]`.
        sde: the forward process.
        score: `score(x, t)`.
        x0: training data in model units, `[B, ...]`.
        times: the grid, `[n]`; for a chain usually all its levels, `jnp.arange(1, N + 1) / N`.

    Raises:
        ValueError: on data, times, keys or a score of another kind or shape.
    """
    check_kind(sde, LinearSDE, "the statistic Gamma")
    x0 = doors.points(x0, "x0")
    doors.times(times, sde.t_min, sde.t_max, name="times")
    keys = keys_lib.per_example(key, x0.shape[0])

    def one(inputs: tuple[Array, Array]) -> Array:
        i, t = inputs
        t = jnp.broadcast_to(t, x0.shape[:1])
        noise = keys_lib.normal(keys_lib.fold_in(keys, i), x0.shape, x0.dtype)
        predicted = sde.scale(sde.sigma(t), t, doors.field(x0, score(sde.perturb(x0, t, noise), t)))
        squares = sde.own_modes(predicted) ** 2
        if not modes:
            return jnp.mean(squares.reshape(x0.shape[0], -1), axis=1)
        # averaged over channels and all other axes that the process treats alike
        alike = tuple(i + 1 for i, n in enumerate(modes) if n == 1)
        return jnp.mean(squares, axis=alike, keepdims=True)

    modes = jnp.shape(sde.log_snr(sde.t_max))
    times = jnp.asarray(times, jnp.result_type(float))
    # One time after the other: all at once would need memory for a batch n times as large.
    return jnp.moveaxis(jax.lax.map(one, (jnp.arange(times.shape[0]), times)), 0, 1)


def _scales(sde: LinearSDE, t: Array) -> tuple[Array, Array]:
    return sde.log_alpha(t), sde.variance(t)


def _schedule(sde: LinearSDE, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    check_kind(sde, LinearSDE, "the statistic Gamma")
    return evaluate(_scales, sde, times)
