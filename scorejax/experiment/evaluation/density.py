"""The log-likelihood of examples under a model, in the units of the user: what evaluations and loaded runs share."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from scorejax import data, likelihood
from scorejax.experiment.model import Model
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.scores.observed import missing_log_prob, observed
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE
from scorejax.sdes.corruption import check_kind


class LogProb(NamedTuple):
    """Log-likelihoods in the units of the user, one for each example.

    Attributes:
        value: nats, `[B]`: the log density of floating numbers; of gray levels and other counted numbers the bound of
            their log probability that dequantization gives; NaN where `ok` is false.
        stderr: standard error of `value`, `[B]`: over the probes of floating numbers, over the passes of counted ones;
            NaN for one of them alone, zero where the trace is exact.
        bits_per_dim: `-value / (D log 2)`, `[B]`, with `D` the numbers of an example that are not missing.
        nfe: network evaluations, `[B]`.
        ok: whether the solver arrived, `[B]`.
    """

    value: Array
    stderr: Array
    bits_per_dim: Array
    nfe: Array
    ok: Array


def log_density(
    model: Model,
    space: data.Space,
    keys: Array,
    raw: Array,
    condition: Array | None,
    *,
    dequantizer: Partial | None,
    passes: int,
    **solver: Any,
) -> LogProb:
    """Return the log-likelihood of examples, by the model's own density or by the probability-flow ODE of its score.

    Args:
        model: with a score or a density.
        space: model space.
        keys: one for each example.
        raw: examples as the space encodes them, `[B, ...]`.
        condition: of each, for a model that takes one.
        dequantizer: of images, see `likelihood.Dequantizer`; None: uniform noise.
        passes: dequantizations of each example of counted numbers.
        solver: `divergence`, `probes`, `rtol` and more, as of `likelihood.log_prob`; without effect on a density of
            the model's own.
    """
    dimension = math.prod(raw.shape[1:])
    if isinstance(space, data.GrayLevels):
        value, stderr, nfe, ok = _of_images(model, space, keys, raw, condition, dequantizer, passes, solver)
    elif isinstance(space, data.Channels) and space.levels is not None:
        value, stderr, nfe, ok = _of_levels(model, space, keys, raw, condition, passes, solver)
    else:
        x = space.to_model(None, raw)
        value, stderr, nfe, ok = _of_vectors(model, x, keys, condition, solver)
        value += space.log_volumes(x)
        if model.observes:
            bits = -value / (jnp.log(2.0) * jnp.sum(jnp.isfinite(x).reshape(len(x), -1), axis=1))
            return LogProb(value, stderr, bits, nfe, ok)
    return LogProb(value, stderr, likelihood.bits_per_dim(value, dimension, 1.0), nfe, ok)


@functools.partial(jax.jit, static_argnames=("space", "passes", "solver"))
def compiled_log_density(
    model: Model,
    keys: Array,
    raw: Array,
    condition: Array | None,
    *,
    space: data.Space,
    passes: int,
    solver: tuple[tuple[str, Any], ...],
) -> LogProb:
    """Return `log_density` with uniform noise as a program that is compiled once for all weights."""
    return log_density(model, space, keys, raw, condition, dequantizer=None, passes=passes, **dict(solver))


def with_error(found: LogProb, of_log_z: float) -> LogProb:
    """Return the same with the error of a partition function, which all examples share."""
    if not of_log_z:
        return found
    return found._replace(stderr=jnp.hypot(jnp.nan_to_num(found.stderr), of_log_z))


def _of_vectors(
    model: Model, x: Array, keys: Array, condition: Array | None, solver: dict[str, Any]
) -> tuple[Array, Array, Array, Array]:
    """The density of model space, its standard error, the evaluations and whether the solver arrived."""
    if model.log_prob is not None:
        value = doors.per_row(x, model.log_prob(keys, x), "a model's log_prob")
        return value, jnp.zeros_like(value), jnp.ones(len(x), jnp.int32), jnp.isfinite(value)
    assert model.sde is not None  # a score counts only together with its process
    score = _score(model, condition)
    if model.observes:
        sde, known = check_kind(model.sde, LinearSDE, "the density of what is known"), jnp.isfinite(x)
        found = likelihood.log_prob(keys, sde, observed(sde, score, known), jnp.where(known, x, 0.0), **solver)
        missing = jnp.sum(~known.reshape(len(x), -1), axis=1)
        value = found.value - missing * missing_log_prob(sde, solver.get("prior", "marginal"))
        return value, found.stderr, found.nfe, found.ok
    found = likelihood.log_prob(keys, model.sde, score, x, **solver)
    return found.value, found.stderr, found.nfe, found.ok


def _of_levels(
    model: Model,
    space: data.Channels,
    keys: Array,
    raw: Array,
    condition: Array | None,
    passes: int,
    solver: dict[str, Any],
) -> tuple[Array, Array, Array, Array]:
    """The same of counted numbers: the mean over dequantizations of the density in the units of their levels."""
    values, evaluations, arrived = [], [], []
    for i in range(passes):
        x = space.to_model(keys_lib.fold_in(keys, 2 * i), raw)
        value, _, nfe, ok = _of_vectors(model, x, keys_lib.fold_in(keys, 2 * i + 1), condition, solver)
        values.append(value + space.log_volumes(x))
        evaluations.append(nfe)
        arrived.append(ok)
    found = jnp.stack(values)
    stderr = jnp.std(found, axis=0, ddof=1) / passes**0.5
    return jnp.mean(found, 0), stderr, sum(evaluations[1:], evaluations[0]), jnp.all(jnp.stack(arrived), 0)


def volumes(space: data.Space, raw: np.ndarray) -> np.ndarray:
    """The log of the volume of the user's unit cell at examples as they were sent, `[B]` or, where it is one, `[1]`."""
    dimension = math.prod(raw.shape[1:])
    if not isinstance(space, data.Channels) or space.map.affine:
        return np.asarray([space.log_volume(dimension)])
    return np.asarray(jax.jit(lambda sent: space.log_volumes(space.middle(sent)))(raw), np.float64)


def _of_images(
    model: Model,
    space: data.GrayLevels,
    keys: Array,
    raw: Array,
    condition: Array | None,
    dequantizer: Partial | None,
    passes: int,
    solver: dict[str, Any],
) -> tuple[Array, Array, Array, Array]:
    """The same of dequantized images, from bits/dim to nats."""
    noise: dict[str, Any] = {"dequantizer": dequantizer, "centered": space.centered, "passes": passes}
    nats = -math.prod(raw.shape[1:]) * math.log(2.0)
    if model.log_prob is not None:
        bits = likelihood.density_bits(keys, model.log_prob, raw, space.gray_levels, **noise)
        stderr, nfe, ok = jnp.full_like(bits, jnp.nan), jnp.ones(len(raw), jnp.int32), jnp.isfinite(bits)
    else:
        assert model.sde is not None
        bits, nfe, ok, stderr = likelihood.dequantized_bits(
            keys, model.sde, _score(model, condition), raw, space.gray_levels, **noise, **solver
        )
    return nats * bits, -nats * stderr, nfe, ok


def _score(model: Model, condition: Array | None) -> Score:
    return model.score_given(condition if model.conditional else None)
