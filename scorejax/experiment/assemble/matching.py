"""Score matching as a setting of a recipe: `matching: Annotated[Matching, MATCHING] = "none"`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from scorejax import objectives
from scorejax.experiment.config import Part
from scorejax.experiment.config.parts import Seam
from scorejax.objectives.score_matching import StaticScore
from scorejax.runtime.errors import ConfigError, user_errors

Matching: TypeAlias = Any
"""An objective `(keys [b], score, x [b, ...]) -> loss [b]` with its settings, or its name."""


def none(keys: Array, score: StaticScore, x: Array) -> Array:
    """Train as the recipe does by itself."""
    raise NotImplementedError


TABLE: Mapping[str, Callable[..., Array]] = {"none": none, **objectives.MATCHINGS}
MATCHING = Seam(TABLE, "matching", "none")
REQUIRED_MATCHING = Seam(dict(objectives.MATCHINGS), "matching", "sliced")


def level(part: Part, data_noise: float) -> float:
    """The deviation of the noise in the data whose density is learned: that of the recipe, or of its denoising.

    Args:
        part: the setting `matching` of the recipe.
        data_noise: that is added to the data first.

    Raises:
        ConfigError: both add some.
    """
    sigma = part.own().get("sigma", ())
    added = tuple(sigma) if isinstance(sigma, tuple | list) else (sigma,)
    if added and data_noise:
        raise ConfigError(
            f"recipe.data_noise = {data_noise:g} adds noise, and so does recipe.matching = 'denoising' with its sigma: "
            "set recipe.data_noise=0, or take another objective"
        )
    # A model of several levels at once has no level of its own.
    return data_noise or (float(added[0]) if len(added) == 1 else 0.0)


def chosen(matching: Matching) -> Callable[[Array, StaticScore, Array], Array] | None:
    """The objective of a setting; None for `none`.

    Raises:
        ConfigError: its settings do not fit.
    """
    if (matching if isinstance(matching, str) else matching.__name__) == "none":
        return None
    objective = TABLE[matching] if isinstance(matching, str) else matching
    with user_errors("recipe.matching"):  # found out here, not inside the compiled step
        point = jax.ShapeDtypeStruct((1, 2), jnp.float32)
        jax.eval_shape(lambda x: objective(jax.random.key(0), lambda x: x, x), point)
    return objective
