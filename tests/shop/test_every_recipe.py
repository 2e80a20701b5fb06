"""The contract of recipes: what the loop relies on holds for every kind of training that there is.

A new recipe is tested by its row in `ROWS`; one without a row fails.
"""

import cheap_keys
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax import data
from scorejax.experiment import checks, config
from scorejax.experiment.model import CAPABILITIES
from scorejax.experiment.recipe import Batch, make_recipe
from scorejax.experiment.recipes import BESIDE, RECIPES
from scorejax.experiment.trained import Trained
from scorejax.runtime import parallel

ROWS = {  # a config of seconds for each kind of training
    "score_matching": "score_matching:tiny",
    "score": "vp_moons:tiny",
    "classifier": "classifier:moons,tiny",
    "flow": "flow:tiny",
    "energy": "energy:tiny",
    "joint_energy": "joint_energy:tiny",
    "adversarial": "adversarial:tiny",
    "autoencoder": "autoencoder:implicit,tiny",
    "feature_network": "feature_network:digits,tiny",
    "variance_head": "vp_moons:tiny",
    "dequantizer": "vp_digits:tiny",
    "kernel_energy": "kernel_energy:tiny",
    "restoration": "cold_mnist:moons,tiny",
}
SIZE = 4


def test_every_recipe_has_its_row():
    assert set(ROWS) == set(RECIPES)


def initial(recipe, seed):
    """First weights, by a program of their own, traced anew."""
    return jax.jit(lambda key: recipe.init(key))(cheap_keys.key(seed))


def recipe_of(name):
    """The recipe with settings of seconds; one that is trained next to a model gets a model with random weights."""
    chosen = config.load(ROWS[name])
    if name not in BESIDE:
        return make_recipe(chosen)
    model = make_recipe(chosen)
    beside = Trained(chosen, model, initial(model, 9), 1).beside
    own = config.copy(chosen)
    own.recipe = {"name": name, **chosen[BESIDE[name].section].own()}
    return make_recipe(own, model.given.examples, beside)


def moved(params):
    """The weights with noise from a hat."""
    hat = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + np.asarray(0.1 * hat.standard_normal(leaf.shape), leaf.dtype), params)


LONG = (*BESIDE, "feature_network")  # to compile


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in sorted(ROWS)],
)
def trained(request):
    """A recipe, its first weights, its first carry, a batch and keys; and its loss as a compiled function."""
    recipe = recipe_of(request.param)
    examples = recipe.given.examples
    params, carry = initial(recipe, 0), jax.jit(recipe.carry)(cheap_keys.key(1))
    params = moved(jax.device_get(params))  # some networks begin at zero, where no loss depends on the data
    raw = jnp.asarray(np.asarray(examples.examples[:SIZE]))
    keys = jax.random.split(cheap_keys.key(2), SIZE)
    x = data.to_model(keys, raw, examples.gray_levels)
    labels = None if examples.labels is None else jnp.asarray(examples.labels[:SIZE])
    batch = Batch(x, raw, labels, jnp.int32(0), cheap_keys.key(3), cheap_keys.key(4), jnp.int32(0), 1)

    @jax.jit
    def loss(params, carry, batch, keys):
        """The loss as the loop calls it: with an axis of devices, here one."""
        one = jax.tree.map(lambda leaf: leaf[None], (params, carry, batch._replace(parts=None), keys))
        mapped = jax.vmap(lambda p, c, b, k: recipe.loss(p, c, b._replace(parts=1), k), axis_name=parallel.AXIS)
        return jax.tree.map(lambda leaf: leaf[0], mapped(*one))

    return recipe, params, carry, batch, keys, loss


def test_a_recipe_passes_the_checks_of_its_config(trained):
    recipe = trained[0]
    if type(recipe) not in BESIDE.values():
        checks.check(recipe.config)
    stored = config.from_dict(config.to_dict(recipe.config))
    assert config.to_dict(stored) == config.to_dict(recipe.config)


def test_weights_depend_on_the_key_alone_and_have_the_shapes_that_are_restored(trained):
    recipe = trained[0]
    params, again = (initial(recipe, 0) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(again), strict=True))
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), recipe.shapes())
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params)


@pytest.mark.slow
def test_a_loss_is_one_finite_number_for_each_example_and_the_carry_keeps_its_form(trained):
    _, params, carry, batch, keys, loss = trained
    losses, after, metrics = loss(params, carry, batch, keys)
    assert losses.shape == (SIZE,)
    assert bool(jnp.all(jnp.isfinite(losses)))
    form = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)  # noqa: E731
    assert form(after) == form(carry)
    assert all(value.shape in ((), (SIZE,)) and bool(jnp.all(jnp.isfinite(value))) for value in metrics.values())


def test_the_loss_of_an_example_does_not_depend_on_its_batch_mates(trained):
    _, params, carry, batch, keys, loss = trained
    other = batch._replace(x=batch.x.at[1].set(batch.x[0]), raw=batch.raw.at[1].set(batch.raw[0]))
    before, after = loss(params, carry, batch, keys)[0], loss(params, carry, other, keys)[0]
    mates = np.arange(SIZE) != 1
    np.testing.assert_allclose(after[mates], before[mates], rtol=2e-4, atol=1e-5)
    assert not np.isclose(after[1], before[1], rtol=1e-6)


def test_a_model_says_what_it_can_by_pytrees_that_carry_its_weights(trained):
    recipe, params, *_ = trained
    model = recipe.model(params)
    assert model.can()
    for name in model.can():
        assert name in CAPABILITIES
        assert isinstance(getattr(model, name), jax.tree_util.Partial), name
