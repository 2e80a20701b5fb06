"""Several draws of each image from one posterior: their mean and spread, and how often they hold the truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import metrics
from scorejax.data import Space
from scorejax.experiment.evaluation.evaluation import Result
from scorejax.metrics.calibration import ranks
from scorejax.numerics import keys as keys_lib
from scorejax.pictures import save_ranks
from scorejax.samplers import Sample

_DRAWS, _TIES = 2**31 + 16, 2**31 + 7  # streams of an image's key apart from those of tasks; the first has one a draw


def drawn(keys: Array, draw: Callable[[Array], Sample], draws: int) -> Sample:
    """Return `draws` draws of each image, `[draws, B, ...]`, one after the other; the first is that of a single one.

    Args:
        keys: one per image, `[B]`.
        draw: `keys -> Sample`.
        draws: how many.
    """
    every = [keys, *(keys_lib.fold_in(keys, _DRAWS + i) for i in range(1, draws))]
    return jax.lax.map(draw, jnp.stack(every))


def rows(keys: Array, x: Array, space: Space, truth: Array | None) -> dict[str, Array]:
    """Return mean and standard deviation of draws `x [draws, B, ...]`, in gray levels, and the ranks of the truth.

    A rank is that of the gray level of the truth among those of the draws, ties broken at random; -1 where all of them
    and the truth are the same, which says nothing.
    """
    shown = jax.vmap(space.from_model)(x)
    levels = shown.astype(jnp.float32)
    found = {"mean": space.from_model(jnp.mean(x, axis=0)), "spread": jnp.std(levels, axis=0, ddof=1)}
    if truth is not None:
        ties = keys_lib.fold_in(keys, _TIES)
        of_truth = jax.vmap(ranks, in_axes=(0, 0, 1))(ties, truth.astype(jnp.float32), levels)
        same = jnp.all(shown == truth, axis=0)
        found["rank"] = jnp.where(same, -1, of_truth).astype(jnp.int16)
    return found


def measures(found: dict[str, np.ndarray], draws: int) -> Result:
    """Return the root mean square spread, in gray levels, and how often the range of the draws holds the truth.

    Of draws of the posterior the least and the greatest hold it with the probability `(draws - 1) / (draws + 1)`.
    """
    squares = (found["spread"].astype(np.float64) ** 2).reshape(len(found["spread"]), -1)
    result: Result = {"draws": draws, "spread": metrics.mean_and_error(np.sqrt(squares.mean(axis=1)))}
    if "rank" in found:
        of_rows = found["rank"].reshape(len(found["rank"]), -1)
        decided, inside = of_rows >= 0, (of_rows > 0) & (of_rows < draws)
        some = decided.any(axis=1)
        result["coverage"] = metrics.mean_and_error(inside[some].sum(axis=1) / decided[some].sum(axis=1))
        result["nominal_coverage"] = (draws - 1) / (draws + 1)
        result["pixels"] = float(decided.mean())
    return result


def lines(result: Result) -> list[str]:
    """Return what is said of the draws."""
    own = result["posterior"]
    found = [f"  {own['draws']} draws    spread {own['spread']['mean']:.4g} gray levels"]
    if "coverage" in own:
        value = own["coverage"]
        found.append(
            f"  coverage    the range of the draws holds {value['mean']:.1%} +- {value['standard_error']:.1%} of the "
            f"pixels, of draws of the posterior {own['nominal_coverage']:.1%}"
        )
    return found


def shown(found: dict[str, np.ndarray], levels: int) -> list[np.ndarray]:
    """Return the mean, and the spread as gray levels, white where it is largest of all."""
    most = max(float(found["spread"].max()), 1e-6)
    spread = np.round(found["spread"] / most * (levels - 1)).astype(found["mean"].dtype)
    return [found["mean"], spread]


def save(path: Path, found: dict[str, np.ndarray], draws: int) -> None:
    """Write a histogram of the ranks of the truth."""
    counts = np.bincount(found["rank"][found["rank"] >= 0].ravel(), minlength=draws + 1)
    save_ranks(path, counts)
