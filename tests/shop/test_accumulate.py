"""A gradient accumulated over pieces of a batch is that of the whole batch, on any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from runs import small, toy

from scorejax import data
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.training.train import init_state, make_update, train
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError

CHEAP = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def stepped(lanes, pieces):
    """The weights before and after one step of plain gradient descent, in as many lanes as a pod would have devices."""
    recipe = make_recipe(small("objective.time_sampling=stratified", f"train.accumulate={pieces}"))
    optimizer, examples = optax.sgd(1.0), recipe.given.examples
    feeder = data.feed(examples, 16, 0, parts=lanes, local=tuple(range(lanes)), sharding=parallel.replicated())
    update = make_update(recipe, optimizer, feeder)
    mapped = jax.vmap(lambda lane, *given: update(*given), axis_name=parallel.AXIS, in_axes=(0, None, None))

    def step(key):
        state = init_state(recipe, optimizer, key)
        after, metrics = mapped(jnp.arange(lanes), state, feeder.payload(0, 1))
        return state.params, jax.tree.map(lambda leaf: leaf[0], (after.params, metrics))

    return jax.jit(step).lower(jax.random.key(0)).compile(compiler_options=CHEAP)(jax.random.key(0))


@pytest.fixture(scope="module")
def whole():
    return stepped(1, 1)


@pytest.mark.parametrize(("lanes", "pieces"), [(1, 4), pytest.param(8, 2, marks=pytest.mark.slow)])
def test_an_accumulated_gradient_is_that_of_the_whole_batch(whole, lanes, pieces):
    (before, (after, metrics)), (_, (other, found)) = whole, stepped(lanes, pieces)
    assert found["loss"] == pytest.approx(float(metrics["loss"]), rel=1e-6)
    moved = jax.tree.map(lambda a, b: np.asarray(a - b, np.float64), before, after)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(moved))
    assert largest > 1e-3
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * max(1.0, largest))


def test_what_cannot_be_cut_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.accumulate = 3 equal pieces"):
        train(small("train.accumulate=3"), tmp_path)
    with pytest.raises(ConfigError, match="remembers something from batch"):
        train(toy("Remembering", "train.accumulate=2"), tmp_path)
