"""Reverse transitions `p(x_s | x_t)` of a time grid: one object that a sampler runs and a variational bound measures.

Every discrete-time sampler of the DDPM and DDIM family is a chain of Gaussian steps. What varies, independently, is
the forward family (`eta`), the grid, and the variance; the numbers of all steps are made once, in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from scorejax.numerics import doors
from scorejax.numerics.host_arrays import host_array
from scorejax.numerics.trees import register_dataclass, static
from scorejax.reverse.gamma import Gamma
from scorejax.reverse.variance import UnboundHead, VarianceHead
from scorejax.scores.predictions import Score
from scorejax.sdes.corruption import Time, check_kind, per_batch
from scorejax.sdes.float64 import decreasing_times, evaluate
from scorejax.sdes.linear import LinearSDE

VARIANCES = ("posterior", "forward")


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Transition:
    """The numbers of the steps from `t` down to `s`, each field shaped like `t` (`[K]` for a whole grid).

    The forward family is `q(x_s | x_t, x_0) = N(x x_t + data x_0, posterior)`; the mean is also
    `signal x_0 + noise eps` at `x_t = alpha x_0 + sigma eps`.

    Attributes:
        t: where the step starts.
        s: where it ends.
        alpha: `alpha_t`.
        sigma: `sigma_t`.
        x: weight of `x_t` in the mean, `sqrt(sigma_s^2 - posterior) / sigma_t`.
        data: weight of `x_0` in it, `alpha_s - x alpha_t`.
        gain: `data / alpha`.
        signal: `alpha_s`.
        noise: `sqrt(sigma_s^2 - posterior)`.
        posterior: variance of `q(x_s | x_t, x_0)`; DDPM's beta tilde at `eta = 1`, 0 at `eta = 0`.
        forward: variance of `q(x_t | x_s)`, DDPM's beta.
        variance: variance of `p(x_s | x_t)`, unless a head predicts it from `x_t`.
    """

    t: Array = host_array()
    s: Array = host_array()
    alpha: Array = host_array()
    sigma: Array = host_array()
    x: Array = host_array()
    data: Array = host_array()
    gain: Array = host_array()
    signal: Array = host_array()
    noise: Array = host_array()
    posterior: Array = host_array()
    forward: Array = host_array()
    variance: Array = host_array()


def transition(sde: LinearSDE, s: Time, t: Time, eta: Time = 1.0) -> Transition:
    """Return the steps from `t` to `s < t`, elementwise, with the variance of the posterior.

        posterior = eta^2 v sigma_s^2 / sigma_t^2,   v = sigma_t^2 - a^2 sigma_s^2,   a = alpha_t / alpha_s

    (DDIM, arXiv 2010.02502, for any process.) No difference of nearly equal numbers is formed but `v`.

    Args:
        sde: the forward process.
        s: where the steps end; broadcasts with `t`.
        t: where they start.
        eta: 1 is DDPM, 0 the deterministic DDIM.
    """
    check_kind(sde, LinearSDE, "a reverse chain")
    s, t = jnp.asarray(s, jnp.result_type(float)), jnp.asarray(t, jnp.result_type(float))
    a, v = sde.transition(s, t)
    variance_s, variance_t = sde.variance(s), sde.variance(t)
    posterior = eta**2 * v * variance_s / variance_t
    # sigma_s^2 - posterior, written as a sum of positive terms
    noise = jnp.sqrt(variance_s * ((1.0 - eta**2) + eta**2 * a**2 * variance_s / variance_t))
    x = noise / jnp.sqrt(variance_t)
    # alpha_s - x alpha_t, times (1 + a x) / (1 + a x): the difference of squares is v + a^2 posterior over sigma_t^2
    data = sde.alpha(s) * (v + a**2 * posterior) / (variance_t * (1.0 + a * x))
    shape = v.shape
    fields = {
        "alpha": sde.alpha(t),
        "sigma": sde.sigma(t),
        "x": x,
        "data": data,
        "gain": data / sde.alpha(t),
        "signal": sde.alpha(s),
        "noise": noise,
        "posterior": posterior,
        "forward": v,
        "variance": posterior,
    }
    return Transition(t=t, s=s, **{name: jnp.broadcast_to(value, shape) for name, value in fields.items()})


def optimal_variance(step: Transition, residual: Array | np.ndarray, half_range: float | None = None) -> Array:
    """Return the variance of `p(x_s | x_t)` that maximizes the likelihood (Analytic-DPM, theorem 1).

        sigma^2 = posterior + data^2 C,   C = (sigma_t^2 / alpha_t^2) residual

    `C` estimates the variance of `x_0` given `x_t`. It is held to at least 0 and, for data in `[a, b]`, to at most
    `((b - a) / 2)^2`; `residual <= 1` gives the third bound, `v / a^2` for DDPM (theorem 2).

    Args:
        step: the steps.
        residual: the variance of the noise given `x_t`: averaged over all (`1 - E |eps|^2 / D`), or per coordinate.
        half_range: `(b - a) / 2`, or None for data without bounds.
    """
    spread = jnp.maximum(residual, 0.0) * (step.gain * step.sigma) ** 2
    if half_range is not None:
        spread = jnp.minimum(spread, (step.data * half_range) ** 2)
    return step.posterior + spread


def expected_kl(optimal: Array, variance: Array, posterior: Array) -> Array:
    """Return `E KL(q(x_s | x_t, x_0) || p(x_s | x_t))` in nats per dimension, for the exact score.

        (optimal / variance - 1 + log(variance / posterior)) / 2

    with the unclipped optimal variance; least, `log(optimal / posterior) / 2`, where the variance is optimal.
    """
    return 0.5 * (optimal / variance - 1.0 + jnp.log(variance) - jnp.log(posterior))


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class ReverseChain:
    """The reverse chain of a time grid, made by `chain`.

    Attributes:
        steps: the K - 1 steps between its K times, from the prior down.
        variance_head: predicts the variance from `x_t`; None where it is a number per step. `bind` puts an
            `UnboundHead` on its network before the chain is used.
        clip: bounds of the predicted data, or None.
        rederive_noise: after clipping, take the noise from the clipped data; else keep the predicted one.
        half_range: half the width of the interval the data lies in, or None.
    """

    steps: Transition
    variance_head: VarianceHead | UnboundHead | None = None
    clip: tuple[float, float] | None = static(default=None)
    rederive_noise: bool = static(default=True)
    half_range: float | None = static(default=None)

    @property
    def times(self) -> np.ndarray | Array:
        """The grid `[K]`."""
        return np.append(self.steps.t, self.steps.s[-1:])

    def step(self, i: int | Array) -> Transition:
        """Return step `i` (a number, or one per example `[B]`)."""
        return jax.tree.map(lambda field: jnp.asarray(field)[i], self.steps)

    def bind(self, bind_head: Callable[[UnboundHead], VarianceHead]) -> ReverseChain:
        """Return the chain with an `UnboundHead` replaced by what `bind_head` makes of it; other chains as they are."""
        if not isinstance(self.variance_head, UnboundHead):
            return self
        return replace(self, variance_head=bind_head(self.variance_head))

    @property
    def bound_head(self) -> VarianceHead | None:
        """The variance head, on its network.

        Raises:
            ValueError: if the chain holds an `UnboundHead`.
        """
        if isinstance(self.variance_head, UnboundHead):
            raise ValueError(
                f"the variance of this reverse chain is predicted by {type(self.variance_head).__name__}, which is not "
                "on its network yet; call `bind` on the chain or its stepper inside the compiled program"
            )
        return self.variance_head

    def predict(self, sde: LinearSDE, score: Score, x: Array, step: Transition) -> tuple[Array, Array]:
        """Return mean and variance of `p(x_s | x_t = x)`; the variance is shaped like `step.t`, or like `x`.

        Args:
            sde: the forward process.
            score: `score(x, t)`.
            x: points `[B, ...]`.
            step: one step, its fields numbers or one per example `[B]`.
        """
        t = jnp.broadcast_to(step.t, x.shape[:1])
        noise = -sde.scale(step.sigma, step.t, score(x, t))
        data = self.denoise(sde, x, step, noise)
        if self.clip is None or self.rederive_noise:
            mean = sde.scale(step.x, step.t, x) + sde.scale(step.data, step.t, data)
        else:
            mean = sde.scale(step.signal, step.t, data) + sde.scale(step.noise, step.t, noise)
        return mean, self.variance(sde, step, x, noise)

    def denoise(self, sde: LinearSDE, x: Array, step: Transition, noise: Array) -> Array:
        """Return the predicted data at `x_t = x`, clipped as the chain asks."""
        data = sde.scale(1.0 / step.alpha, step.t, x - sde.scale(step.sigma, step.t, noise))
        return data if self.clip is None else jnp.clip(data, *self.clip)

    def variance(self, sde: LinearSDE, step: Transition, x: Array, noise: Array) -> Array:
        """Return the variance of `p(x_s | x_t = x)`, shaped like `step.t`, or like `x` if a head predicts it.

        Where the modes of the process differ it is that of the modes.
        """
        head = self.bound_head
        if head is None:
            return step.variance
        # the numbers of the step get the axes of `x`, because a head's variance has them all
        wide = jax.tree.map(lambda field: per_batch(field, step.t, x.ndim), step)
        t, noise = jnp.broadcast_to(step.t, x.shape[:1]), sde.own_modes(noise)
        if head.of_step:
            return head.step_variance(wide.posterior, wide.forward, head(x, t, noise))
        return optimal_variance(wide, head(x, t, noise), self.half_range)


def chain(
    sde: LinearSDE,
    times: Array | np.ndarray,
    *,
    variance: str | Gamma | VarianceHead | UnboundHead = "posterior",
    eta: float = 1.0,
    clip: tuple[float, float] | None = None,
    rederive_noise: bool = True,
    data_range: tuple[float, float] | None = None,
) -> ReverseChain:
    """Return the reverse chain of a time grid, for any process.

    Give it to `samplers.reverse_chain` to draw samples, and to `likelihood.elbo` for the bound of that very sampler.

    Args:
        sde: the forward process.
        times: decreasing times `[K]`, from `scorejax.trajectories` or `scorejax.times`.
        variance: `posterior` (DDPM's beta tilde; for `eta < 1` DDIM's own), `forward` (its beta, with `eta = 1`
            the "sigma hat" of DDIM), a `Gamma` (the optimum, Analytic-DPM), or a head of `scorejax.variance`
            (NPR-DPM, SN-DPM, learned range, ...).
        eta: the forward family: 1 is DDPM, 0 is DDIM.
        clip: bounds of the predicted data, such as (-1, 1) for images; None leaves it as it is.
        rederive_noise: after clipping, take the noise from the clipped data (improved DDPM); else keep the
            predicted one (Analytic-DPM's DDIM).
        data_range: an interval that holds all data, which bounds optimal variances; None if unknown. Without effect
            where the modes of the process differ.

    Raises:
        ValueError: on a grid that does not decrease or is too short, an unknown variance, `eta` outside [0, 1], bounds
            that are no two numbers with `low < high`, or a `Gamma` of another schedule.
    """
    check_kind(sde, LinearSDE, "a reverse chain")
    if isinstance(eta, Tracer) or not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta must be a number in [0, 1] (1 is DDPM, 0 is DDIM), got {eta}")
    clip = None if clip is None else doors.interval(clip, "clip")
    data_range = None if data_range is None else doors.interval(data_range, "data_range")
    times = decreasing_times(sde, times)
    if len(times) < 2:
        raise ValueError(f"a reverse chain needs at least two times, got {len(times)}")
    steps = evaluate(transition, sde, times[1:], times[:-1], eta)
    if not np.all(steps.posterior + steps.noise**2 > 0.0):
        raise ValueError(
            f"a reverse chain ends at a time with noise, got {times[-1]:.7g}; end at t_min={sde.t_min:.7g}"
        )
    # the range bounds coordinates: a mode, which is a sum of them, may vary by more
    half_range = None if data_range is None or sde.by_modes else 0.5 * (data_range[1] - data_range[0])
    variance_head = None
    if isinstance(variance, Gamma):
        # numbers even while another function is traced, as everything else in the table
        with jax.enable_x64(True), jax.ensure_compile_time_eval():
            values = optimal_variance(steps, variance.residual(sde, steps.t), half_range)
        steps = replace(steps, variance=np.array(values))
    elif isinstance(variance, VarianceHead | UnboundHead):
        variance_head = variance
    elif variance == "forward":
        steps = replace(steps, variance=steps.forward)
    elif variance != "posterior":
        raise ValueError(
            f"unknown variance {variance!r}; choose one of {', '.join(VARIANCES)}, a Gamma, or a head of "
            "scorejax.variance"
        )
    return ReverseChain(
        steps=steps, variance_head=variance_head, clip=clip, rederive_noise=rederive_noise, half_range=half_range
    )
