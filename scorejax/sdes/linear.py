"""The one mathematical object: `q(x_t | x_0) = N(alpha_t x_0, sigma_t^2)`, written as two functions of time.

Drift, diffusion, transitions, posterior, prior and signal-to-noise ratio all follow from these two.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.sdes.basis import Basis, Identity
from scorejax.sdes.corruption import SDE, Time, as_time, per_batch


@dataclass(frozen=True, kw_only=True)
class LinearSDE(SDE):
    """A forward process `q(x_t | x_0) = N(U alpha_t U^T x_0, U sigma_t^2 U^T)` in an orthogonal basis `U`.

    A subclass writes `log_alpha(t)` and `variance(t)`; everything else follows from them:

        f(t)   = d log alpha / dt                    dx = f x dt + g dw
        g^2(t) = d variance / dt - 2 f variance      >= 0 iff the signal-to-noise ratio never increases

    (Song et al., arXiv 2011.13456, and the general form of Kingma et al., arXiv 2107.00630.) Times `t` are scalars
    or `[B]`; a coefficient has the shape of `t` where the process treats all coordinates alike, else
    `t.shape + mode shape`, broadcastable to `x`; `log_alpha` and `variance` agree on which.

    Attributes:
        prior_is_noise: whether the prior is that of the noise, `N(0, sigma_{t_max}^2)`; if not, it has its own methods.
        basis: the orthogonal basis in which the process is diagonal.
    """

    described: ClassVar[str] = "a Gaussian process in closed form, with its alpha_t and sigma_t"
    prior_is_noise: ClassVar[bool] = True
    basis: Basis = field(default_factory=Identity)

    @property
    def shape(self) -> tuple[int, ...] | None:
        return getattr(self.basis, "shape", None)

    @abc.abstractmethod
    def log_alpha(self, t: Array) -> Array:
        """Return the logarithm of the signal scale `alpha_t`."""

    @abc.abstractmethod
    def variance(self, t: Array) -> Array:
        """Return the noise variance `sigma_t^2`."""

    @abc.abstractmethod
    def inverse_log_snr(self, log_snr: Array) -> Array:
        """Return the time at which `log(alpha^2 / sigma^2)`, its mean over the modes, has the given value."""

    # Derived once, never overridden.

    def noise_variance(self, t: Time) -> Array:
        """Return the noise variance `sigma_t^2`, in which objectives weigh the squared score."""
        return self.variance(as_time(t))

    def alpha(self, t: Time) -> Array:
        """Return the signal scale `alpha_t`."""
        return jnp.exp(self.log_alpha(as_time(t)))

    def sigma(self, t: Time) -> Array:
        """Return the noise scale `sigma_t`."""
        return jnp.sqrt(self.variance(as_time(t)))

    def log_snr(self, t: Time) -> Array:
        """Return `log(alpha_t^2 / sigma_t^2)` (twice the `lambda` of DPM-Solver)."""
        t = as_time(t)
        return 2.0 * self.log_alpha(t) - jnp.log(self.variance(t))

    def mean_log_snr(self, t: Time) -> Array:
        """Return the log signal-to-noise ratio averaged over the modes, shaped like `t`.

        It stands for the ratio of a process with one per mode where one number is asked for: in time grids and laws of
        training times. It falls as each of them does.
        """
        ratio = self.log_snr(t)
        return ratio.reshape(*jnp.shape(t), -1).mean(-1)

    def mean_rate(self, t: Time) -> Array:
        """Return `g^2 / sigma^2` averaged over the modes, shaped like `t`: how fast `mean_log_snr` falls."""
        t = as_time(t)
        rate = self.diffusion_squared(t) / self.variance(t)
        return rate.reshape(*t.shape, -1).mean(-1)

    @property
    def by_modes(self) -> bool:
        """Whether the modes of the basis differ, so that coefficients are one for each."""
        return jax.eval_shape(self.log_snr, self.t_max).ndim > 0

    def own_modes(self, x: Array) -> Array:
        """Return `U^T x` where the modes differ, else `x`: the coordinates in which the noise is independent."""
        return self.basis.to_modes(x) if self.by_modes else x

    def from_own_modes(self, modes: Array) -> Array:
        """Return the inverse of `own_modes`."""
        return self.basis.from_modes(modes) if self.by_modes else modes

    def drift_rate(self, t: Time) -> Array:
        """Return `f(t) = d log alpha / dt`."""
        t = as_time(t)
        return jax.jvp(self.log_alpha, (t,), (jnp.ones_like(t),))[1]

    def diffusion_squared(self, t: Time) -> Array:
        """Return `g^2(t) = d variance / dt - 2 f variance`."""
        t = as_time(t)
        # the derivatives of the two functions that a process is, to all digits and without a formula to get wrong
        variance, slope = jax.jvp(self.variance, (t,), (jnp.ones_like(t),))
        rate = self.drift_rate(t)
        if rate.ndim != variance.ndim:
            raise ValueError(
                f"{type(self).__name__}: log_alpha and variance must have equally many axes at one time, got shapes "
                f"{rate.shape} and {variance.shape}; broadcast both to t.shape + mode shape"
            )
        return slope - 2.0 * rate * variance

    def drift(self, x: Array, t: Time) -> Array:
        """Return the forward drift `f(t) x`."""
        return self.scale(self.drift_rate(t), t, self._point(x, t))

    def scale(self, coefficient: Array, t: Time, x: Array) -> Array:
        """Return `U diag(coefficient) U^T x`; where the coefficient is one number no transform is compiled."""
        t = as_time(t)
        if jnp.ndim(coefficient) == t.ndim:
            return per_batch(coefficient, t, x.ndim) * x
        return self.basis.from_modes(per_batch(coefficient, t, x.ndim) * self.basis.to_modes(x))

    def marginal(self, x0: Array, t: Time) -> tuple[Array, Array]:
        """Return the mean of `q(x_t | x_0)` and its standard deviation (per mode, broadcastable to `x0`)."""
        x0 = self._point(x0, t)
        return self.scale(self.alpha(t), t, x0), per_batch(self.sigma(t), as_time(t), x0.ndim)

    def perturb(self, x0: Array, t: Time, noise: Array) -> Array:
        """Return `x_t = alpha_t x_0 + sigma_t noise` with the noise given in data space."""
        x0 = doors.points(x0, finite=False)
        rows = np.shape(noise)[:1] if x0.shape[0] == 1 else x0.shape[:1]  # one point may take the noise of many
        noise = doors.points(noise, "noise", shape=(*rows, *x0.shape[1:]), finite=False)
        doors.times(t, 0.0, self.t_max, of=noise.shape)
        return self.scale(self.alpha(t), t, x0) + self.scale(self.sigma(t), t, noise)

    def corrupt(self, key: Array, x0: Array, t: Time) -> Array:
        """Draw `x_t` given the data `x0 [B, ...]`; `key` is one key or one per example `[B]`."""
        x0 = doors.points(x0, finite=False)
        return self.perturb(x0, t, keys_lib.normal(keys_lib.per_example(key, x0.shape[0]), x0.shape, x0.dtype))

    def transition(self, s: Time, t: Time) -> tuple[Array, Array]:
        """Return `(a, v)` of `q(x_t | x_s) = N(a x_s, v)` for `s < t`.

        a = alpha_t / alpha_s,  v = sigma_t^2 - a^2 sigma_s^2.
        """
        s, t = as_time(s), as_time(t)
        a = jnp.exp(self.log_alpha(t) - self.log_alpha(s))
        # short steps: in float32 the difference may come out below zero
        return a, jnp.maximum(self.variance(t) - a**2 * self.variance(s), 0.0)

    def posterior(self, s: Time, t: Time) -> tuple[Array, Array, Array]:
        """Return `(c_t, c_0, v)` of `q(x_s | x_t, x_0) = N(c_t x_t + c_0 x_0, v)` for `s < t`.

        c_t = a sigma_s^2 / sigma_t^2,  c_0 = alpha_s v_{t|s} / sigma_t^2,  v = v_{t|s} sigma_s^2 / sigma_t^2.
        """
        s, t = as_time(s), as_time(t)
        a, v = self.transition(s, t)
        ratio = self.variance(s) / self.variance(t)
        return a * ratio, self.alpha(s) * v / self.variance(t), v * ratio

    def prior_sample(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Draw from the prior `N(0, sigma_{t_max}^2)`; `key` is one key or one per sample `[B]`."""
        shape = doors.batch_shape(shape)
        noise = keys_lib.normal(keys_lib.per_example(key, shape[0]), shape)
        return self.scale(self.sigma(self.t_max), jnp.asarray(self.t_max), noise)

    def prior_logp(self, x: Array) -> Array:
        """Return the log density `[B]` of the prior `N(0, sigma_{t_max}^2)`, in nats."""
        x, variance = doors.points(x, finite=False), self.variance(as_time(self.t_max))
        modes = x if variance.ndim == 0 else self.basis.to_modes(x)
        density = -0.5 * (modes**2 / variance + jnp.log(2.0 * np.pi * variance))
        return jnp.sum(density.reshape(x.shape[0], -1), axis=1)

    def _point(self, x: Array, t: Time) -> Array:
        """Return points in the working float type, at times that the process is defined for: from 0, the data, on."""
        x = doors.points(x, finite=False)
        doors.times(t, 0.0, self.t_max, of=x.shape)
        return x
