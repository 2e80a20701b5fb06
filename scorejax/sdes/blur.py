"""Progressive deblurring (Lee et al., arXiv 2207.11192): a chain that blurs as it adds noise, mode by mode.

    A_n = (1 - beta_n) D^{2 f(n)},   q(x_n | x_0) = N(U sqrt(A_1 .. A_n) U^T x_0, U (1 - A_1 .. A_n) U^T)

with `U D U^T` the matrix of a small blur. Each mode is a variance preserving chain of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge
from jax import Array

from scorejax.numerics.ranges import Below1, NonNegative, Positive
from scorejax.numerics.trees import register_dataclass
from scorejax.sdes.axes import Axis, blur_eigenvalues
from scorejax.sdes.bases import along_space
from scorejax.sdes.basis import Identity, Separable, Shape
from scorejax.sdes.corruption import as_time, check_static
from scorejax.sdes.discrete import Chain, Schedule, Table, betas_of
from scorejax.sdes.modes import FAINTEST, inverse_mean_log_snr

Boundary: TypeAlias = Literal["zero", "reflect", "circular"]
Growth: TypeAlias = Literal["none", "linear", "quadratic", "cubic", "quartic", "log", "triangular"]
Order: TypeAlias = Literal["coarse_to_fine", "fine_to_coarse", "fine_to_coarse_mirrored"]

BOUNDARIES = {"reflect": "dct", "circular": "dft", "zero": "dst"}
"""What a blur sees beyond the edge, and the basis that makes it diagonal: the edge repeated, a circle, zeros."""


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Blur(Chain):
    """A chain of blur and noise: `log alpha_n = -(decay_n + blur_n rate)`, `sigma_n^2 = 1 - alpha_n^2` in every mode.

    Where the modes differ `log alpha` is at least -15: fainter modes are noise to the last digit.

    Attributes:
        decay: `-sum log(1 - beta_i) / 2` at `n = 0 .. N`.
        blur: `sum f(i)` at `n = 0 .. N`.
        rate: `-log D` of the modes, broadcastable to an example; one number where all modes are alike.
    """

    decay: Table
    blur: Table
    rate: np.ndarray | Array

    def log_alpha(self, t: Array) -> Array:
        t = as_time(t)
        rate = jnp.asarray(self.rate, t.dtype)
        wide = t.reshape(t.shape + (1,) * rate.ndim)
        decay = self.decay(wide * self.levels) + self.blur(wide * self.levels) * rate
        return -decay if rate.ndim == 0 else jnp.maximum(-decay, FAINTEST)

    def variance(self, t: Array) -> Array:
        return -jnp.expm1(2.0 * self.log_alpha(t))

    def inverse_log_snr(self, log_snr: Array) -> Array:
        if jnp.ndim(self.rate) == 0:
            return self.decay.locate(0.5 * jax.nn.softplus(-log_snr)) / self.levels
        return inverse_mean_log_snr(self, log_snr)


def blur(
    *,
    shape: Shape,
    growth: Growth = "quartic",
    most: NonNegative = 0.140625,
    least: NonNegative = 0.0,
    order: Order = "coarse_to_fine",
    std: Positive = 0.4,
    kernel: Literal["sampled", "heat"] = "sampled",
    boundary: Boundary = "zero",
    floor: Below1 = 1e-4,
    schedule: Schedule = "linear",
    n: Annotated[int, Ge(2)] = 1000,
) -> Blur:
    """Return the chain of progressive deblurring, whose reverse steps sharpen as they denoise.

    `f(n)` is how often a step applies the blur. The published choices are `growth=quartic, most=0.140625` and
    `growth=log, most=0.6`; `growth=none` is the plain chain `ddpm`.

    Args:
        shape: of one example: (H, W, C) of images, (L, C) of series, (D, H, W, C) of volumes, (D,) of vectors.
        growth: how `f` grows over the levels, from `least` to `most`: linear, quadratic, cubic or quartic in the level,
            with its logarithm (`log`), or up to the middle and down again (`triangular`).
        most: largest `f`, `(std of that blur / std)^2`.
        least: smallest `f`.
        order: which modes die first. `coarse_to_fine`: what a blur removes, the fine ones, so that samples form from
            coarse to fine. `fine_to_coarse`: eigenvalues `1 - D`, as published. `fine_to_coarse_mirrored`: the same
            eigenvalues as the first, in reverse rank, so that both orders lose equally much.
        std: of the Gaussian blur that is applied, in pixels.
        kernel: `sampled`: the Gaussian at whole pixels. `heat`: its exact eigenvalues, `exp(-w^2 std^2 / 2)`.
        boundary: what the blur sees beyond the edge: zeros, the edge repeated (`reflect`), or the other side.
        floor: least eigenvalue; a mode with the eigenvalue 0 would be gone at level 1. Where the edge is reflected, or
            around a circle, the mean of an image has `1 - D = 0` and needs one.
        schedule: of the noise, as of `ddpm`.
        n: number of levels.

    Raises:
        ValueError: a shape without axes or with more than three of space, a number outside its range, an unknown name,
            or an eigenvalue that is not above zero.
    """
    check_static("blur", most=most, least=least, std=std, floor=floor, n=n)
    if boundary not in BOUNDARIES or kernel not in ("sampled", "heat"):
        raise ValueError(
            f"blur: boundary is one of {', '.join(BOUNDARIES)} and kernel sampled or heat, got {boundary!r}, {kernel!r}"
        )
    if not (0.0 <= least <= most < np.inf and 0.0 < std < np.inf and 0.0 <= floor < 1.0 and n >= 2):
        raise ValueError(
            "blur: need 0 <= least <= most, a positive std, a floor in [0, 1) and at least 2 levels, got "
            f"least={least}, most={most}, std={std}, floor={floor}, n={n}"
        )
    zeros = Axis("zero_blur", (float(std),)) if kernel == "sampled" else Axis("dst")
    basis = along_space(shape, zeros if boundary == "zero" else Axis(BOUNDARIES[boundary]))
    decay = np.concatenate([[0.0], -0.5 * np.cumsum(np.log1p(-betas_of("blur", schedule, n)))])
    blurs = np.concatenate([[0.0], np.cumsum(growing(growth, least, most, n))])
    rate = -np.log(_eigenvalues(basis, kernel, std, order, floor))
    if not (np.ptp(rate) > 0.0 and blurs[-1] > 0.0):  # all modes are alike: no transform is needed
        decay, blurs = decay + blurs * rate.reshape(-1)[0], np.zeros_like(blurs)
        basis, rate = Identity(), np.zeros(())
    return Blur(
        basis=basis, decay=Table.through(decay), blur=Table.through(blurs), rate=np.asarray(rate), levels=n,
        t_min=1.0 / n, t_max=1.0,
    )  # fmt: skip


def growing(growth: Growth, least: float, most: float, n: int) -> np.ndarray:
    """Return `f(1) .. f(n)`, how often each step blurs.

    Raises:
        ValueError: unknown growth.
    """
    i, rise = np.arange(1, n + 1, dtype=np.float64), most - least
    powers = {"cubic": 3, "quartic": 4}
    if growth == "none":
        return np.zeros(n)
    if growth == "linear":
        return least + rise * (i - 1) / (n - 1)
    if growth == "quadratic":
        return least + rise * (i**2 - 1.0) / (n**2 - 1.0)
    if growth == "log":
        return least + rise * np.log(i) / np.log(n)
    if growth == "triangular":
        return least + rise * (1.0 - np.abs(2.0 * (i - 1) / (n - 1) - 1.0))
    if growth not in powers:
        raise ValueError(f"unknown growth {growth!r} of a blur; choose one of {', '.join(get_args(Growth))}")
    return least + rise * (i / n) ** powers[growth]


def _eigenvalues(basis: Separable, kernel: str, std: float, order: str, floor: float) -> np.ndarray:
    """Return `D` of every mode, broadcastable to an example, in the order in which its modes die."""
    one = [blur_eigenvalues(axis, n, kernel, std) for axis, n in zip(basis.axes, basis.shape, strict=True)]
    values = np.minimum(basis.spread(one), 1.0)
    if order == "fine_to_coarse":
        values = 1.0 - values
    values = np.maximum(values, floor)
    zero = 1e-12  # rounding of eigenvalues
    if not values.min() > zero:
        raise ValueError(
            f"blur: the eigenvalue 0 occurs in {int(np.sum(values <= zero))} of {values.size} modes, which would be "
            f"gone at the first level; give floor=1e-4 or another least eigenvalue, got floor={floor}"
        )
    if order in ("coarse_to_fine", "fine_to_coarse"):
        return values
    if order == "fine_to_coarse_mirrored":
        mirrored, rank = np.empty(values.size), np.argsort(values, axis=None)
        mirrored[rank] = np.sort(values, axis=None)[::-1]
        return mirrored.reshape(values.shape)
    raise ValueError(
        f"unknown order {order!r} of a blur; choose one of coarse_to_fine, fine_to_coarse, fine_to_coarse_mirrored"
    )
