"""Blur by the heat equation: blurring diffusion, and inverse heat dissipation, whose noise does not grow.

alpha_k(t) decays with the squared frequency of the mode,   exp(-w_k^2 tau(t)),   tau = (width of the blur)^2 / 2
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Interval
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Inside01, NonNegative, Positive
from scorejax.numerics.trees import register_dataclass
from scorejax.sdes.axes import Axis
from scorejax.sdes.bases import along_space
from scorejax.sdes.basis import Shape
from scorejax.sdes.blur import BOUNDARIES, Boundary
from scorejax.sdes.corruption import as_time, check_static
from scorejax.sdes.discrete import Chain, Table
from scorejax.sdes.linear import LinearSDE
from scorejax.sdes.modes import FAINTEST, inverse_mean_log_snr, widened


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Blurring(LinearSDE):
    """Blurring diffusion (Hoogeboom & Salimans, arXiv 2209.05557): `alpha_k = a(t) d_k(t)`, `sigma^2 = 1 - a^2`.

        d_k = (1 - least) exp(-w_k^2 tau) + least,   tau = most^2 sin^4(pi t / 2) / 2
        log a^2 / sigma^2 = -2 log tan(between two angles, linear in t)

    All modes have the same noise; what the blur takes from the signal is not put back.

    Attributes:
        frequency: `w_k^2`, broadcastable to an example.
        most: width of the blur at `t = 1`, in pixels.
        least: what no blur takes of a mode.
        log_snr_max: of the modes that are not blurred, at `t = 0`.
        log_snr_min: likewise at `t = 1`.
    """

    frequency: np.ndarray | Array
    most: float | Array
    least: float | Array
    log_snr_max: float | Array
    log_snr_min: float | Array

    def log_alpha(self, t: Array) -> Array:
        t = as_time(t)
        wide = widened(t, self.frequency)
        tau = 0.5 * self.most**2 * jnp.sin(0.5 * math.pi * wide) ** 4
        kept = jnp.log1p((1.0 - self.least) * jnp.expm1(-jnp.asarray(self.frequency, t.dtype) * tau))
        return 0.5 * jax.nn.log_sigmoid(self._ratio(wide)) + kept

    def variance(self, t: Array) -> Array:
        t = as_time(t)
        wide = widened(t, self.frequency)
        return jnp.broadcast_to(jax.nn.sigmoid(-self._ratio(wide)), t.shape + np.shape(self.frequency))

    def inverse_log_snr(self, log_snr: Array) -> Array:
        return inverse_mean_log_snr(self, log_snr)

    def _ratio(self, t: Array) -> Array:
        first, last = (jnp.arctan(jnp.exp(-0.5 * jnp.asarray(r))) for r in (self.log_snr_max, self.log_snr_min))
        return -2.0 * jnp.log(jnp.tan(first + t * (last - first)))


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class HeatDissipation(Chain):
    """Inverse heat dissipation (Rissanen et al., arXiv 2206.13397): `alpha_k = exp(-w_k^2 tau)`, a fixed `sigma`.

    `log alpha` is at least -15: fainter modes are noise to the last digit. At the last level the coarse modes still
    hold the data, so that its prior is fitted: a Gaussian of these modes.

    Attributes:
        frequency: `w_k^2`, broadcastable to an example.
        tau: half the squared width of the blur at the levels `0 .. N`; 0 at level 0.
        std: standard deviation of the noise.
        kept: places, in the flattened example, of the modes whose prior is fitted `[K]`: the last level leaves more of
            their signal than a tenth of the noise.
        mean: of these modes at `t_max`, `[K]`.
        factor: the Cholesky factor of their covariance there, `[K, K]`.
    """

    prior_is_noise: ClassVar[bool] = False
    frequency: np.ndarray | Array
    tau: Table
    std: float | Array
    kept: np.ndarray | Array
    mean: np.ndarray | Array
    factor: np.ndarray | Array

    def log_alpha(self, t: Array) -> Array:
        t = as_time(t)
        decay = self.tau(widened(t, self.frequency) * self.levels) * jnp.asarray(self.frequency, t.dtype)
        return jnp.maximum(-decay, FAINTEST)

    def variance(self, t: Array) -> Array:
        t = as_time(t)
        return jnp.full(t.shape + np.shape(self.frequency), self.std**2, t.dtype)

    def inverse_log_snr(self, log_snr: Array) -> Array:
        return inverse_mean_log_snr(self, log_snr)

    @property
    def asks_for_data(self) -> bool:
        return np.size(self.mean) == 0

    def fit(self, examples: Array | np.ndarray) -> dict[str, np.ndarray]:
        """Return the law of the modes that the blur of the last level leaves: their `mean` and `factor`.

        Args:
            examples: training data in the units of the model, `[N, ...]`.

        Raises:
            ValueError: fewer than two examples, or examples of another shape.
        """
        shape = self.basis.shape  # pyright: ignore[reportAttributeAccessIssue]
        x = doors.points(examples, "examples", shape=(len(examples), *shape))
        if len(x) < 2:
            raise ValueError(f"the law of blurred data is fitted to at least two examples, got {len(x)}")
        alpha = np.broadcast_to(np.asarray(self.alpha(self.t_max), np.float64), shape).reshape(-1)
        modes = alpha * np.asarray(self.basis.to_modes(x), np.float64).reshape(len(x), -1)
        kept, std = np.asarray(self.kept), float(self.std)
        covariance = np.atleast_2d(np.cov(modes[:, kept], rowvar=False)) + std**2 * np.eye(len(kept))
        return {"mean": modes[:, kept].mean(0), "factor": np.linalg.cholesky(covariance)}

    def fitted(self, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the process with the law that `fit` found for its prior."""
        return self.replace(**{name: arrays[name] for name in ("mean", "factor")})

    # As of `still`, the prior is no limit of the noise.
    def prior_sample(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Draw from the fitted prior; `key` is one key or one per sample `[B]`."""
        self._check_fitted()
        shape = doors.batch_shape(shape)
        noise = keys_lib.normal(keys_lib.per_example(key, shape[0]), shape)
        flat, factor = noise.reshape(shape[0], -1), jnp.asarray(self.factor, noise.dtype)
        kept = jnp.asarray(self.mean, noise.dtype) + flat[:, self.kept] @ factor.T
        modes = (self.std * flat).at[:, jnp.asarray(self.kept)].set(kept)
        return self.basis.from_modes(modes.reshape(shape))

    def prior_logp(self, x: Array) -> Array:
        """Return the log density `[B]` of the fitted prior, in nats."""
        self._check_fitted()
        x = doors.points(x, finite=False)
        modes = self.basis.to_modes(x).reshape(x.shape[0], -1)
        factor, kept = jnp.asarray(self.factor, x.dtype), jnp.asarray(self.kept)
        solved = jax.scipy.linalg.solve_triangular(
            factor, (modes[:, kept] - jnp.asarray(self.mean, x.dtype)).T, lower=True
        )
        rest = (modes / self.std).at[:, kept].set(0.0)
        count = modes.shape[1] - factor.shape[0]
        scale = jnp.sum(jnp.log(jnp.diag(factor))) + count * jnp.log(jnp.asarray(self.std, x.dtype))
        squares = jnp.sum(solved**2, axis=0) + jnp.sum(rest**2, axis=1)
        return -0.5 * squares - scale - 0.5 * modes.shape[1] * math.log(2.0 * math.pi)

    def _check_fitted(self) -> None:
        if self.asks_for_data:
            raise ValueError(
                "the prior of inverse heat dissipation is the blurred data: fit it first, sde = sde.fitted(sde.fit(x))"
            )


STEEPEST = 30.0
"""Largest log signal-to-noise ratio, up or down: beyond it the angles of the schedule are those of a right angle."""
LogSNR: TypeAlias = Annotated[float, Interval(ge=-30.0, le=30.0)]


def blurring(
    *,
    shape: Shape,
    most: NonNegative = 20.0,
    least: Inside01 = 0.001,
    log_snr_max: LogSNR = 10.0,
    log_snr_min: LogSNR = -10.0,
    boundary: Boundary = "reflect",
    t_min: NonNegative = 1e-5,
) -> Blurring:
    """Return blurring diffusion, which blurs by the heat equation while it adds the same noise to every mode.

    Args:
        shape: of one example: (H, W, C) of images, (L, C) of series, (D, H, W, C) of volumes, (D,) of vectors.
        most: width of the blur at the end, in pixels; published: 20 for CIFAR-10, 10 and 20 for LSUN. 0: no blur.
        least: what no blur takes of a mode.
        log_snr_max: log signal-to-noise ratio of unblurred modes at the data.
        log_snr_min: and at the prior.
        boundary: what the blur sees beyond the edge: the edge repeated (`reflect`), the other side, or zeros.
        t_min: the time next to the data at which integrals stop.

    Raises:
        ValueError: a shape without axes or with more than three of space, or `log_snr_min >= log_snr_max`.
    """
    check_static("blurring", most=most, log_snr_max=log_snr_max, log_snr_min=log_snr_min)
    if not -STEEPEST <= log_snr_min < log_snr_max <= STEEPEST:
        raise ValueError(
            f"blurring: need -{STEEPEST:g} <= log_snr_min < log_snr_max <= {STEEPEST:g}, got {log_snr_min} and "
            f"{log_snr_max}"
        )
    if not (0.0 <= most < math.inf and 0.0 < least < 1.0 and 0.0 <= t_min < 1.0 and boundary in BOUNDARIES):
        raise ValueError(
            f"blurring: need most >= 0, least in (0, 1), t_min in [0, 1) and a boundary of {', '.join(BOUNDARIES)}, "
            f"got most={most}, least={least}, t_min={t_min}, boundary={boundary!r}"
        )
    basis = along_space(shape, Axis(BOUNDARIES[boundary]))
    return Blurring(
        basis=basis, frequency=basis.squared_frequency(), most=most, least=least, log_snr_max=log_snr_max,
        log_snr_min=log_snr_min, t_min=t_min, t_max=1.0,
    )  # fmt: skip


def ihdm(
    *,
    shape: Shape,
    blur_min: Positive = 0.5,
    blur_max: Positive = 20.0,
    std: Annotated[float, Interval(gt=0.0, lt=10.0)] = 0.01,
    boundary: Literal["reflect", "circular"] = "reflect",
    n: Annotated[int, Ge(2)] = 100,
) -> HeatDissipation:
    """Return inverse heat dissipation: images cool down to nearly their mean, with a little noise that stays the same.

    The widths of the blur are geometric from level 1 to level `n`; level 0 is the image. Its prior is the blurred data,
    and must be fitted: `sde = sde.fitted(sde.fit(examples))`; a run does so by itself. Published: `n=100, blur_max=20`
    for MNIST, `n=200, blur_max=24` for CIFAR-10, sampled by `samplers.renoise(1.3)`.

    Args:
        shape: of one example: (H, W, C) of images, (L, C) of series, (D, H, W, C) of volumes, (D,) of vectors.
        blur_min: width of the blur at level 1, in pixels.
        blur_max: and at level `n`.
        std: standard deviation of the noise, in the units of the model.
        boundary: what the blur sees beyond the edge: the edge repeated, or the other side.
        n: number of levels.

    Raises:
        ValueError: a shape without axes or with more than three of space, or `blur_min >= blur_max`.
    """
    check_static("ihdm", blur_min=blur_min, blur_max=blur_max, std=std, n=n)
    if not 0.0 < blur_min < blur_max < math.inf:
        raise ValueError(f"ihdm: need 0 < blur_min < blur_max, got {blur_min} and {blur_max}")
    if not (0.0 < std < 10.0 and n >= 2 and boundary in ("reflect", "circular")):
        raise ValueError(
            "ihdm: need a std above 0 and below 10, at least 2 levels, and boundary reflect or circular, got "
            f"std={std}, n={n}, boundary={boundary!r}"
        )
    basis = along_space(shape, Axis(BOUNDARIES[boundary]))
    widths, frequency = np.geomspace(blur_min, blur_max, n), basis.squared_frequency()
    # a mode of the data is at most as large as the root of their number, for data of unit size
    largest = np.exp(-0.5 * blur_max**2 * np.broadcast_to(frequency, shape)).reshape(-1) * math.prod(shape) ** 0.5
    nothing = np.zeros(0)
    return HeatDissipation(
        basis=basis, frequency=frequency, tau=Table.through(np.append(0.0, 0.5 * widths**2)), std=std,
        kept=np.flatnonzero(largest > 0.1 * std), mean=nothing, factor=nothing, levels=n, t_min=1.0 / n, t_max=1.0,
    )  # fmt: skip
