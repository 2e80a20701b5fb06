"""Score matching as a setting of a recipe: `matching: Annotated[Matching, MATCHING] = "none"`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from scorejax import objectives
from scorejax.experiment.config.parts import Seam
from scorejax.objectives.score_matching import StaticScore
from scorejax.runtime.errors import user_errors

Matching: TypeAlias = Any
"""An objective `(keys [b], score, x [b, ...]) -> loss [b]` with its settings, or its name."""


def none(keys: Array, score: StaticScore, x: Array) -> Array:
    """Train as the recipe does by itself."""
    raise NotImplementedError


TABLE: Mapping[str, Callable[..., Array]] = {"none": none, **objectives.MATCHINGS}
MATCHING = Seam(TABLE, "matching", "none")
REQUIRED_MATCHING = Seam(dict(objectives.MATCHINGS), "matching", "sliced")


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
