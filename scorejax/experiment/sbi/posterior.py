"""The posterior that was trained: draws, densities, the most probable parameters, and calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from scorejax import likelihood, samplers
from scorejax.experiment.run import Run
from scorejax.metrics import calibration
from scorejax.posterior.priors import Prior
from scorejax.samplers import Stepper
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE, times

_SOLVER: dict[str, Any] = {"divergence": "exact", "rtol": 1e-6, "atol": 1e-6}
_CLIMB, _STARTS = 300, 64  # steps uphill, and where they begin
_PILOTS, _NARROWEST = 256, 1e-6  # draws that a covariance is found from, and its least eigenvalue
_NOISE = (0.5, 0.02)  # noise to signal at the first of them, where the score is smooth, and at the last


@dataclasses.dataclass(frozen=True)
class Posterior:
    """The law of parameters given what a simulator made of them. Its methods may be called in compiled programs.

    Attributes:
        run: the trained run, whose model space is that of `prior.to_normal`, or of standardized parameters.
        prior: of the parameters; without bounds, and of no known law, if none was given.
        known: whether a prior was given, whose law the composition of several observations needs.
        x_mean: of the training data, `[K]`.
        x_std: theirs.
    """

    run: Run
    prior: Prior
    known: bool
    x_mean: np.ndarray
    x_std: np.ndarray

    def sample(self, key: Array, x: ArrayLike, n: int, *, steps: int = 64, stepper: Stepper | None = None) -> Array:
        """Draw `n` parameters of the posterior, `[n, D]`.

        Of several independent observations of the same parameters the scores are composed at every level of noise
        (Linhart et al., arXiv 2404.07593): with `P_i = C_i^-1 + alpha_t^2 / sigma_t^2` of the covariance `C_i` of each
        posterior, found from draws of it, and `P` of the prior,

            (sum_i P_i - (M - 1) P)^-1 (sum_i P_i s(y, t | x_i) - (M - 1) P s_prior(y, t)),

        which is exact where all of them are normal laws, and otherwise at the data alone.

        Args:
            key: a typed PRNG key; draw i uses `fold_in(key, i)`.
            x: what was observed, `[K]`; several independent observations `[M, K]`.
            n: how many.
            steps: of the time grid.
            stepper: from `scorejax.samplers`; unset: DPM-Solver++.

        Raises:
            ValueError: observations of another shape, or several of them without a prior.
        """
        rows = self._rows(x)
        score = self._given(rows, n) if len(rows) == 1 else self._composed(key, rows)
        return self.prior.from_normal(self._drawn(key, score, n, steps, stepper))

    def log_prob(self, key: Array, theta: ArrayLike, x: ArrayLike, **solver: Any) -> Array:
        """Return the log density of parameters `theta [B, D]` given one observation `x [K]`, in nats `[B]`.

        Minus infinity outside of the support of the prior.

        Args:
            key: a typed PRNG key, of the trace estimate, if `divergence` asks for one.
            theta: the parameters.
            x: what was observed.
            **solver: of `scorejax.log_prob`; unset: the exact divergence, and tolerances of 1e-6.

        Raises:
            ValueError: another shape, or several observations, whose composed score has no normalized density.
        """
        theta = jnp.asarray(theta, jnp.float32)
        if theta.ndim != 2 or theta.shape[1] != self.prior.dimension:
            raise ValueError(f"theta must have shape (B, {self.prior.dimension}), got {theta.shape}")
        rows = self._rows(x)
        if len(rows) > 1:
            raise ValueError("log_prob takes one observation [K]; the composition of several has no normalized density")
        slope = self.prior.log_slope(theta)
        inside = jnp.isfinite(slope)
        y = jnp.where(inside[:, None], self.prior.to_normal(jnp.where(inside[:, None], theta, self._middle)), 0.0)
        found = likelihood.log_prob(key, self._sde, self._given(rows, len(y)), y, **{**_SOLVER, **solver}).value
        return jnp.where(inside, found + slope, -jnp.inf)

    def map(self, key: Array, x: ArrayLike) -> Array:
        """Return the parameters of the largest posterior density, `[D]`, of one observation or several.

        Uphill of 64 draws by Adam, along the score at less and less noise, and then the best of the ends by its
        log density: of M observations by `sum_i log p(theta | x_i) - (M - 1) log p(theta)`, up to a constant.

        Args:
            key: a typed PRNG key.
            x: as of `sample`.

        Raises:
            ValueError: as `sample`.
        """
        rows = self._rows(x)
        score = self._given(rows, _STARTS) if len(rows) == 1 else self._composed(key, rows)
        ends = self.prior.from_normal(_uphill(self._sde, score, self.prior, self._drawn(key, score, _STARTS)))
        each = [self.log_prob(key, ends, one) for one in jnp.atleast_2d(jnp.asarray(x, jnp.float32))]
        density = sum(each) - (len(rows) - 1) * self.prior.log_prob(ends)
        return ends[jnp.argmax(jnp.nan_to_num(density, nan=-jnp.inf))]

    def calibrate(
        self, key: Array, simulate: Callable[[Array], tuple[Array, Array]], replicates: int = 500, **how: Any
    ) -> calibration.Calibration:
        """Measure whether draws are draws of the posterior, over parameters and data of the simulator.

        Args:
            key: a typed PRNG key.
            simulate: `key -> (theta [D], x [K])`, a draw of prior and simulator, in functions of JAX.
            replicates: how many pairs.
            **how: of `scorejax.calibration.run`.

        Raises:
            ValueError: as `scorejax.calibration.run`.
        """

        def draw(key: Array, x: Array, n: int) -> Array:
            return self.sample(key, x, n)

        return calibration.run(key, simulate, draw, replicates=replicates, **how)

    @property
    def _sde(self) -> LinearSDE:
        sde = self.run.sde
        assert isinstance(sde, LinearSDE)  # `fit` makes no others
        return sde

    @property
    def _middle(self) -> Array:
        return self.prior.from_normal(jnp.zeros((1, self.prior.dimension)))

    def _rows(self, x: ArrayLike) -> Array:
        """Observations as the network is given them, `[M, K]`."""
        x, wide = jnp.asarray(x, jnp.float32), len(self.x_mean)
        if x.ndim not in (1, 2) or x.shape[-1] != wide or not x.size:
            raise ValueError(
                f"x must be an observation of shape ({wide},), or several independent ones of shape (M, {wide}), got "
                f"{x.shape}"
            )
        if x.ndim == 2 and len(x) > 1 and not self.known:
            raise ValueError(f"{len(x)} observations can be composed if the prior is known: give fit one by prior=")
        return jnp.atleast_2d((x - self.x_mean) / self.x_std)

    def _given(self, rows: Array, n: int) -> Score:
        """The score of `n` points of each observation, one observation after the other."""
        return self.run.model.score_given(jnp.repeat(rows, n, axis=0))

    def _composed(self, key: Array, rows: Array) -> Score:
        """The score given several observations."""
        own = jax.random.fold_in(key, 2**32 - 5)
        y = self._drawn(own, self._given(rows, _PILOTS), len(rows) * _PILOTS)
        covariances = jax.vmap(lambda y: jnp.cov(y, rowvar=False))(y.reshape(len(rows), _PILOTS, -1))
        values, vectors = jnp.linalg.eigh(covariances.reshape(len(rows), *[self.prior.dimension] * 2))
        # no observation makes a posterior wider than the prior, in the mean
        precisions = jnp.einsum("mij,mj,mkj->mik", vectors, 1.0 / jnp.clip(values, _NARROWEST, 1.0), vectors)
        return Partial(_together, self._sde, self.run.model.score, rows, precisions)

    def _drawn(self, key: Array, score: Score, n: int, steps: int = 64, stepper: Stepper | None = None) -> Array:
        """Points `y [n, D]`, which the map of the prior takes to parameters."""
        return samplers.sample(
            key, self._sde, score, (n, self.prior.dimension), stepper=stepper or samplers.dpm_solver(),
            times=times.log_snr(self._sde, steps),
        ).x  # fmt: skip


def _together(sde: LinearSDE, score: Callable[..., Array], rows: Array, precisions: Array, y: Array, t: Array) -> Array:
    """The composed score, see `Posterior.sample`; in the map of the prior that is standard normal at every level."""
    each = jax.lax.map(lambda row: score(y, t, jnp.broadcast_to(row, (len(y), len(row)))), rows)
    t = t.reshape(-1)[0]  # a grid has one time for all points
    more, one = sde.alpha(t) ** 2 / sde.variance(t), jnp.eye(y.shape[1])
    spread = sde.alpha(t) ** 2 + sde.variance(t)
    of_prior = (len(rows) - 1) * (1.0 + more)
    total = jnp.sum(precisions, axis=0) + (len(rows) * more - of_prior) * one
    summed = jnp.einsum("mij,mbj->bi", precisions + more * one, each) + of_prior * y / spread
    return jnp.linalg.solve(total, summed.T).T


@jax.jit
def _uphill(sde: LinearSDE, score: Score, prior: Prior, y: Array) -> Array:
    """Points of large density of the parameters, from points of the map of the prior."""
    ratios = jnp.geomspace(*_NOISE, _CLIMB)
    levels = sde.inverse_log_snr(-2.0 * jnp.log(ratios))

    def slope(y: Array) -> Array:
        return jnp.sum(prior.log_slope(prior.from_normal(y)))

    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, _CLIMB))

    def body(carry: tuple[Array, Any], t: Array) -> tuple[tuple[Array, Any], None]:
        y, state = carry
        alpha, times = sde.alpha(t), jnp.broadcast_to(t, y.shape[:1])
        gradient = alpha * score(alpha * y, times) + jax.grad(slope)(y)
        updates, state = optimizer.update(-gradient, state)
        return (y + jnp.asarray(updates), state), None

    return jax.lax.scan(body, (y, optimizer.init(y)), levels)[0][0]
