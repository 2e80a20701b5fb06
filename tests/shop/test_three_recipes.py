"""Laws of the losses of recipes that train no score: a flow, an energy, a pair of adversaries."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scorejax.config import base

from scorejax.data import Dataset
from scorejax.experiment.recipe import Batch, make_recipe
from scorejax.experiment.recipes import adversarial
from scorejax.runtime.errors import ConfigError

B = 6
POINTS = np.random.default_rng(0).standard_normal((B, 2)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(3), B)


def batch(x, step=0):
    key = jax.random.key(0)
    return Batch(jnp.asarray(x), jnp.asarray(x), None, jnp.int32(step), key, key, jnp.int32(0), 1)


def made(recipe, model, examples=None, centered=True, **parts):
    config = base()
    config.recipe, config.model = recipe, model
    config.recipe.update(parts)
    config.data.centered = centered
    return make_recipe(config, examples or Dataset("points", POINTS))


def stirred(recipe):
    """Parameters away from zero, where networks begin."""
    leaves, tree = jax.tree.flatten(jax.device_get(first(recipe)))
    rng = np.random.default_rng(1)
    moved = [leaf + 0.3 * rng.standard_normal(leaf.shape).astype(np.float32) for leaf in leaves]
    return jax.tree.unflatten(tree, moved)


def first(recipe):
    """The parameters before any training."""
    return jax.jit(recipe.init)(jax.random.key(0))


def loss_of(recipe, params, examples):
    """The loss without a carry and its metrics, as one program; operations one by one take longer to compile."""
    loss, _, metrics = jax.jit(lambda params: recipe.loss(params, None, batch(examples), KEYS))(params)
    return loss, metrics


# ---- Flow


@pytest.fixture(scope="module")
def flow():
    recipe = made("flow", "coupling_flow:features=8:couplings=2:bound=0.5")
    return recipe, stirred(recipe)


def test_the_loss_of_a_flow_is_minus_its_log_density(flow):
    recipe, params = flow
    loss, metrics = loss_of(recipe, params, POINTS)
    log_prob = jax.jit(recipe.model(params).log_prob)(KEYS, POINTS)
    np.testing.assert_allclose(loss, -log_prob, rtol=1e-6)
    of_data = loss - recipe.given.space.log_volume(2)  # in the units of the data
    np.testing.assert_allclose(metrics["bits_per_dim"], of_data / 2 / np.log(2), rtol=1e-5)


@pytest.mark.slow
def test_the_mean_loss_of_its_own_samples_is_the_entropy_by_quadrature(flow):
    recipe, params = flow
    side = np.linspace(-20, 20, 1001, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    model = recipe.model(params)
    log_p = np.asarray(model.log_prob(None, grid), np.float64)
    cell = (side[1] - side[0]) ** 2
    assert np.exp(log_p).sum() * cell == pytest.approx(1, abs=2e-3)
    own = model.log_prob(None, model.sample(jax.random.split(jax.random.key(1), 20_000), (20_000, 2)))
    assert np.mean(own) == pytest.approx((np.exp(log_p) * log_p).sum() * cell, abs=5 * float(np.std(own)) / 20_000**0.5)


@pytest.mark.parametrize("centered", [True, False])
def test_the_density_of_images_is_that_of_model_space_and_integrates_to_one(centered):
    """Two pixels of four held at their middle: the density of the rest, at the identity, is a product."""
    examples = Dataset("images", np.zeros((2, 2, 2, 1), np.uint8), gray_levels=4)
    recipe = made("flow", "coupling_flow:features=8:couplings=2", examples, centered)
    params = first(recipe)  # the identity: pixels are independent, of one law
    low, scale = (-1, 2) if centered else (0, 1)
    edge = recipe.squeeze / (1 - 2 * recipe.squeeze)  # the law lies on a little more than the interval
    unit = np.linspace(-edge, 1 + edge, 20_003)[1:-1].astype(np.float32)
    pixels = np.full((len(unit), 2, 2, 1), 0.5, np.float32)
    log_prob = jax.jit(lambda x: recipe.model(params).log_prob(None, x))
    middle = log_prob(low + scale * pixels[:1])[0] / 4
    pixels[:, 0, 0, 0] = unit
    log_p = log_prob(low + scale * pixels) - 3 * middle
    weight = np.exp(np.asarray(log_p, np.float64)) * scale * (unit[1] - unit[0])
    assert weight.sum() == pytest.approx(1, abs=2e-3)
    draw = jax.jit(lambda keys: recipe.model(params).sample(keys, (4000, 2, 2, 1)))
    x = np.asarray(draw(jax.random.split(jax.random.key(1), 4000)))
    assert low - scale * edge <= x.min() < x.max() <= low + scale * (1 + edge)
    values = low + scale * unit
    mean = weight @ values
    assert x.mean() == pytest.approx(mean, abs=0.02 * scale)
    assert x.std() == pytest.approx((weight @ (values - mean) ** 2) ** 0.5, rel=0.03)


@pytest.mark.slow
def test_a_flow_matches_the_score_of_the_logits_of_images():
    """Against the density of model space, taken to logits by hand."""
    examples = Dataset("images", np.zeros((2, 2, 2, 1), np.uint8), gray_levels=4)
    recipe = made("flow:matching=exact", "nice:features=4:depth=1:couplings=2", examples)
    params = stirred(recipe)
    x = jnp.asarray(np.random.default_rng(2).uniform(-0.9, 0.9, (B, 2, 2, 1)), jnp.float32)

    def log_p(y):
        p = jax.nn.sigmoid(y)
        unit = (p - recipe.squeeze) / (1 - 2 * recipe.squeeze)
        slopes = jnp.log(2 * p * (1 - p) / (1 - 2 * recipe.squeeze))
        return recipe.model(params).log_prob(None, 2 * unit[None] - 1)[0] + jnp.sum(slopes)

    @jax.jit
    def by_hand(x):
        y = jax.scipy.special.logit(recipe.squeeze + (1 - 2 * recipe.squeeze) * (x + 1) / 2)
        score, hessian = jax.vmap(jax.grad(log_p))(y), jax.vmap(jax.hessian(log_p))(y)
        return jnp.trace(hessian.reshape(B, 4, 4), axis1=1, axis2=2) + 0.5 * jnp.sum(score.reshape(B, 4) ** 2, axis=1)

    loss = jax.jit(lambda x: recipe.loss(params, None, batch(x), KEYS)[0])(x)
    np.testing.assert_allclose(loss, by_hand(x), rtol=1e-3, atol=1e-3)


def test_the_noise_of_a_flow_is_added_to_what_its_network_sees(flow, given_noise):
    recipe, params = flow
    noise = np.random.default_rng(4).standard_normal(POINTS.shape).astype(np.float32)
    given_noise(lambda keys, shape: noise)
    noisy = made("flow:data_noise=0.5", "coupling_flow:features=8:couplings=2:bound=0.5")
    expected = loss_of(recipe, params, POINTS + 0.5 * noise)[0]
    np.testing.assert_allclose(loss_of(noisy, params, POINTS)[0], expected, rtol=1e-5)


def test_score_matching_refuses_a_network_that_is_another_one_at_each_evaluation():
    with pytest.raises(ConfigError, match=r"model\.dropout"):
        made("flow:matching=sliced", "coupling_flow:dropout=0.1")


# ---- Energy


@pytest.fixture(scope="module")
def energy():
    recipe = made("energy:chains=8:langevin_steps=3:magnitude=0:step_size=0.01", "energy_mlp:features=8:depth=2")
    return recipe, stirred(recipe)


@pytest.mark.slow
def test_the_gradient_is_the_difference_of_the_mean_gradients_of_energies(energy):
    recipe, params = energy
    carry = recipe.carry(jax.random.key(1))
    moved = jax.jit(lambda carry: recipe.loss(params, carry, batch(POINTS), KEYS)[1])(carry)[:B]

    def mean(params, x):
        return jnp.mean(recipe.law.energy(params, x))

    got = jax.jit(jax.grad(lambda p: jnp.mean(recipe.loss(p, carry, batch(POINTS), KEYS)[0])))(params)
    slope = jax.jit(jax.grad(mean))
    up, down = slope(params, POINTS), slope(params, moved)
    jax.tree.map(lambda g, a, b: np.testing.assert_allclose(g, a - b, atol=1e-5), got, up, down)


def test_chains_move_in_turn_and_the_others_stay(energy):
    recipe, params = energy
    carry = recipe.carry(jax.random.key(1))
    move = jax.jit(lambda carry, step: recipe.loss(params, carry, batch(POINTS, step), KEYS)[1])
    for step, places in enumerate([[0, 1, 2, 3, 4, 5], [6, 7, 0, 1, 2, 3], [4, 5, 6, 7, 0, 1]]):
        after = move(carry, step)
        moved = np.any(np.asarray(after != carry), axis=1)
        assert set(np.flatnonzero(moved)) == set(places)
        carry = after


def test_the_score_is_the_slope_of_minus_the_energy_at_every_time(energy):
    recipe, params = energy
    score = recipe.model(params).score
    slope = jax.vmap(jax.grad(lambda x: recipe.law.energy(params, x[None])[0]))(POINTS)
    for t in (0.0, 1.0):
        np.testing.assert_allclose(score(POINTS, jnp.full(B, t), None), -slope, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_chains_of_the_untrained_energy_are_normal():
    """E = |x|^2 / 2 at the start, whose Langevin chains have variance 1 / (1 - step_size / 2)."""
    recipe = made("energy:step_size=0.1:sample_steps=200", "energy_mlp:features=8:depth=1")
    x = recipe.model(recipe.init(jax.random.key(0))).sample(jax.random.split(jax.random.key(1), 20_000), (20_000, 2))
    assert np.mean(x) == pytest.approx(0, abs=0.03)
    assert np.var(x) == pytest.approx(1 / 0.95, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_offers_of_a_fresh_start_alone_draw_from_the_law_of_the_energy(temperature):
    """Two modes of unequal weight, between which Langevin moves of this size would never cross."""
    noise = (2e-8 * temperature) ** 0.5
    recipe = made(f"energy:langevin_steps=1:step_size=1e-8:noise_scale={noise}:sample_steps=100", "energy_mlp:depth=1")

    class Wells(nn.Module):
        @nn.compact
        def __call__(self, x):
            near, far = (jnp.sum((x - center) ** 2, axis=1) for center in (jnp.array([1.0, 0.5]), -1.0))
            return -jnp.logaddexp(-4 * near, -4 * far - 1)

    law = dataclasses.replace(recipe.law, network=Wells())
    side = np.linspace(-4, 4, 401, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    weight = np.exp(-np.asarray(law.energy({}, grid), np.float64) / temperature)
    weight /= weight.sum()
    x = np.asarray(law.sample({}, jax.random.split(jax.random.key(1), 10_000), (10_000, 2)))
    right = weight[grid[:, 0] > 0].sum()
    assert 0.6 < right < 0.95  # the modes differ
    assert np.mean(x[:, 0] > 0) == pytest.approx(right, abs=0.02)
    mean = weight @ grid
    np.testing.assert_allclose(x.mean(0), mean, atol=0.04)
    np.testing.assert_allclose(np.cov(x.T), (grid - mean).T @ (weight[:, None] * (grid - mean)), atol=0.05)


def test_its_samples_say_what_they_cost(energy):
    """20 moves in rounds of 3 are 7 rounds, each with two energies more."""
    recipe = made("energy:langevin_steps=3:sample_steps=20", "energy_mlp:features=8")
    assert recipe.model(energy[1]).sample_nfe == 7 * 5


# ---- Adversarial


@pytest.mark.slow
def test_each_player_follows_the_gradient_of_its_own_loss():
    recipe = made("adversarial:gradient_penalty=0.5", "generator_mlp:features=8", discriminator="mlp:features=8")
    params = stirred(recipe)
    _, metrics = loss_of(recipe, params, POINTS)

    def alone(player, name):
        def loss(own):
            metrics = recipe.loss({**params, player: own}, None, batch(POINTS), KEYS)[2]
            return jnp.mean(metrics[name])

        return loss

    got = jax.jit(jax.grad(lambda p: jnp.mean(recipe.loss(p, None, batch(POINTS), KEYS)[0])))(params)
    for player in ("generator", "discriminator"):
        own = jax.jit(jax.grad(alone(player, f"{player}_loss")))(params[player])
        jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, atol=1e-5), got[player], own)
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(own)) > 1e-3
    assert metrics["generator_loss"].shape == (B,)


def test_the_losses_of_the_players_are_cross_entropies_and_a_penalty_of_the_slope_at_data():
    """Against the formulas, in float64, with the slope by central differences."""
    recipe = made("adversarial:gradient_penalty=0.5", "generator_mlp:features=8", discriminator="mlp:features=8")
    params = stirred(recipe)
    loss, metrics = loss_of(recipe, params, POINTS)
    data, samples = (np.asarray(metrics[f"logit_of_{what}"], np.float64) for what in ("data", "samples"))

    program = jax.jit(recipe.judge)

    def judge(x):
        return np.asarray(program(params["discriminator"], x), np.float64)

    np.testing.assert_allclose(data, judge(POINTS), rtol=1e-5)
    steps = 1e-2 * np.eye(2, dtype=np.float32)
    slope = np.stack([(judge(POINTS + step) - judge(POINTS - step)) / 2e-2 for step in steps], axis=1)
    right, wrong = np.log1p(np.exp(-data)), np.log1p(np.exp(samples))
    discriminator = right + wrong + 0.25 * (slope**2).sum(1)
    np.testing.assert_allclose(metrics["discriminator_loss"], discriminator, rtol=2e-3)
    np.testing.assert_allclose(metrics["generator_loss"], np.log1p(np.exp(-samples)), rtol=1e-5)
    np.testing.assert_allclose(loss, metrics["discriminator_loss"] + metrics["generator_loss"], rtol=1e-6)


def test_at_the_best_discriminator_a_game_is_worth_the_divergence_of_data_and_samples():
    """Data N(1, 1) and samples N(0, 1), by quadrature: `D* = p / (p + q)` and `V* = 2 JSD - log 4`."""
    x = np.linspace(-11, 12, 4001)
    dx = x[1] - x[0]
    p, q = (np.exp(-0.5 * (x - mean) ** 2) / np.sqrt(2 * np.pi) for mean in (1.0, 0.0))
    best = np.log(p) - np.log(q)  # the logit of p / (p + q)
    game = adversarial.GAMES["minimax"]

    def value(logit):
        """Mean `log D` over data plus mean `log(1 - D)` over samples."""
        of_data, of_samples = game.discriminator(logit, -np.inf), game.discriminator(np.inf, logit)
        return -np.sum(p * of_data + q * of_samples) * dx

    middle = (p + q) / 2
    twice_jsd = np.sum(p * np.log(p / middle) + q * np.log(q / middle)) * dx
    assert value(best) == pytest.approx(-1.163451, abs=2e-6)
    assert value(best) == pytest.approx(twice_jsd - np.log(4), abs=2e-6)
    assert value(best) > max(value(best + 0.3 * np.sin(x)), value(0.9 * best), value(best + 0.1))
    d = p / (p + q)
    assert np.sum(q * game.generator(best)) * dx == pytest.approx(np.sum(q * np.log(1 - d)) * dx, abs=1e-5)
    not_saturating = adversarial.GAMES["non_saturating"].generator(best)
    assert np.sum(q * not_saturating) * dx == pytest.approx(-np.sum(q * np.log(d)) * dx, abs=1e-5)
    critic = adversarial.GAMES["wasserstein"]  # the best critic of slope 1 is x itself, and the distance of the means 1
    assert np.sum(p * critic.discriminator(x, 0.0) + q * critic.discriminator(0.0, x)) * dx == pytest.approx(-1)
    assert np.sum(p * critic.generator(x)) * dx == pytest.approx(-1)


class Bowl(nn.Module):
    """A discriminator with the slope `w x`."""

    @nn.compact
    def __call__(self, x):
        return 0.5 * self.param("w", nn.initializers.ones, ()) * jnp.sum(x**2, axis=1)


def test_a_penalty_between_data_and_samples_wants_the_slope_one():
    recipe = made("adversarial:penalty=between:gradient_penalty=10", "generator_mlp:features=8")
    recipe.judge = dataclasses.replace(recipe.judge, network=Bowl())
    data, samples = (np.tile(np.float32([length, 0]), (B, 1)) for length in (1.0, 4.0))
    penalty = recipe._penalty({"w": jnp.float32(2.0)}, data, samples, KEYS)
    length = (1 + np.sqrt(penalty)) / 2  # penalty = (|w x| - 1)^2 at a point x between
    assert np.all((length > 1) & (length < 4)) and np.std(length) > 0.1
    flat, slope = jax.value_and_grad(lambda w: recipe._penalty({"w": w}, data, samples, KEYS).sum())(0.0)
    assert flat == B and slope == 0.0  # a discriminator begins without any slope, and no root is taken of it


def test_images_have_a_game_of_convolutions_and_other_pairs_are_refused():
    images = Dataset("images", np.zeros((8, 5, 5, 1), np.uint8), gray_levels=256)
    recipe = made("adversarial", "generator_conv:features=4", images, discriminator="conv:features=4")
    params = recipe.shapes()
    x = jax.eval_shape(lambda p: recipe.model(p).sample(KEYS, (B, 5, 5, 1)), params)
    assert x.shape == (B, 5, 5, 1)
    with pytest.raises(ConfigError, match=r"recipe\.discriminator = 'mlp' does not fit .* 3 axes; choose conv"):
        made("adversarial", "generator_conv:features=4", images).shapes()


def test_the_discriminator_has_a_rate_of_its_own():
    recipe = made("adversarial:discriminator_rate=3.0", "generator_mlp:features=8", discriminator="mlp:features=8")
    params = recipe.init(jax.random.key(0))
    optimizer = recipe.optimizer(optax.sgd(0.1))
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    for player, rate in (("generator", 0.1), ("discriminator", 0.3)):
        for leaf in jax.tree.leaves(updates[player]):
            np.testing.assert_allclose(leaf, -rate, rtol=1e-6)


@pytest.mark.slow
def test_samples_of_a_generator_follow_their_keys():
    recipe = made("adversarial:latents=3", "generator_mlp:features=8")
    model = recipe.model(stirred(recipe))
    draw = jax.jit(lambda keys: model.sample(keys, (len(keys), 2)))
    x = draw(KEYS)
    np.testing.assert_allclose(draw(KEYS[2:3]), x[2:3], atol=1e-5)
    assert np.std(x, axis=0).min() > 0.01
