"""Colored noise: a process whose noise has its own strength in every mode of a basis, such as a random field.

    alpha_k(t) = alpha(t),   sigma_k^2(t) = spectrum_k sigma^2(t)

On functions (fields, series) white noise has no limit as the grid gets finer; the noise of a random field has (Lim et
al., arXiv 2302.07400). The prior is that field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics.ranges import NonNegative, Positive
from scorejax.numerics.trees import register_dataclass
from scorejax.sdes.basis import WAVES, Basis, DataModes, Rotation, Separable
from scorejax.sdes.corruption import as_time, check_kind
from scorejax.sdes.linear import LinearSDE
from scorejax.sdes.modes import widened


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Colored(LinearSDE):
    """Another process with the variance of its noise multiplied by `spectrum`, mode by mode.

    Attributes:
        base: the process, which treats all coordinates alike.
        spectrum: broadcastable to an example.
        strength: of the color, where the spectrum is that of the data: the power to which their variances are raised.
    """

    base: LinearSDE
    spectrum: np.ndarray | Array
    strength: float | Array

    def log_alpha(self, t: Array) -> Array:
        t = as_time(t)
        return jnp.broadcast_to(widened(self.base.log_alpha(t), self.spectrum), t.shape + np.shape(self.spectrum))

    def variance(self, t: Array) -> Array:
        t = as_time(t)
        return widened(self.base.variance(t), self.spectrum) * jnp.asarray(self.spectrum, t.dtype)

    def inverse_log_snr(self, log_snr: Array) -> Array:
        shift = jnp.mean(jnp.log(jnp.asarray(self.spectrum, jnp.result_type(float))))
        return self.base.inverse_log_snr(log_snr + shift)

    def label(self, t: Array) -> Array:
        """Return the noise label of the process without color."""
        return self.base.label(t)

    def time_of(self, u: Array) -> Array:
        return self.base.time_of(u)

    @property
    def shape(self) -> tuple[int, ...] | None:
        return np.shape(self.spectrum) if isinstance(self.basis, Rotation) else super().shape

    @property
    def asks_for_data(self) -> bool:
        return isinstance(self.basis, DataModes)

    def fit(self, examples: Array | np.ndarray) -> dict[str, np.ndarray]:
        """Return the Karhunen-Loeve modes of the data, `matrix`, and what colors the noise in them, `spectrum`."""
        if not isinstance(self.basis, DataModes):
            return {}
        matrix, variances = self.basis.fit(examples)
        spectrum = np.maximum(variances, WEAKEST * variances.max()) ** float(self.strength)
        return {"matrix": matrix.astype(np.float32), "spectrum": spectrum / spectrum.mean()}

    def fitted(self, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the process in the modes that `fit` found; its noise is colored by their variances."""
        if not isinstance(self.basis, DataModes):
            return self
        return self.replace(basis=Rotation(arrays["matrix"]), spectrum=arrays["spectrum"].reshape(self.basis.shape))


WEAKEST = 1e-4
"""Least variance of a mode of the data, in units of the largest: one without any noise would have no score."""


def colored(
    base: LinearSDE,
    basis: Basis,
    *,
    spectrum: Array | np.ndarray | None = None,
    length: Positive = 4.0,
    strength: NonNegative = 1.0,
) -> Colored:
    """Return a process with the noise of a random field.

    Args:
        base: the process, which treats all coordinates alike.
        basis: of `scorejax.bases`. With `field` the spectrum is that of its kernel; with `dct`, `dst` and `dft` that of
            Whittle and Matern, `(1 + (w length)^2)^-2` of the angular frequency `w`; with `karhunen_loeve` that of the
            data, once it is fitted.
        spectrum: variances of the modes in place of these, positive, broadcastable to an example.
        length: over which the field of waves is correlated, in samples.
        strength: power to which the spectrum is raised: 0 is white noise.

    Raises:
        ValueError: the base has more than one signal-to-noise ratio, the basis no spectrum, or the spectrum a value
            that is not positive.
    """
    base = check_kind(base, LinearSDE, "colored noise")
    if not 0.0 <= float(strength) < math.inf:
        raise ValueError(f"colored: strength must not be negative, got {strength}")
    if base.log_snr(base.t_max).ndim:
        raise ValueError(f"colored: the base must have one signal-to-noise ratio, got {type(base).__name__}")
    if spectrum is None:
        spectrum = _spectrum(basis, float(length))
    spectrum = np.asarray(spectrum, np.float64) ** float(strength)
    if not (np.all(np.isfinite(spectrum)) and np.all(spectrum > 0.0)):
        raise ValueError("colored: the spectrum must be positive in every mode; raise its least values")
    shape = getattr(basis, "shape", None)
    if shape is not None and np.broadcast_shapes(spectrum.shape, shape) != shape:
        raise ValueError(f"colored: a spectrum of shape {spectrum.shape} does not fit examples of shape {shape}")
    return Colored(
        base=base, basis=basis, spectrum=spectrum / spectrum.mean(), strength=strength, t_min=base.t_min,
        t_max=base.t_max,
    )  # fmt: skip


def _spectrum(basis: Basis, length: float) -> np.ndarray:
    if isinstance(basis, DataModes):
        return np.ones((1,) * len(basis.shape))  # until it is fitted
    if isinstance(basis, Separable):
        names = {axis.name for axis in basis.axes}
        if names & set(WAVES):
            return (1.0 + basis.squared_frequency() * length**2) ** -2.0
        if "field" in names:
            ones = [axis.spectrum(n) if axis.name == "field" else np.ones(n) for axis, n in basis.pairs()]
            return basis.spread(ones)
    raise ValueError(
        f"colored: the basis {type(basis).__name__} says nothing of the strength of its modes; give spectrum=..., or "
        "take dct, dst, dft, field or karhunen_loeve"
    )
