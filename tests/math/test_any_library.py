"""A network of any library is a score: flax.linen, flax.nnx, equinox and a plain function by the same two calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj

WIDTH = 8
RNG = np.random.default_rng(0)
W1, B1 = RNG.standard_normal((3, WIDTH)).astype(np.float32) / 2, RNG.standard_normal(WIDTH).astype(np.float32) / 4
W2, B2 = RNG.standard_normal((WIDTH, 2)).astype(np.float32) / 4, RNG.standard_normal(2).astype(np.float32) / 4


def features(x, label):
    return jnp.concatenate([x, label[:, None]], 1)


def plain():
    def apply(params, x, label):
        return jnp.tanh(features(x, label) @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]

    return apply, {"w1": W1, "b1": B1, "w2": W2, "b2": B2}


def linen():
    nn = pytest.importorskip("flax.linen")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, label):
            return nn.Dense(2, name="second")(jnp.tanh(nn.Dense(WIDTH, name="first")(features(x, label))))

    variables = {"params": {"first": {"kernel": W1, "bias": B1}, "second": {"kernel": W2, "bias": B2}}}
    return Net().apply, variables


def nnx():
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.second = nnx.Linear(3, WIDTH, rngs=rngs), nnx.Linear(WIDTH, 2, rngs=rngs)

        def __call__(self, x, label):
            return self.second(jnp.tanh(self.first(features(x, label))))

    net = Net(nnx.Rngs(0))
    net.first.kernel[...], net.first.bias[...] = W1, B1
    net.second.kernel[...], net.second.bias[...] = W2, B2
    graph, state = nnx.split(net)
    return lambda state, x, label: nnx.merge(graph, state)(x, label), state


def equinox():
    eqx = pytest.importorskip("equinox")
    net = eqx.nn.MLP(3, 2, WIDTH, 1, activation=jnp.tanh, key=jax.random.key(0))
    for where, value in (
        (lambda n: n.layers[0].weight, W1.T),
        (lambda n: n.layers[0].bias, B1),
        (lambda n: n.layers[1].weight, W2.T),
        (lambda n: n.layers[1].bias, B2),
    ):
        net = eqx.tree_at(where, net, jnp.asarray(value))
    params, static = eqx.partition(net, eqx.is_array)
    return lambda params, x, label: jax.vmap(eqx.combine(params, static))(features(x, label)), params


@pytest.mark.slow
@pytest.mark.parametrize("library", [linen, nnx, equinox], ids=lambda f: f.__name__)
def test_the_same_network_gives_the_same_samples_likelihoods_and_gradients(library):
    sde = sj.vp(t_min=1e-2)

    def results(build):
        apply_fn, params = build()
        score = sj.make_score(sde, apply_fn, params, predicts="noise")
        draw = sj.sample(
            jax.random.key(0), sde, score, (3, 2), stepper=sj.samplers.euler_maruyama(), times=sj.times.uniform(sde, 5)
        )
        value = sj.log_prob(jax.random.key(1), sde, score, jnp.ones((3, 2)) / 3, rtol=1e-3, atol=1e-3)

        def loss(params):
            score = sj.make_score(sde, apply_fn, params, predicts="noise")
            return sj.objectives.denoising(jax.random.key(2), sde, score, jnp.ones((3, 2))).mean()

        squares = sum(jnp.sum(g**2) for g in jax.tree.leaves(jax.grad(loss)(params)))
        return draw.x, value.value, squares

    for got, expected in zip(results(library), results(plain), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)  # the same arithmetic in another order
