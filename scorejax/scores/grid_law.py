"""The exact law of one coordinate under any diffusion, from Kolmogorov's forward equation on a grid.

    d p / dt = - d (drift p) / dx + g^2 / 2 d^2 p / dx^2

It is the truth for processes that have no formula: finite volumes with exponentially fitted fluxes, which keep the mass
and the sign of the density, and an L-stable method of order 2 in time, in float64 on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from scorejax.numerics import doors
from scorejax.numerics.host_arrays import host_array
from scorejax.numerics.trees import register_dataclass, static
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import SDE, check_kind
from scorejax.sdes.float64 import evaluate

_GAMMA = 1.0 - 0.5**0.5  # of the two-stage method of order 2
_TRUSTED = 1e-12  # of the largest density: below it rounding rules


@register_dataclass
@dataclass(frozen=True)
class GridLaw:
    """The law of each coordinate at every time, on a grid of points and times; coordinates are independent.

    Attributes:
        log_density: `log p_t(x)`, `[times, points]`.
        slope: `d log p_t / dx`, `[times, points]`.
        cdf: the distribution function at the right end of each cell, `[times, points]`.
        low: the left end of the first cell.
        high: the right end of the last cell.
        t_max: the last time; the first is 0.
    """

    log_density: Array | np.ndarray = host_array()
    slope: Array | np.ndarray = host_array()
    cdf: Array | np.ndarray = host_array()
    low: float = static()
    high: float = static()
    t_max: float = static()

    @property
    def points(self) -> np.ndarray:
        """The middles of the cells, `[points]`."""
        count = self.slope.shape[1]
        return self.low + (self.high - self.low) * (np.arange(count) + 0.5) / count

    def log_prob_at(self, x: Array, t: Array) -> Array:
        """Return `log p_t(x)` of points `[B, ...]`, in nats, `[B]`; times are a number or `[B]`."""
        x = doors.points(x, finite=False)
        return jnp.sum(self._at(self.log_density, x, t).reshape(x.shape[0], -1), axis=1)

    def score_at(self, x: Array, t: Array) -> Array:
        """Return `grad log p_t(x)`, shaped like `x`; times as in `log_prob_at`."""
        return self._at(self.slope, doors.points(x, finite=False), t)

    def score(self) -> Score:
        """Return the exact score, for every sampler and likelihood."""
        return Partial(_score, self)

    def quantile(self, u: np.ndarray, t: float) -> np.ndarray:
        """Return the points that a coordinate stays below with the probabilities `u` at time `t`, in float64."""
        place = np.clip(t / self.t_max, 0.0, 1.0) * (len(self.cdf) - 1)
        first = min(int(place), len(self.cdf) - 2)
        cdf = (1 - place + first) * self.cdf[first] + (place - first) * self.cdf[first + 1]
        ends = np.linspace(self.low, self.high, self.cdf.shape[1] + 1)
        return np.interp(u, np.concatenate([[0.0], cdf]), ends)

    def _at(self, table: Array | np.ndarray, x: Array, t: Array) -> Array:
        doors.times(t, 0.0, self.t_max, of=x.shape)
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])
        # places in the table, from 0 to one less than its size
        row = t / self.t_max * (table.shape[0] - 1)
        column = (x - self.low) / (self.high - self.low) * table.shape[1] - 0.5
        return _interpolated(jnp.asarray(table, x.dtype), row.reshape(-1, *[1] * (x.ndim - 1)), column)


def on_grid(
    sde: SDE,
    log_density: Callable[[Array], Array],
    low: float,
    high: float,
    *,
    points: int = 2000,
    times: int = 400,
) -> GridLaw:
    """Return the exact law of one coordinate under any diffusion: score, density and quantiles at every time.

    For data whose coordinates are independent with one density, under a process that treats them so. Outside of the
    interval there is nothing: its ends are walls, so a process without walls needs an interval that it hardly leaves,
    and one with walls needs theirs. Where the density is below 1e-12 of its largest value, where rounding rules, the
    score is continued as a straight line.

    Args:
        sde: the forward process.
        log_density: `x [B, 1] -> [B]`, the log density of the data up to a constant, smooth on the grid.
        low: the left end of the interval.
        high: its right end.
        points: cells of the interval; the error is of order 2 in their width.
        times: steps from 0 to `t_max`; the error is of order 2 in their length.

    Raises:
        ValueError: on an interval that is none, fewer than 8 points or 4 times, a density that is not finite, or a
            process without a drift and a diffusion.
    """
    from scipy.linalg import solve_banded  # slow to import, needed here alone

    sde = check_kind(sde, SDE, "on_grid")
    low, high = doors.interval((low, high), "on_grid: the interval")
    if points < 8 or times < 4:
        raise ValueError(f"on_grid needs at least 8 points and 4 times, got points={points}, times={times}")
    width, h = (high - low) / points, sde.t_max / times
    middles = low + width * (np.arange(points) + 0.5)
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        start = np.array(log_density(jnp.asarray(middles[:, None])), np.float64).reshape(-1)
    if start.shape != middles.shape or not np.all(np.isfinite(start)):
        raise ValueError(f"on_grid: log_density must return a finite number for each of {points} points [B, 1]")
    density = np.exp(start - start.max())
    density /= density.sum() * width
    # each step asks for the operator at two times
    stages = (np.arange(times)[:, None] + np.array([_GAMMA, 1.0])).reshape(-1) * h
    drift, g2 = evaluate(_coefficients, sde, np.minimum(stages, sde.t_max), low + width * np.arange(1, points))
    kept = [density]
    for i in range(times):
        operators = [_operator(drift[j], g2[j], width) for j in (2 * i, 2 * i + 1)]
        first = solve_banded((1, 1), _implicit(operators[0], _GAMMA * h), _apply(operators[0], density))
        middle = density + (1.0 - _GAMMA) * h * first
        second = solve_banded((1, 1), _implicit(operators[1], _GAMMA * h), _apply(operators[1], middle))
        density = density + h * ((1.0 - _GAMMA) * first + _GAMMA * second)
        kept.append(density)
    table = np.array(kept)
    log_table, slope = _trusted(table, width)
    return GridLaw(log_table, slope, np.cumsum(table, axis=1) * width, low, high, float(sde.t_max))


def _score(law: GridLaw, x: Array, t: Array) -> Array:
    return law.score_at(x, t)


def _coefficients(sde: SDE, t: Array, faces: Array) -> tuple[Array, Array]:
    """The drift at the faces between cells `[times, points - 1]`, and `g^2` `[times]`."""
    drift = jax.vmap(lambda t: sde.drift(faces[:, None], t)[:, 0])(t)
    return drift, sde.diffusion_squared(t)


def _operator(drift: np.ndarray, g2: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """The rates `(right, left)` at which mass crosses each face (Scharfetter & Gummel 1969)."""
    spread = max(0.5 * float(g2), 1e-300)
    ratio = np.clip(drift * width / spread, -600.0, 600.0)
    # z / (e^z - 1), which is 1 at 0
    with np.errstate(invalid="ignore"):
        bernoulli = np.where(np.abs(ratio) < 1e-8, 1.0 - 0.5 * ratio, ratio / np.expm1(ratio))
    steep = np.abs(drift * width) > 600.0 * spread  # no noise to speak of: mass moves with the drift alone
    right = np.where(steep, np.maximum(drift, 0.0) / width, spread / width**2 * (bernoulli + ratio))
    left = np.where(steep, np.maximum(-drift, 0.0) / width, spread / width**2 * bernoulli)
    return right, left


def _apply(operator: tuple[np.ndarray, np.ndarray], density: np.ndarray) -> np.ndarray:
    """The rate of change of the density."""
    right, left = operator
    flux = right * density[:-1] - left * density[1:]
    return np.concatenate([[0.0], flux]) - np.concatenate([flux, [0.0]])


def _implicit(operator: tuple[np.ndarray, np.ndarray], h: float) -> np.ndarray:
    """The matrix `1 - h A` by its three diagonals."""
    right, left = operator
    bands = np.zeros((3, len(right) + 1))
    bands[0, 1:], bands[2, :-1] = -h * left, -h * right
    bands[1] = 1.0 + h * (np.concatenate([right, [0.0]]) + np.concatenate([[0.0], left]))
    return bands


def _trusted(table: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """`log p` and its slope, continued by a parabola and its line where the density is lost in rounding."""
    logs = np.log(np.maximum(table, 1e-300))
    slopes = np.gradient(logs, width, axis=1, edge_order=2)
    for row, (density, log, slope) in enumerate(zip(table, logs, slopes, strict=True)):
        good = np.flatnonzero(density > _TRUSTED * density.max())
        first, last = int(good[0]), int(good[-1])
        for edge, inward, beyond in ((first, 1, np.arange(first)), (last, -1, np.arange(last + 1, len(density)))):
            if len(beyond):
                edge += 2 * inward  # the slope at the edge itself has seen what lies beyond
                beyond = np.union1d(beyond, [edge - 2 * inward, edge - inward])
                away = (beyond - edge) * width
                curvature = inward * (slope[edge + 20 * inward] - slope[edge]) / (20 * width)
                slopes[row, beyond] = slope[edge] + curvature * away
                logs[row, beyond] = log[edge] + slope[edge] * away + 0.5 * curvature * away**2
    return logs, slopes


@jax.jit
def _interpolated(table: Array, row: Array, column: Array) -> Array:
    """Interpolate a table at places by cubics, in both directions; linear beyond the ends of its rows."""
    rows, columns = table.shape
    inside = jnp.clip(column, 0.0, columns - 1.0)
    (first, of_row), (left, of_column) = _weights(row, rows), _weights(inside, columns)

    def of_rows(value: Callable[[Array], Array]) -> Array:
        return sum((of_row[i] * value(first + i) for i in range(4)), jnp.zeros_like(column))

    value = of_rows(lambda row: sum((of_column[j] * table[row, left + j] for j in range(4)), jnp.zeros_like(column)))
    low = of_rows(lambda row: table[row, 1] - table[row, 0])
    high = of_rows(lambda row: table[row, columns - 1] - table[row, columns - 2])
    return value + jnp.where(column < 0.0, low, high) * (column - inside)


def _weights(place: Array, count: int) -> tuple[Array, list[Array]]:
    """The first of the four nearest nodes on a grid of `count`, and the weights of the cubic through them."""
    first = jnp.clip(jnp.floor(place).astype(jnp.int32) - 1, 0, count - 4)
    u = place - first
    weights = [
        -(u - 1.0) * (u - 2.0) * (u - 3.0) / 6.0,
        0.5 * u * (u - 2.0) * (u - 3.0),
        -0.5 * u * (u - 1.0) * (u - 3.0),
        u * (u - 1.0) * (u - 2.0) / 6.0,
    ]
    return first, weights
