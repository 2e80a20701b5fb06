"""Several conditions at once: zero is not absence, each is heard, and none changes the shape of what comes out."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import scorejax as sj
from scorejax.models import MLP, DDPMpp, DiT, Several, UViT, condition_inside, field_channels
from scorejax.models.embedding import smooth_label_features
from scorejax.numerics.conditions import Condition, length, owners
from scorejax.sdes.times import log_snr

SIDE = 3
FIELD, LEVEL, KIND = (
    Condition("map", "field", (SIDE, 1)),
    Condition("level", "scalar"),
    Condition("kind", "class", classes=3),
)
TEXT = Condition("text", "sequence", (2, 4))
THREE = (FIELD, LEVEL, KIND)
WIDTH = 32


class Pointwise(nn.Module):
    """A map of the channels of each step of a series and a vector, by gates that know them and the noise."""

    condition_dim: int
    condition: str = "vector"

    @nn.compact
    def __call__(self, x, labels, condition=None, train=False):
        waves = smooth_label_features(labels, WIDTH)
        told = jnp.concatenate([jnp.nan_to_num(condition), jnp.isfinite(condition)], axis=1)
        every = jnp.concatenate([x, jnp.broadcast_to(told[:, None], (*x.shape[:2], told.shape[1]))], axis=-1)
        gate = nn.Dense(WIDTH)(nn.silu(nn.Dense(WIDTH)(every) + nn.Dense(WIDTH)(waves)[:, None]))
        return nn.Dense(x.shape[-1])(gate * nn.Dense(WIDTH)(every))


NETWORK = Several(Pointwise(4), THREE)


def rows(key, n):
    """A field of unit variance, a number, and one of three classes."""
    of_field, of_level, of_kind = jax.random.split(key, 3)
    field = jax.random.normal(of_field, (n, SIDE))
    level, kind = jax.random.normal(of_level, (n, 1)), jax.random.randint(of_kind, (n, 1), 0, 3)
    return jnp.concatenate([field, level, kind.astype(float)], axis=1)


def mean(given):
    return (given[:, :SIDE] + given[:, SIDE:-1] + given[:, -1:] - 1)[..., None]


def score(sde, params, given):
    of = sj.make_conditional_score(sde, lambda p, x, l, c: NETWORK.apply({"params": p}, x, l, c), params, predicts="v")
    return jax.tree_util.Partial(lambda given, x, t: of(x, t, given), given)


def test_a_condition_of_zero_is_not_absent_and_a_small_one_is_nearly_zero(make_params):
    params = make_params(NETWORK, (5, SIDE, 1), condition=np.zeros((5, length(THREE)), np.float32))
    run = jax.jit(lambda params, c: NETWORK.apply({"params": params}, jnp.ones((5, SIDE, 1)), jnp.full(5, 500.0), c))
    for number in range(length(THREE)):
        given = np.zeros((5, length(THREE)), np.float32)
        given[1, number], given[2, number], given[3] = 1e-6 * (number < SIDE + 1), np.nan, np.nan
        out = np.asarray(run(params, given))
        np.testing.assert_allclose(out[0], out[1], atol=1e-4)
        np.testing.assert_array_equal(out[0], out[4])
        assert np.abs(out[0] - out[2]).max() > 1e-2 and np.abs(out[2] - out[3]).max() > 1e-2
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(run(params, given))))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_what_is_added_by_a_field_a_number_and_a_class_is_added_to_samples():
    """Of `y = c + z` with all three in `c`, samples follow each of them with slope 1."""
    sde, steps = sj.vp(), 1000
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

    def loss(params, key):
        keys = jax.random.split(key, 5)
        given = rows(keys[0], 128)
        x0 = mean(given) + jax.random.normal(keys[1], (128, SIDE, 1))
        given = sj.guidance.drop_each(keys[2], given, owners(THREE), 0.1)
        t = jax.random.uniform(keys[3], (128,), minval=1e-3)
        by_velocity = functools.partial(sj.objectives.denoising, weighting=lambda sde, t: sde.alpha(t) ** -2)
        return jnp.mean(by_velocity(keys[4], sde, score(sde, params, given), x0, t=t))

    def step(state, key):
        gradient = jax.grad(loss)(state[0], key)
        updates, memory = optimizer.update(gradient, state[1], state[0])
        return (optax.apply_updates(state[0], updates), memory), None

    @jax.jit
    def shifts(key):
        given = rows(jax.random.key(2), 256)
        params = NETWORK.init(key, jnp.zeros((1, SIDE, 1)), jnp.ones(1), given[:1])["params"]
        params = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, steps))[0][0]
        low, high = jnp.float32([[-1, -1, 0], [1, 1, 2]])
        ends = []
        for places, which in ((slice(0, SIDE), 0), (SIDE, 1), (SIDE + 1, 2)):
            ends += [given.at[:, places].set(low[which]), given.at[:, places].set(high[which])]
        stepper, times = sj.samplers.STEPPERS["ddim"](), np.asarray(log_snr(sde, 20))

        def draw(given):
            how = {"stepper": stepper, "times": times}
            return sj.sample(jax.random.key(1), sde, score(sde, params, given), (256, SIDE, 1), **how).x

        found = jax.lax.map(draw, jnp.stack(ends)).mean((1, 2, 3))
        return (found[1::2] - found[::2]) / 2

    np.testing.assert_allclose(shifts(jax.random.key(0)), 1.0, atol=0.03)


@pytest.mark.parametrize(
    ("network", "conditions"),
    [
        (DiT(features=8, depth=1, heads=2, patch=1), THREE),
        (UViT(features=8, depth=2, heads=2, patch=1), THREE),
        (
            DDPMpp(features=8, channel_multipliers=(1,), blocks_per_level=1, attention_resolutions=(SIDE,)),
            (*THREE, TEXT),
        ),
        (DDPMpp(features=8, channel_multipliers=(1,), blocks_per_level=1, learned_range=True), (FIELD,)),
    ],
    ids=["dit", "uvit", "sequence", "range"],
)
def test_a_network_of_one_condition_takes_several(network, conditions):
    whole = Several(dataclasses.replace(network, **condition_inside(conditions)), conditions)
    given = np.full((2, length(conditions)), np.nan, np.float32)
    x, labels = np.zeros((2, SIDE, 2), np.float32), np.ones(2, np.float32)
    out, variables = jax.eval_shape(whole.init_with_output, jax.random.key(0), x, labels, given)
    assert out.shape == (2, SIDE, 4 if network is not None and whole.learned_range else 2)
    assert ("token" in variables["params"]) == (TEXT in conditions)


def test_what_lies_where():
    assert field_channels(THREE) == 2 and condition_inside(THREE) == {"condition": "vector", "condition_dim": 4}
    assert condition_inside((FIELD,)) == {} and condition_inside((*THREE, TEXT)) == {
        "condition": "sequence",
        "condition_dim": 5,
    }
    with pytest.raises(ValueError, match="one length, got text 4, notes 5"):
        condition_inside((TEXT, Condition("notes", "sequence", (3, 5))))
    with pytest.raises(ValueError, match=r"floats of shape \(2, 5\); NaN is absent; got one of shape \(2, 4\)"):
        jax.eval_shape(NETWORK.init, jax.random.key(0), np.zeros((2, SIDE, 1)), np.ones(2), np.zeros((2, 4)))
    assert MLP.conditioning == ("label", "vector")


def test_each_condition_is_hidden_by_itself_and_all_of_them_together():
    given = jnp.zeros((20_000, length(THREE)))
    hidden = np.isnan(jax.jit(lambda key: sj.guidance.drop_each(key, given, owners(THREE), 0.2))(jax.random.key(0)))
    assert (hidden[:, :SIDE] == hidden[:, :1]).all()  # a field is hidden as a whole
    each = hidden[:, [0, SIDE, SIDE + 1]]
    np.testing.assert_allclose(each.mean(0), 1 - 0.8**2, atol=0.015)
    np.testing.assert_allclose(each.all(1).mean(), 0.2 + 0.8 * 0.2**3, atol=0.015)
    alone = (each == [True, False, False]).all(1).mean()
    np.testing.assert_allclose(alone, 0.8 * 0.2 * 0.8**2, atol=0.015)
