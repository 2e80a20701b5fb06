"""Potentials `psi_t(x) ~ p(y | x_t = x)`: what guides a sample towards a measurement, and what weighs it.

A guided score is `s + grad log psi_t`. Whatever psi is, samples that follow it can be weighed such that the posterior
comes out in the limit of many (`scorejax.posterior.smc`); a better psi needs fewer of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.guidance.likelihoods import Gaussian, Likelihood
from scorejax.guidance.operators import Operator
from scorejax.guidance.posterior import Solver, denoised
from scorejax.numerics import doors
from scorejax.numerics.trees import as_pytree, register_dataclass, static
from scorejax.scores.predictions import Score, as_score
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE

Kind: TypeAlias = Literal["widened", "dps", "pigdm", "mmps"]
KINDS = get_args(Kind)
LogLikelihood: TypeAlias = Callable[[Array], Array]
"""`log p(y | x_0)`: data `[B, ...]` to nats `[B]`."""


class Evaluation(NamedTuple):
    """A potential at some points, by one evaluation of the network.

    Attributes:
        log_value: `log psi`, `[B]`, up to a number that depends on the time alone.
        prior: the score of the prior, `[B, ...]`.
        guided: the prior's score plus the gradient of `log psi`, `[B, ...]`.
    """

    log_value: Array
    prior: Array
    guided: Array


@register_dataclass
@dataclass(frozen=True)
class Potential:
    """`(x [B, ...], t [B]) -> log psi_t(x) [B]`; `score` is the guided score, for every sampler."""

    sde: LinearSDE
    prior: Score
    log_likelihood: LogLikelihood
    kappa: float | Array
    data_std: float | Array
    solver: Solver
    kind: str = static()

    def __call__(self, x: Array, t: Array) -> Array:
        """Return `log psi_t(x)`, `[B]`, up to a number that depends on the time alone."""
        return self.evaluate(x, t).log_value

    @property
    def score(self) -> Score:
        """Return the guided score `s + grad log psi`."""
        return Partial(_guided, self)

    def evaluate(self, x: Array, t: Array) -> Evaluation:
        """Return potential, prior score and guided score by one evaluation of the network and its products."""
        t = jnp.broadcast_to(jnp.asarray(t, jnp.result_type(float)), x.shape[:1])
        data, pull, value = denoised(self.sde, self.prior, x, t)
        if self.kind in ("widened", "dps"):
            log_value, gradient = _value_and_gradient(lambda x0: self._around(x0, t), data)
        else:
            log_value, gradient = self._linear(data, pull, t)
        return Evaluation(log_value, value, value + pull(gradient)[0])

    def _around(self, data: Array, t: Array) -> Array:
        if self.kind == "dps" or not isinstance(self.log_likelihood, Likelihood):
            return doors.per_row(data, self.log_likelihood(data), "a log-likelihood")
        return self.log_likelihood.widened(data, self.kappa * _per_row(self._spread(t)))

    def _spread(self, t: Array) -> Array:
        """Return the variance of `x_0` given `x_t` for normal data."""
        prior, variance = jnp.asarray(self.data_std) ** 2, self.sde.variance(t)
        return prior * variance / (prior * self.sde.alpha(t) ** 2 + variance)

    def _linear(self, data: Array, pull: Callable[[Array], tuple[Array]], t: Array) -> tuple[Array, Array]:
        likelihood = self.log_likelihood
        assert isinstance(likelihood, Gaussian)
        operator = likelihood.operator
        assert isinstance(operator, Operator)  # `potential` refuses others
        ratio = self.sde.variance(t) / self.sde.alpha(t)

        def matvec(v: Array) -> Array:
            back = operator.adjoint(v)
            if self.kind == "pigdm":
                spread = self.sde.scale(self._spread(t), t, back)
            else:
                spread = self.sde.scale(ratio, t, pull(back)[0])
            return jnp.asarray(likelihood.sigma_y) ** 2 * v + self.kappa * operator.forward(spread)

        residual = likelihood.residual(data)
        weighted = self.solver(matvec, residual)
        value = -0.5 * jnp.sum((residual * weighted).reshape(len(residual), -1), axis=1)
        return value, operator.adjoint(weighted)


def potential(
    sde: LinearSDE,
    score: Score,
    log_likelihood: LogLikelihood,
    *,
    kind: Kind = "widened",
    kappa: float | Array = 1.0,
    data_std: float | Array = 1.0,
    iterations: int = 50,
    tolerance: float = 1e-5,
) -> Potential:
    """Return `psi_t(x) ~ p(y | x_t = x)` from a likelihood at the posterior mean `x0 = E[x_0 | x_t]`.

        dps        p(y | x0)                                                 any likelihood
        widened    p(y | x0 + sqrt(kappa) r_t n), n standard normal          those of `guidance.likelihoods`
        pigdm      N(y; A x0, sigma_y^2 + kappa r_t^2 A A^T)                 Gaussian, of a linear operator
        mmps       N(y; A x0, sigma_y^2 + kappa A Cov[x_0 | x_t] A^T)        Gaussian, of a linear operator

    with `r_t^2 = d^2 sigma_t^2 / (d^2 alpha_t^2 + sigma_t^2)`, the variance of `x_0` given `x_t` for data
    `N(0, d^2)` (arXiv 2209.14687, Song et al. ICLR 2023, arXiv 2405.13712). Where `dps` is certain too early, so that
    all samples follow one mode, the others leave both open until the noise is low.

    Args:
        sde: the forward process.
        score: the score of the prior.
        log_likelihood: of `guidance.likelihoods`, or any function `x0 [B, ...] -> [B]` in nats.
        kind: one of the four.
        kappa: factor of the variance that the likelihood is widened by.
        data_std: standard deviation d of the data.
        iterations: most iterations of conjugate gradients, of `pigdm` and `mmps`.
        tolerance: relative residual at which they stop.

    Raises:
        ValueError: on an unknown kind, or a likelihood that it is not for.
    """
    check_kind(sde, LinearSDE, "a potential")
    if kind not in KINDS:
        raise ValueError(f"potential: unknown kind {kind!r}; choose one of {', '.join(KINDS)}")
    linear = isinstance(log_likelihood, Gaussian) and isinstance(log_likelihood.operator, Operator)
    if kind in ("pigdm", "mmps") and not linear:
        raise ValueError(
            f"potential: kind {kind!r} needs likelihoods.gaussian of an operator of guidance.operators, got "
            f"{_named(log_likelihood)}; choose widened or dps"
        )
    if kind == "widened" and not isinstance(log_likelihood, Likelihood):
        raise ValueError(
            f"potential: {_named(log_likelihood)} does not say what becomes of it where the data are uncertain; take "
            "likelihoods.gaussian or likelihoods.poisson, derive from likelihoods.Likelihood, or choose kind='dps'"
        )
    likelihood = log_likelihood if isinstance(log_likelihood, Likelihood) else as_pytree(log_likelihood)
    solver = Solver(iterations, tolerance)
    return Potential(sde, as_score(score), likelihood, kappa, data_std, solver, kind)


@register_dataclass
@dataclass(frozen=True)
class Own:
    """Any function `(x, t) -> log psi [B]` in the place of a potential, or none at all."""

    prior: Score
    log_value: Callable[[Array, Array], Array] | None = None

    def evaluate(self, x: Array, t: Array) -> Evaluation:
        """Return the function, the prior's score, and that plus the function's gradient."""
        t = jnp.broadcast_to(jnp.asarray(t, jnp.result_type(float)), x.shape[:1])
        prior, of = self.prior(x, t), self.log_value
        if of is None:
            return Evaluation(jnp.zeros(x.shape[:1], x.dtype), prior, prior)
        value, gradient = _value_and_gradient(lambda x: doors.per_row(x, of(x, t), "a potential"), x)
        return Evaluation(value, prior, prior + gradient)


def _guided(potential: Potential, x: Array, t: Array) -> Array:
    return potential.evaluate(x, t).guided


def _value_and_gradient(function: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    value, pull = jax.vjp(function, x)
    return value, pull(jnp.ones_like(value))[0]


def _per_row(spread: Array) -> Array:
    """Return one variance for each example: the mean, where the modes of a process have their own."""
    return spread if spread.ndim < 2 else spread.reshape(len(spread), -1).mean(axis=1)


def _named(likelihood: object) -> str:
    return f"a {type(likelihood).__name__}" if not isinstance(likelihood, Gaussian) else "one of a function"
