"""Denoising diffusion restoration (DDRM): sampling in the modes `V^T x` of a measurement `A = U S V^T`.

Every mode is on its own: not measured, measured more coarsely than the present noise, or more finely. No derivative of
the network is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance.operators.base import CUTOFF, EXACT, Operator
from scorejax.guidance.operators.filters import AveragePool, Separable
from scorejax.guidance.operators.selections import Dense, Mask
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import register_dataclass, static
from scorejax.samplers.driver import Sample, sample
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score, tweedie
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE

_START = 2**32 - 4  # a stream apart from those of `sample`


@register_dataclass
@dataclass(frozen=True)
class Spectrum:
    """The modes `V^T x` of a measurement `A = U S V^T` that is a product over rows and columns.

    Attributes:
        singular: `S`, one per mode `[H, W, 1]`, 0 where nothing is measured.
        left: `U` for rows `[H', H']` and columns `[W', W']`.
        right: `V` for rows `[H, H]` and columns `[W, W]`.
        flat: whether examples are vectors under an explicit matrix, all rows and one column.
    """

    singular: Array
    left: tuple[Array, Array]
    right: tuple[Array, Array]
    flat: bool = static()

    def to_modes(self, x: Array) -> Array:
        """Return `V^T x`, `[B, H, W, C]`."""
        return self._rotate(self.right, x.reshape(x.shape[0], -1, 1, 1) if self.flat else x)

    def from_modes(self, modes: Array, shape: tuple[int, ...]) -> Array:
        """Return `V modes` as a batch of this shape."""
        return jnp.einsum("hi,wj,bijc->bhwc", *self.right, modes, precision=EXACT).reshape(shape)

    def measured(self, y: Array) -> Array:
        """Return `S^+ U^T y`: what `y` says of every mode, 0 where it says nothing."""
        modes = self._rotate(self.left, y.reshape(y.shape[0], -1, 1, 1) if self.flat else y)
        h, w, _ = self.singular.shape
        modes = modes[:, :h, :w]
        modes = jnp.pad(modes, [(0, 0), (0, h - modes.shape[1]), (0, w - modes.shape[2]), (0, 0)])
        seen = self.singular > 0.0
        return jnp.where(seen, modes / jnp.where(seen, self.singular, 1.0), 0.0)

    def _rotate(self, matrices: tuple[Array, Array], x: Array) -> Array:
        return jnp.einsum("hi,wj,bhwc->bijc", *matrices, x, precision=EXACT)


@register_dataclass
@dataclass(frozen=True)
class Restoration(Stepper):
    """One step of DDRM, in the variable `x / alpha_t`, whose noise is `sigma_t / alpha_t`."""

    spectrum: Spectrum
    y: Array
    sigma_y: float | Array
    eta: float | Array
    eta_b: float | Array

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: tuple[()]) -> Step:
        if sde.by_modes:
            raise ValueError(
                f"ddrm steps in the modes of its operator, with one noise for all of them; {type(sde).__name__} has "
                "one for every mode of another basis: take moment_matching or pigdm"
            )
        now, then = (sde.sigma(u) / sde.alpha(u) for u in (t, s))
        point = self.spectrum.to_modes(x / sde.alpha(t))
        data = self.spectrum.to_modes(tweedie(sde, x, t, score(x, t)))
        seen = self.spectrum.singular > 0.0
        # the noise of the measurement as it stands in each mode of `x`
        noise_y = self.sigma_y / jnp.where(seen, self.spectrum.singular, 1.0)
        # the three cases of a mode: not measured; measured more coarsely, or not more coarsely, than the noise at s
        keep = jnp.sqrt(1.0 - self.eta**2) * then
        unseen = data + keep * (point - data) / now
        coarse = data + keep * (self.y - data) / jnp.where(noise_y > 0.0, noise_y, 1.0)
        fine = data + self.eta_b * (self.y - data)
        # equality belongs to `fine`: an exact measurement is met at the last step too
        is_fine, is_coarse = seen & (then >= noise_y), seen & (then < noise_y)
        mean = jnp.where(is_fine, fine, jnp.where(is_coarse, coarse, unseen))
        variance = jnp.where(is_fine, then**2 - (self.eta_b * noise_y) ** 2, (self.eta * then) ** 2)
        noise = keys_lib.normal(keys, mean.shape, mean.dtype)
        moved = mean + jnp.sqrt(jnp.maximum(variance, 0.0)) * noise
        return Step(sde.alpha(s) * self.spectrum.from_modes(moved, x.shape))

    def start(self, keys: Array, sde: LinearSDE, shape: tuple[int, ...], t: Array) -> Array:
        """Draw the first points: around the measurement in the modes it knows, else from the prior."""
        level = sde.sigma(t) / sde.alpha(t)
        seen = self.spectrum.singular > 0.0
        noise_y = jnp.where(seen, self.sigma_y / jnp.where(seen, self.spectrum.singular, 1.0), 0.0)
        use = seen & (noise_y <= level)
        std = jnp.sqrt(jnp.where(use, level**2 - noise_y**2, level**2))
        noise = self.spectrum.to_modes(keys_lib.normal(keys, shape))
        return sde.alpha(t) * self.spectrum.from_modes(jnp.where(use, self.y, 0.0) + std * noise, shape)


def ddrm(
    key: Array,
    sde: LinearSDE,
    score: Score,
    operator: Operator | Spectrum,
    y: Array,
    sigma_y: float,
    *,
    shape: tuple[int, ...],
    times: Array | np.ndarray,
    eta: float = 0.85,
    eta_b: float = 1.0,
    denoise: bool = True,
    start: int | Array = 0,
) -> Sample:
    """Draw samples given `y = A x_0 + sigma_y n` in the singular modes of `A` (DDRM, arXiv 2201.11793).

    Twenty steps do; no derivative of the network is taken. Given a perfect denoiser every mode keeps the law
    `N(alpha_t x_0, sigma_t^2)` at every time, for any `eta` and `eta_b`.

    Args:
        key: a typed PRNG key, or one per sample.
        sde: a forward process with one coefficient for all coordinates.
        score: the score of the prior.
        operator: one whose singular modes are known (`spectrum_of`), or the modes themselves: inside a compiled
            program they cannot be found any more.
        y: the measurement, in the units of the data, `[B, ...]`.
        sigma_y: standard deviation of its noise, in the units of the data; 0 for an exact measurement.
        shape: the shape of the samples, `(B, ...)`.
        times: decreasing times, `[n + 1]`.
        eta: the share of fresh noise where the measurement does not reach.
        eta_b: the weight of the measurement where it is finer than the noise.
        denoise: return the posterior mean at the last time.
        start: index of the first sample.

    Raises:
        ValueError: if the operator's modes are not known, `sigma_y < 0`, or `eta` or `eta_b` lies outside [0, 1].
    """
    check_kind(sde, LinearSDE, "ddrm")
    doors.grid(times, sde.t_min, sde.t_max)
    y, shape = doors.points(y, "y"), doors.batch_shape(shape)
    if doors.known(sigma_y, eta, eta_b) and not (sigma_y >= 0 and 0 <= eta <= 1 and 0 <= eta_b <= 1):
        raise ValueError(
            f"ddrm: need sigma_y >= 0 and eta, eta_b in [0, 1], got sigma_y={sigma_y}, eta={eta}, eta_b={eta_b}"
        )
    spectrum = operator if isinstance(operator, Spectrum) else spectrum_of(operator, shape[1:])
    stepper = Restoration(spectrum, spectrum.measured(y), sigma_y, eta, eta_b)
    keys = keys_lib.per_example(key, shape[0], start)
    x = stepper.start(keys_lib.fold_in(keys, _START), sde, shape, jnp.asarray(times)[0])
    return sample(keys, sde, score, shape, stepper=stepper, times=times, x_init=x, denoise=denoise)


def spectrum_of(operator: Operator, shape: tuple[int, ...]) -> Spectrum:
    """Return the singular modes of an explicit or separable operator, of block means, or of a mask of pixels.

    Args:
        operator: made by `operators.dense`, `random_projection`, `separable`, `gaussian_blur`, `average_pool` or
            `mask`.
        shape: the shape of an example.

    Raises:
        ValueError: for any other operator, one whose numbers are traced, or a mask that differs between channels or
            examples.
    """
    if not doors.known(operator):
        raise ValueError(
            "the singular modes of an operator are found from its numbers, which are unknown here: it is an argument "
            "of a compiled program; find them outside, spectrum_of(operator, shape), and pass them in"
        )
    if isinstance(operator, Mask):
        return _of_mask(operator, shape)
    if isinstance(operator, Dense):
        factors = [operator.matrix, np.ones((1, 1))]
    elif isinstance(operator, Separable):
        factors = [operator.rows, operator.columns]
    elif isinstance(operator, AveragePool):
        f = operator.factor
        factors = [np.kron(np.eye(n // f), np.full((1, f), 1.0 / f)) for n in shape[:2]]
    else:
        raise ValueError(
            f"ddrm needs an operator with known singular modes, got {type(operator).__name__}; make it by "
            "operators.dense, random_projection, separable, gaussian_blur, average_pool or mask"
        )
    (left_rows, rows, right_rows), (left_columns, columns, right_columns) = map(_decompose, factors)
    singular = np.outer(rows, columns)
    singular = np.where(singular > CUTOFF * singular.max(), singular, 0.0)[..., None]
    return Spectrum(
        jnp.asarray(singular, jnp.float32),
        (left_rows, left_columns),
        (right_rows, right_columns),
        isinstance(operator, Dense),
    )


def _of_mask(operator: Mask, shape: tuple[int, ...]) -> Spectrum:
    """Return the modes of a mask of pixels, which are the pixels."""
    known = np.broadcast_to(operator.mask, shape)
    if len(shape) != 3 or np.any(known != known[..., :1]):
        raise ValueError(
            f"ddrm needs a mask of pixels, the same for all channels of an image; got one of {known.shape}"
        )
    whole = (jnp.eye(shape[0]), jnp.eye(shape[1]))
    return Spectrum(jnp.asarray(known[..., :1], jnp.float32), whole, whole, flat=False)


def _decompose(matrix: Array | np.ndarray) -> tuple[Array, np.ndarray, Array]:
    """Return `U`, the singular values padded with zeros to the columns of the matrix, and `V`."""
    left, values, right = np.linalg.svd(np.asarray(matrix, np.float64))
    values = np.pad(values, (0, right.shape[0] - len(values)))
    return jnp.asarray(left, jnp.float32), values, jnp.asarray(right.T, jnp.float32)
