"""Laws of the recipe whose weights are solved for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scorejax.config import base

from scorejax.data import Dataset
from scorejax.experiment.recipe import Batch, make_recipe
from scorejax.objectives.linear_family import Moments
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError

B = 6
POINTS = np.random.default_rng(0).standard_normal((B, 2)).astype(np.float32)


def made(recipe="kernel_energy:remembered=8", steps=10):
    config = base()
    config.recipe, config.model = recipe, "deep_kernel:points=3:features=4:depth=1:kernels=1"
    config.train.steps = steps
    return make_recipe(config, Dataset("points", POINTS))


@pytest.mark.slow
def test_the_loss_is_that_of_weights_from_earlier_examples_and_the_moments_follow_those_of_the_data():
    recipe = made()
    params, carry = recipe.init(jax.random.key(0)), recipe.carry(jax.random.key(1))
    params = jax.tree.map(lambda leaf: leaf + 0.3, params)
    key = jax.random.key(2)

    def one(params, x):
        batch = Batch(x, x, None, jnp.int32(0), key, key, jnp.int32(0), 1)
        losses, latest, _ = recipe.loss(params, carry, batch, jax.random.split(key, B))
        return jnp.mean(losses), (losses, latest)

    step = jax.vmap(jax.grad(one, has_aux=True), in_axes=(None, 0), axis_name=parallel.AXIS)
    gradient, (losses, latest) = jax.tree.map(lambda leaf: leaf[0], jax.jit(step)(params, POINTS[None]))
    np.testing.assert_array_equal(latest, np.concatenate([carry, POINTS])[-8:])

    @jax.jit
    def expected(params):
        kernel = params["kernel"]
        form = lambda x: recipe.matching(None, recipe.law.features(kernel["network"]), x, base=recipe.law.log_base)  # noqa: E731
        alpha = form(carry).moments().solve(jnp.exp(kernel["log_ridge"]))
        return form(jnp.asarray(POINTS)).loss(alpha), form(jnp.asarray(POINTS)).moments()

    by_hand, moments = expected(params)
    np.testing.assert_allclose(losses, by_hand, rtol=1e-4)
    for name in ("gram", "slope"):
        np.testing.assert_allclose(
            gradient["moments"][name], params["moments"][name] - getattr(moments, name), rtol=1e-3, atol=1e-5
        )
    alpha = Moments(params["moments"]["gram"], params["moments"]["slope"], 0.0).solve(
        jnp.exp(params["kernel"]["log_ridge"])
    )
    energy = -recipe.law.log_base(POINTS) - recipe.law.features(params["kernel"]["network"])(POINTS) @ alpha
    np.testing.assert_allclose(recipe.model(params).energy(POINTS), energy, rtol=1e-5)


def test_at_the_end_the_kernel_stands_still_and_the_moments_are_means():
    recipe = made("kernel_energy:settled=0.5")
    optimizer = recipe.optimizer(optax.sgd(1.0))
    params = {"kernel": jnp.zeros(1), "moments": jnp.zeros(1)}

    @jax.jit
    def step(carry, value):
        params, state = carry
        gradient = {"kernel": jnp.ones(1), "moments": params["moments"] - value}
        change, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, change), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(10.0))
    assert float(params["kernel"][0]) == -5  # one for each of the first five steps
    assert float(params["moments"][0]) == pytest.approx(7)  # the mean of 5, 6, 7, 8, 9


def test_settings_that_do_not_fit_the_form_are_refused():
    with pytest.raises(ConfigError, match="sigma"):
        made("kernel_energy:matching=denoising:sigma=0")
