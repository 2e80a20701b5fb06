"""Networks with made-up weights: no compiled initialisation, and no layer that starts at zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def made_up_params(model, shape, labels=None, **kwargs):
    """Parameters of unit gain, from numpy, for inputs of `shape`; `labels=()` for a network of one argument."""
    more = (jnp.ones(shape[0]),) if labels is None else labels
    tree = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape), *more, **kwargs)["params"]
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        z = rng.standard_normal(leaf.shape).astype(np.float32)
        if leaf.ndim > 1:
            return z / np.sqrt(np.prod(leaf.shape[:-1]), dtype=np.float32)
        return 1 + 0.1 * z if path[-1].key == "scale" else 0.1 * z

    return jax.tree_util.tree_map_with_path(draw, tree)


@pytest.fixture(scope="session")
def make_params():
    return made_up_params
