"""Split Gibbs: draws from the prior and from the likelihood by turns, coupled by noise of a small width rho.

    z | x_0 ~ p(y | z) N(z; x_0, rho^2)          no network
    x_0 | z ~ p(x_0) N(z; x_0, rho^2)            the reverse SDE from the level sigma / alpha = rho

(PnP-DM, arXiv 2405.18782, and DPnP.) The likelihood never meets the network, so that it may be anything.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance.likelihoods import Gaussian
from scorejax.guidance.operators import Operator
from scorejax.guidance.potentials import LogLikelihood
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.trees import as_pytree
from scorejax.posterior.given_data import gaussian_draw, is_linear, langevin_draw, norm_of
from scorejax.samplers.driver import sample
from scorejax.samplers.sde_dpm_solver import sde_dpm_solver
from scorejax.samplers.stepper import Stepper
from scorejax.scores.clipping import Clip, Interval, clipped
from scorejax.scores.predictions import Score, as_score
from scorejax.sdes.corruption import check_kind, check_moves
from scorejax.sdes.linear import LinearSDE

_LIKELIHOOD, _START = 2**32 - 6, 2**32 - 7  # streams of a sweep's key, next to those of `sample`


class Chain(NamedTuple):
    """What `split_gibbs` returns.

    Attributes:
        x: points after the last sweep, `[B, ...]`.
        nfe: network evaluations, each on the whole batch.
        trace: points after every sweep, `[sweeps, B, ...]`; None if they were not kept.
    """

    x: Array
    nfe: Array
    trace: Array | None = None


def split_gibbs(
    key: Array,
    sde: LinearSDE,
    score: Score,
    shape: tuple[int, ...],
    *,
    likelihood: LogLikelihood,
    rho: float | Array | np.ndarray,
    sweeps: int,
    steps: int = 20,
    exact: bool = False,
    stepper: Stepper | None = None,
    moves: int = 30,
    x_init: Array | None = None,
    trace: bool = False,
    clip: Interval | Clip | None = None,
    start: int | Array = 0,
) -> Chain:
    """Draw from posteriors by split Gibbs sampling; every row of the batch is a chain of its own.

    The law of `x_0` in the limit of many sweeps is `p(x_0) int p(y | z) N(z; x_0, rho^2) dz`: for a Gaussian likelihood
    the posterior of a measurement whose noise has the variance `sigma_y^2 + rho^2 A A^T`. With `exact` the likelihood
    of z is narrowed to `sigma_y^2 - rho^2 A A^T`, so that the law is the posterior itself for every
    `rho <= sigma_y / |A|`. A chain moves about rho in a sweep and does not cross between modes. What the reverse SDE
    gets wrong in its steps is not forgotten: ten sweeps of 20 ancestral steps make draws up to a fifth too
    narrow, of `sde_dpm_solver` up to a fortieth (`benchmarks/posteriors.py`).

    Args:
        key: a typed PRNG key, or one per chain `[B]`.
        sde: the forward process.
        score: the score of the prior.
        shape: `(B, ...)`.
        likelihood: of `guidance.likelihoods`, or any function `x0 [B, ...] -> [B]`. z is drawn exactly for
            `gaussian` of a linear operator, else by Metropolis-adjusted moves whose sizes are learned.
        rho: width of the coupling in units of the data, or one for each sweep, `[sweeps]`, falling.
        sweeps: how often both are drawn.
        steps: of the reverse SDE in each sweep.
        exact: correct the likelihood for rho, where it is `gaussian` of a linear operator.
        stepper: of the reverse SDE; `sde_dpm_solver()` if not given.
        moves: Metropolis-adjusted moves of z in a sweep, for likelihoods that have no closed form.
        x_init: points to begin with; draws of the prior if not given.
        trace: keep the points after every sweep.
        clip: where predicted data are held, as in `sample`.
        start: index of the first chain under one key.

    Raises:
        ValueError: on a rho that is not positive, or too large for `exact`; on `exact` with another likelihood; or on
            a rho below the least noise of the process.
    """
    sde = check_kind(sde, LinearSDE, "posterior.split_gibbs")
    check_moves(sde, "posterior.split_gibbs")
    shape = doors.batch_shape(shape)
    if sweeps < 1 or steps < 1 or moves < 1:
        raise ValueError(f"split_gibbs needs sweeps, steps and moves of at least 1, got {sweeps}, {steps} and {moves}")
    rhos = jnp.broadcast_to(jnp.asarray(rho, jnp.result_type(float)), (sweeps,))
    _check_rho(sde, rhos, likelihood, shape, exact)
    keys = keys_lib.per_example(key, shape[0], start)
    stepper = sde_dpm_solver() if stepper is None else stepper
    held = likelihood if isinstance(likelihood, Gaussian) else as_pytree(likelihood)
    if x_init is not None:
        x_init = doors.points(x_init, "x_init", shape=shape)
    score = as_score(score) if clip is None else clipped(sde, score, clip)
    return _run(
        keys, sde, score, held, rhos, stepper, x_init, shape=shape, steps=steps, exact=exact, moves=moves,
        trace=trace,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("shape", "steps", "exact", "moves", "trace"))
def _run(
    keys: Array,
    sde: LinearSDE,
    score: Score,
    likelihood: LogLikelihood,
    rhos: Array,
    stepper: Stepper,
    x_init: Array | None,
    *,
    shape: tuple[int, ...],
    steps: int,
    exact: bool,
    moves: int,
    trace: bool,
) -> Chain:
    spent = jnp.zeros((), jnp.int32)
    low = sde.mean_log_snr(jnp.asarray(sde.t_min))
    x = x_init
    if x is None:
        first = sde.inverse_log_snr(jnp.linspace(sde.mean_log_snr(jnp.asarray(sde.t_max)), low, steps + 1))
        drawn = sample(keys_lib.fold_in(keys, _START), sde, score, shape, stepper=stepper, times=_inside(sde, first))
        x, spent = drawn.x, drawn.nfe

    def sweep(state: tuple[Array, ...], inputs: tuple[Array, Array]) -> tuple[tuple, Array | None]:
        x, z, log_step, spent = state
        i, rho = inputs
        own = keys_lib.fold_in(keys, i)
        towards = keys_lib.fold_in(own, _LIKELIHOOD)
        if is_linear(likelihood):
            assert isinstance(likelihood, Gaussian)
            z = gaussian_draw(towards, likelihood, x, rho, exact=exact)
        else:  # step sizes learn less and less, so that the law is kept in the limit
            z, log_step = langevin_draw(towards, likelihood, x, z, rho, log_step, moves, 0.5 / jnp.sqrt(i + 1.0))
        ratios = jnp.linspace(-2.0 * jnp.log(rho), low, steps + 1)
        times = _inside(sde, sde.inverse_log_snr(ratios))
        begin = sde.scale(sde.alpha(times[0]), times[0], z)
        drawn = sample(own, sde, score, shape, stepper=stepper, times=times, x_init=begin)
        return (drawn.x, z, log_step, spent + drawn.nfe), drawn.x if trace else None

    log_step = jnp.full(shape[:1], jnp.log(0.3), x.dtype)
    (x, _, _, spent), kept = jax.lax.scan(sweep, (x, x, log_step, spent), (jnp.arange(len(rhos)), rhos))
    return Chain(x, spent, kept)


def _inside(sde: LinearSDE, times: Array) -> Array:
    return jnp.clip(times, sde.t_min, sde.t_max)


def _check_rho(sde: LinearSDE, rhos: Array, likelihood: LogLikelihood, shape: tuple[int, ...], exact: bool) -> None:
    linear = is_linear(likelihood)
    if exact and not linear:
        raise ValueError(
            "split_gibbs: exact=True needs likelihoods.gaussian of an operator of guidance.operators; leave it out, "
            "and take a small rho"
        )
    if not doors.known(rhos):
        return
    if not np.all(np.asarray(rhos) > 0):
        raise ValueError(f"split_gibbs: rho must be positive, got {np.asarray(rhos).min():.3g}")
    if doors.known(sde):
        low, high = (float(jnp.exp(-0.5 * sde.mean_log_snr(t))) for t in (sde.t_min, sde.t_max))
        if not low < float(rhos.min()) <= float(rhos.max()) <= high:
            raise ValueError(
                f"split_gibbs: rho is a noise-to-signal ratio of the process, between {low:.3g} and {high:.3g}, got "
                f"{float(rhos.min()):.3g} to {float(rhos.max()):.3g}"
            )
    if exact and doors.known(likelihood):
        assert isinstance(likelihood, Gaussian)
        assert isinstance(likelihood.operator, Operator)
        most = float(np.min(likelihood.sigma_y)) / float(norm_of(likelihood.operator, shape))
        if float(rhos.max()) > most * (1.0 + 1e-4):
            raise ValueError(
                f"split_gibbs: exact=True needs rho <= sigma_y / |A| = {most:.4g}, got {float(rhos.max()):.4g}: the "
                "likelihood cannot be narrowed by more than it is wide"
            )
