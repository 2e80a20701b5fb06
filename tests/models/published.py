"""Networks as they were published, and how many numbers are trained in them."""

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from scorejax.models import no_condition

FROZEN = ("W", "frequencies", "phases")
"""Random numbers of Fourier features, which are kept with the parameters and not trained."""


def count(model, shape):
    """Numbers that are trained, of a network of examples of this shape; nothing is allocated."""
    none = no_condition(model) if getattr(model, "role", "") == "scores" else None
    given = [jax.ShapeDtypeStruct((1, *shape), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)]
    given += [] if none is None else [jax.ShapeDtypeStruct(none.shape, none.dtype)]
    leaves = flatten_dict(jax.eval_shape(model.init, jax.random.key(0), *given)["params"])
    return sum(leaf.size for path, leaf in leaves.items() if path[-1] not in FROZEN)
