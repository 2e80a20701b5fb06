"""Metropolis-adjusted Langevin moves along a score: draws of an approximate guidance become draws of the posterior.

A score is all that they need: the change of the log density between two points is the line integral of the score,

    log p(x') - log p(x) = int_0^1 s(x + u (x' - x)) . (x' - x) du,

by Gauss and Legendre's nodes. For the score of a density it does not depend on the path; for a network's, which need
not be a gradient, the acceptance is as good as the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance.potentials import Evaluation, LogLikelihood, Potential
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Positive
from scorejax.numerics.trees import as_pytree, register_dataclass, static
from scorejax.samplers.chains import langevin_step
from scorejax.samplers.stepper import Step, Stepper
from scorejax.scores.predictions import Score, as_score, tweedie
from scorejax.sdes.corruption import check_kind
from scorejax.sdes.linear import LinearSDE

_ACCEPT = 1  # stream of a move's key; 0 is its noise
_LEVEL = 2**32 - 5  # stream of the noise that points are brought to the level with
TARGET = 0.75
"""The share of accepted moves that step sizes are adapted to: above the best 0.57 of independent coordinates, since
posteriors are narrower in some directions than in others."""


class Chains(NamedTuple):
    """Metropolis-adjusted chains.

    Attributes:
        x: points at the level, `[B, ...]`.
        at: potential and scores there.
        log_step: logarithm of the step sizes, `[B]`.
        accepted: how many moves were taken, `[B]`.
        moves: how many were made.
    """

    x: Array
    at: Evaluation
    log_step: Array
    accepted: Array
    moves: Array


class Refined(NamedTuple):
    """What `refine` returns.

    Attributes:
        x: points, `[B, ...]`.
        acceptance: share of the moves that were taken, of those with a fixed step size, `[B]`.
        step: step size, `[B]`.
        nfe: evaluations of the network, each on the whole batch.
    """

    x: Array
    acceptance: Array
    step: Array
    nfe: Array


@register_dataclass
@dataclass(frozen=True)
class AtData:
    """The likelihood of `x / alpha`, at a level whose noise is small next to all that matters."""

    sde: LinearSDE
    prior: Score
    log_likelihood: LogLikelihood

    def evaluate(self, x: Array, t: Array) -> Evaluation:
        """Return its logarithm, the prior's score, and that with its gradient."""
        prior = self.prior(x, t)

        def value(x: Array) -> Array:
            data = self.sde.scale(1.0 / self.sde.alpha(t), t, x)
            return doors.per_row(x, self.log_likelihood(data), "a log-likelihood")

        log_value, pull = jax.vjp(value, x)
        return Evaluation(log_value, prior, prior + pull(jnp.ones_like(log_value))[0])


def line_integral(score: Score, x: Array, there: Array, t: Array, nodes: int) -> Array:
    """Return `int_0^1 s(x + u (x' - x), t) . (x' - x) du`, `[B]`, by `nodes` points of Gauss and Legendre."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    along = there - x

    def one(u: Array) -> Array:
        return jnp.sum((score(x + u * along, t) * along).reshape(len(x), -1), axis=1)

    values = jax.vmap(one)(jnp.asarray(0.5 + 0.5 * places, x.dtype))
    return jnp.asarray(0.5 * weights, x.dtype) @ values


def move(keys: Array, potential: Potential | AtData, at: Chains, t: Array, nodes: int) -> tuple[Chains, Array]:
    """Make one move at the level of the times `t [B]`; return the chains and whether each accepted it.

    x' = x + h g + sqrt(2 h) z,  g = s + grad log psi,   accepted with the probability min(1, e^a),
    a = int s . dx + log psi(x') - log psi(x) + log q(x | x') - log q(x' | x)
    """
    step = jnp.exp(at.log_step)
    noise = keys_lib.normal(keys, at.x.shape, at.x.dtype)
    x = langevin_step(at.x, at.at.guided, step, jnp.sqrt(2.0 * step), noise)
    there = potential.evaluate(x, t)
    wide = step.reshape(-1, *[1] * (x.ndim - 1))
    back = _square(at.x - x - wide * there.guided) / (4.0 * step)
    gained = line_integral(potential.prior, at.x, x, t, nodes) + there.log_value - at.at.log_value
    excess = gained - back + 0.5 * _square(noise)
    patience = -jnp.log1p(-keys_lib.uniform(keys_lib.fold_in(keys, _ACCEPT), (len(x),)))
    taken = excess > -patience  # false for NaN

    def chosen(new: Array, old: Array) -> Array:
        return jnp.where(taken.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    x, found = jax.tree.map(chosen, (x, there), (at.x, at.at))
    return Chains(x, found, at.log_step, at.accepted + taken, at.moves + 1), taken


@register_dataclass
@dataclass(frozen=True)
class MALA(Stepper):
    """Moves of fixed size at the time that a predictor reached; as a stepper, at the cleanest level."""

    stays: ClassVar[bool] = True
    potential: Potential | LogLikelihood
    step_size: float | Array
    steps: int = static(default=1)
    nodes: int = static(default=4)

    def init(self, sde: LinearSDE, x: Array, times: Array) -> Array:
        return jnp.zeros(len(x), jnp.result_type(float))

    def step(self, keys: Array, sde: LinearSDE, score: Score, x: Array, t: Array, s: Array, memory: Array) -> Step:
        times = jnp.broadcast_to(t, (len(x),))
        potential = _target(sde, score, self.potential)
        log_step = jnp.broadcast_to(jnp.log(jnp.asarray(self.step_size, x.dtype)), (len(x),))
        at = _begin(potential, x, times, log_step)
        at = jax.lax.fori_loop(
            0, self.steps, lambda i, at: move(keys_lib.fold_in(keys, i), potential, at, times, self.nodes)[0], at
        )
        return Step(at.x, at.accepted / self.steps, 1 + self.steps * (1 + self.nodes))


def mala(potential: Potential | LogLikelihood, step: Positive = 1e-3, steps: Count = 1, nodes: Count = 4) -> MALA:
    """Return a corrector: Metropolis-adjusted Langevin moves towards `p_t(x) psi_t(x)` after each step of a sampler.

    Its memory is the share of the moves that were accepted. `refine` makes such moves once, at the end.

    Args:
        potential: of `guidance.potential`; or a log-likelihood, which is taken at `x / alpha` and is right for the
            last, small levels of noise alone.
        step: `h` of the moves `x + h g + sqrt(2 h) z`, in squared model units.
        steps: moves at each time.
        nodes: of the line integral; each is an evaluation of the network.

    Raises:
        ValueError: unless step is positive, and there is a move and a node.
    """
    _check("mala", step, steps, nodes)
    held = potential if isinstance(potential, Potential) else as_pytree(potential)
    return MALA(held, step, steps, nodes)


def refine(
    key: Array,
    sde: LinearSDE,
    score: Score,
    x: Array,
    log_likelihood: LogLikelihood,
    *,
    steps: int = 50,
    step: float | Array | None = None,
    noise: float = 5e-3,
    nodes: int = 4,
    denoise: bool = True,
    start: int | Array = 0,
) -> Refined:
    """Move draws of an approximate posterior towards the posterior, as the last stage of any guided sampler.

    At a level whose noise is small, Metropolis-adjusted Langevin moves keep the law `p_t(x) p(y | x / alpha)`, which
    is the posterior but for that noise. They mend means, widths and correlations of a mode within some tens of moves;
    they do not cross between modes, whose shares stay as they are.

    Args:
        key: a typed PRNG key, or one per point `[B]`.
        sde: the forward process.
        score: the score of the prior, not of the posterior.
        x: draws of data, `[B, ...]`.
        log_likelihood: of `guidance.likelihoods`, or any function `x0 [B, ...] -> [B]` in nats.
        steps: moves.
        step: `h` of the moves, in squared model units; if not given, each chain finds its own in the first half of
            its moves, whose law is then not kept exactly, and keeps it in the second.
        noise: the level, as noise-to-signal ratio `sigma / alpha`, in units of the data; at least that of `sde.t_min`.
        nodes: of the line integral; a move costs `nodes + 1` evaluations of the network.
        denoise: return the posterior means of the data at the level; else `x / alpha`.
        start: index of the first point under one key.

    Raises:
        ValueError: on points that are no floating numbers, or unless steps, step, noise and nodes are positive.
    """
    check_kind(sde, LinearSDE, "posterior.refine")
    x = doors.points(x)
    _check("posterior.refine", 1.0 if step is None else step, steps, nodes)
    if not noise > 0:
        raise ValueError(f"posterior.refine: noise must be positive, got {noise}")
    ratio = jnp.minimum(-2.0 * jnp.log(noise), sde.mean_log_snr(sde.t_min))
    t = jnp.clip(sde.inverse_log_snr(ratio), sde.t_min, sde.t_max)
    keys = keys_lib.per_example(key, x.shape[0], start)
    return _refine(
        keys, sde, as_score(score), x, as_pytree(log_likelihood), t, step, steps=steps, nodes=nodes, denoise=denoise
    )


@partial(jax.jit, static_argnames=("steps", "nodes", "denoise"))
def _refine(
    keys: Array,
    sde: LinearSDE,
    score: Score,
    x0: Array,
    log_likelihood: LogLikelihood,
    t: Array,
    step: float | Array | None,
    *,
    steps: int,
    nodes: int,
    denoise: bool,
) -> Refined:
    size = len(x0)
    t = jnp.broadcast_to(t, (size,)).astype(x0.dtype)
    x = sde.perturb(x0, t, keys_lib.normal(keys_lib.fold_in(keys, _LEVEL), x0.shape, x0.dtype))
    potential = AtData(sde, score, log_likelihood)
    # a first guess that is far too small: the width of the level itself
    variance = sde.variance(t)
    first = variance.reshape(size, -1).mean(axis=1) if step is None else jnp.asarray(step, x.dtype)
    at = _begin(potential, x, t, jnp.broadcast_to(jnp.log(first), (size,)))
    learning = steps // 2 if step is None else 0

    def learn(i: Array, state: tuple[Chains, Array]) -> tuple[Chains, Array]:
        at, total = state
        at, taken = move(keys_lib.fold_in(keys, i), potential, at, t, nodes)
        # large changes while the scale is looked for, then smaller ones, whose mean over the second half is kept
        gain = jnp.where(i < learning // 2, 2.0, 0.7)
        log_step = at.log_step + gain * (taken - TARGET)
        return at._replace(log_step=log_step), total + jnp.where(i < learning // 2, 0.0, log_step)

    if learning > 1:
        at, total = jax.lax.fori_loop(0, learning, learn, (at, jnp.zeros_like(at.log_step)))
        at = at._replace(log_step=total / (learning - learning // 2))
    at = at._replace(accepted=jnp.zeros_like(at.accepted), moves=jnp.zeros_like(at.moves))
    at = jax.lax.fori_loop(
        learning, steps, lambda i, at: move(keys_lib.fold_in(keys, i), potential, at, t, nodes)[0], at
    )
    data = tweedie(sde, at.x, t, at.at.prior) if denoise else sde.scale(1.0 / sde.alpha(t), t, at.x)
    return Refined(data, at.accepted / at.moves, jnp.exp(at.log_step), jnp.int32(1 + steps * (1 + nodes)))


def _target(sde: LinearSDE, score: Score, potential: Potential | LogLikelihood) -> Potential | AtData:
    return potential if isinstance(potential, Potential) else AtData(sde, as_score(score), potential)


def _begin(potential: Potential | AtData, x: Array, t: Array, log_step: Array) -> Chains:
    none = jnp.zeros(len(x), jnp.result_type(float))
    return Chains(x, potential.evaluate(x, t), log_step, none, jnp.zeros((), jnp.result_type(float)))


def _square(x: Array) -> Array:
    return jnp.sum(x.reshape(len(x), -1) ** 2, axis=1)


def _check(name: str, step: float | Array, steps: int, nodes: int) -> None:
    if steps < 1 or nodes < 1 or (doors.known(step) and not np.all(np.asarray(step) > 0)):
        raise ValueError(
            f"{name} needs step > 0, steps >= 1 and nodes >= 1, got step={step}, steps={steps}, nodes={nodes}"
        )
