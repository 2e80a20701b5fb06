"""Fitting deep kernel exponential families, for all seeds at once: closed-form weights within gradient steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from benchmarks.slides.uci import Split
from scorejax.models import DeepKernel
from scorejax.models.deep_kernel import kernels
from scorejax.objectives import linear_family
from scorejax.objectives.linear_family import Moments, Terms

BASE_STD = 2.0
BLOCK = 120
"""Rows that are measured at once."""
RIDGES = np.logspace(-5, 1, 25)
MATCHINGS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "SM": ("exact", {}),
    "SSM-VR": ("sliced", {}),
    "SSM": ("sliced", {"variance_reduced": False}),
    "DSM": ("denoising", {}),
}
"""Of each row the form of the loss, and its options."""


class Fit(NamedTuple):
    """A fitted density.

    Attributes:
        loss: exact score matching loss of the test rows.
        log_likelihood: of the test rows, nats.
        error: standard error of its log Z, by importance sampling.
        ridge: which the validation rows chose.
        step: of the training, which they chose.
    """

    loss: float
    log_likelihood: float
    error: float
    ridge: float
    step: int


def log_base(x: Array) -> Array:
    """The log of N(0, 4 I), normalized."""
    return jnp.sum(jax.scipy.stats.norm.logpdf(x, scale=BASE_STD), axis=1)


def terms(matching: str, network: DeepKernel, params: Any, key: Array, x: Array, **more: Any) -> Terms:
    """The parabolas of a row of the table at `x`."""
    form, options = MATCHINGS[matching]
    return linear_family.FAMILIES[form](key, kernels(network, params, x.shape[1]), x, base=log_base, **options, **more)


@functools.lru_cache
def programs(
    matching: str, points: int, steps: int, half: int, lr: float, look_every: int, more: tuple[Any, ...]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The start and some steps of the training, for all seeds at once; tables of one dimension share them.

    A step finds the weights of one half of its batch in closed form, and follows the loss of the other half.
    """
    network = DeepKernel(points=points)
    optimizer = optax.chain(optax.clip_by_global_norm(100.0), optax.adam(optax.cosine_decay_schedule(lr, steps)))
    make = functools.partial(terms, matching, network, **dict(more))

    def init(key: Array, x: Array) -> tuple[Any, Any]:
        kernel = {**network.init(key, x[:1])["params"], "points": x[:points]}
        params = {"kernel": kernel, "log10_ridge": jnp.float32(-2.0)}
        return params, optimizer.init(params)

    def loss(params: Any, key: Array, x: Array) -> Array:
        keys = jax.random.split(key, len(x))
        alpha = make(params["kernel"], keys[:half], x[:half]).moments().solve(10 ** params["log10_ridge"])
        return jnp.mean(make(params["kernel"], keys[half:], x[half:]).loss(alpha))

    def step(carry: Any, now: Any) -> tuple[Any, None]:
        params, state = carry
        change, state = optimizer.update(jax.grad(loss)(params, *now), state, params)
        return (optax.apply_updates(params, change), state), None

    def some(params: Any, state: Any, key: Array, batches: Array, own: Array, valid: Array) -> tuple[Any, Any, Array]:
        """Steps with `batches [look_every, 2 half, D]`, and the exact loss of validation rows after them."""
        (params, state), _ = jax.lax.scan(step, (params, state), (jax.random.split(key, look_every), batches))
        alpha = make(params["kernel"], key, own).moments().solve(10 ** params["log10_ridge"])
        return params, state, jnp.mean(terms("SM", network, params["kernel"], key, valid).loss(alpha))

    return jax.jit(jax.vmap(init)), jax.jit(jax.vmap(some))


def fit(
    matching: str,
    splits: Sequence[Split],
    *,
    points: int,
    steps: int,
    half: int,
    lr: float,
    look_every: int,
    draws: int,
    **more: Any,
) -> list[dict[str, float]]:
    """Train on each split, its own seed; choose step and ridge by the exact loss of validation rows."""
    network = DeepKernel(points=points)
    init, some = programs(matching, points, steps, half, lr, look_every, tuple(more.items()))
    keys = jax.random.split(jax.random.key(0), len(splits))
    rng = np.random.default_rng(0)

    def rows(part: str, *shape: int) -> np.ndarray:
        """Rows of every split at random, `[seeds, *shape, D]`."""
        count = len(getattr(splits[0], part))
        picked = np.stack([rng.permuted(np.tile(np.arange(count), (math.prod(shape[:-1]), 1)), axis=1) for _ in splits])
        picked = picked[..., : shape[-1]].reshape(len(splits), *shape)
        return np.stack([getattr(split, part)[own] for split, own in zip(splits, picked, strict=True)])

    params, state = init(keys, rows("train", max(points, BLOCK)))
    own, valid = rows("train", 2 * BLOCK), rows("valid", BLOCK)
    best, lowest, chosen = params, np.full(len(splits), np.inf), np.zeros(len(splits), int)
    for i in range(steps // look_every):
        keys_now = jax.vmap(jax.random.fold_in, (0, None))(keys, i + 1)
        params, state, value = some(params, state, keys_now, rows("train", look_every, 2 * half), own, valid)
        better = np.asarray(value) < lowest
        lowest, chosen = np.where(better, value, lowest), np.where(better, (i + 1) * look_every, chosen)
        pick = lambda new, old, better=better: jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)  # noqa: E731
        best = jax.tree.map(pick, params, best)
    found = []
    for i, split in enumerate(splits):
        kernel = jax.tree.map(lambda leaf, i=i: leaf[i], best)["kernel"]
        found.append(_finished(matching, network, kernel, keys[i], split, int(chosen[i]), draws, more)._asdict())
    return found


def _finished(
    matching: str,
    network: DeepKernel,
    kernel: Any,
    key: Array,
    split: Split,
    step: int,
    draws: int,
    more: dict[str, Any],
) -> Fit:
    """The weights from all training rows, with the ridge that the validation rows like best; then the test rows."""
    own = _moments(matching, network, kernel, key, split.train, 1 if matching == "SM" else 5, more)
    values, vectors = np.linalg.eigh(np.asarray(own.gram, np.float64))
    slope = vectors.T @ np.asarray(own.slope, np.float64)
    alphas = np.stack([-vectors @ (slope / (np.maximum(values, 0) + ridge)) for ridge in RIDGES]).astype(np.float32)
    losses, on_test = (_exact(network, kernel, rows, alphas) for rows in (split.valid, split.test))
    best = int(np.argmin(losses))
    ridge, alpha = RIDGES[best], jnp.asarray(alphas[best])
    log_z, error = _log_z(network, kernel, alpha, key, split.train.shape[1], draws)
    log_p = (
        log_base(jnp.asarray(split.test))
        + kernels(network, kernel, split.test.shape[1])(jnp.asarray(split.test)) @ alpha
    )
    return Fit(float(on_test[best]), float(jnp.mean(log_p) - log_z), float(error), float(ridge), step)


@functools.partial(jax.jit, static_argnums=(0, 1, 6))
def _moments_of_block(
    matching: str, network: DeepKernel, kernel: Any, key: Array, x: Array, weights: Array, more: tuple[Any, ...]
) -> Moments:
    return terms(matching, network, kernel, key, x, **dict(more)).moments(weights)


def _moments(
    matching: str, network: DeepKernel, kernel: Any, key: Array, x: np.ndarray, passes: int, more: dict[str, Any]
) -> Moments:
    """The means over all rows, block by block; random losses are averaged over several passes."""
    blocks = -(-len(x) // BLOCK)
    rows = np.resize(np.arange(len(x)), (blocks, BLOCK))  # the last block is filled up with rows of no weight
    weights = (np.arange(rows.size) < len(x)).reshape(rows.shape) / np.float32(len(x) * passes)
    found = []
    for i in range(passes):
        for j in range(blocks):
            own = jax.random.fold_in(jax.random.fold_in(key, i), j)
            found.append(_moments_of_block(matching, network, kernel, own, x[rows[j]], weights[j], tuple(more.items())))
    return jax.tree.map(lambda *leaves: sum(leaves), *found)


@functools.partial(jax.jit, static_argnums=0)
def _exact_of_block(network: DeepKernel, kernel: Any, x: Array, alphas: Array) -> Array:
    return jax.vmap(terms("SM", network, kernel, jax.random.key(0), x).loss)(alphas)


def _exact(network: DeepKernel, kernel: Any, x: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """The mean exact loss of all rows with each of the weights.

    The moments would give it too, but lose the digits of large weights that cancel each other.
    """
    rows = np.resize(np.arange(len(x)), (-(-len(x) // BLOCK), BLOCK))
    losses = [np.asarray(_exact_of_block(network, kernel, x[block], alphas)) for block in rows]
    return np.concatenate(losses, axis=1)[:, : len(x)].mean(axis=1, dtype=np.float64)


@functools.partial(jax.jit, static_argnums=(0, 4, 5))
def _log_z(network: DeepKernel, kernel: Any, alpha: Array, key: Array, dimension: int, draws: int) -> tuple:
    """`log E exp(alpha . k)` over the base measure, and its standard error."""
    block = 5000

    def body(_: None, key: Array) -> tuple[None, Array]:
        x = BASE_STD * jax.random.normal(key, (block, dimension))
        return None, kernels(network, kernel, dimension)(x) @ alpha

    log_w = jax.lax.scan(body, None, jax.random.split(key, draws // block))[1].reshape(-1)
    log_mean = jax.scipy.special.logsumexp(log_w) - jnp.log(log_w.size)
    return log_mean, jnp.std(jnp.exp(log_w - log_mean)) / log_w.size**0.5
