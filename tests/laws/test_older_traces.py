"""Curvature propagation has the Hessian for its mean; approximate backpropagation only with one hidden layer."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.slides import baselines
from scorejax.models.nice import NICE

RNG = np.random.default_rng(0)
X = jnp.asarray([0.4, -0.7], jnp.float32)


def layers(*widths):
    pairs = itertools.pairwise((2, *widths, 1))
    return [(jnp.asarray(RNG.standard_normal((a, b)), jnp.float32), jnp.zeros(b) + 0.1) for a, b in pairs]


def every_sign(count):
    """All vectors of so many signs, which are equally probable."""
    return jnp.asarray(list(itertools.product((-1.0, 1.0), repeat=count)), jnp.float32)


def in_turn(signs):
    """The signs of one vector, as many at each call as are asked for."""
    used = [0]

    def take(count):
        used[0] += count
        return signs[used[0] - count : used[0]]

    return take


def all_factors(net, count):
    """`S` for every choice of signs."""

    def one(signs):
        rule = baselines.factor_nonlinear(in_turn(signs))
        return baselines.backwards(net, X, jnp.ones(1), jnp.zeros(1, jnp.complex64), baselines.factor_linear, rule)[1]

    return np.asarray(jax.jit(jax.vmap(one))(every_sign(count)))


def hessian(net):
    return np.asarray(jax.jit(jax.hessian(lambda x: baselines.perceptron(net, x)[0]))(X))


def diagonal(net):
    rules = baselines.diagonal_linear, baselines.diagonal_nonlinear
    return baselines.backwards(net, X, jnp.ones(1), jnp.zeros(1), *rules)[1]


def test_the_mean_outer_square_of_curvature_propagation_is_the_hessian():
    net = layers(3, 3, 2)
    found, exact = all_factors(net, 8), hessian(net)
    np.testing.assert_allclose(np.mean(found[:, :, None] * found[:, None, :], axis=0), exact, atol=1e-4)
    trace = np.sum(found**2, axis=1).real
    of_projection = np.std([v @ exact @ v for v in np.asarray(every_sign(2))])
    assert np.std(trace) > of_projection  # which is why projections took its place


@pytest.mark.parametrize(("widths", "is_exact"), [((4,), True), ((4, 4), False), ((4, 4, 4, 4), False)])
def test_approximate_backpropagation_is_exact_with_one_hidden_layer_alone(widths, is_exact):
    net = layers(*widths)
    error = np.abs(diagonal(net) - np.diag(hessian(net))).max()
    assert error < 1e-5 if is_exact else error > 1e-3


@pytest.mark.slow
def test_both_go_through_nice_with_its_score():
    nice = NICE(features=2, depth=1, couplings=2)
    params = nice.init(jax.random.key(0), X[None])["params"]
    params = jax.tree.map(lambda leaf: leaf + jnp.asarray(RNG.standard_normal(leaf.shape), jnp.float32), params)

    def log_prob(x):
        z, log_det = nice.apply({"params": params}, x[None])
        return jnp.sum(-(z**2)) / 2 + log_det[0]

    score, exact = jax.jit(lambda x: (jax.grad(log_prob)(x), jax.hessian(log_prob)(x)))(X)
    found, root = jax.jit(jax.vmap(lambda signs: baselines.factor(params, X, in_turn(signs))))(every_sign(6))
    np.testing.assert_allclose(found, np.broadcast_to(score, found.shape), rtol=1e-4)
    root = np.asarray(root)
    np.testing.assert_allclose(np.mean(root[:, :, None] * root[:, None, :], axis=0), exact, atol=1e-4)
    approximate = baselines.approximate(params, X)
    np.testing.assert_allclose(approximate[0], score, rtol=1e-4)
    assert np.abs(approximate[1] - np.diag(exact)).max() > 1e-2 * np.abs(exact).max()
