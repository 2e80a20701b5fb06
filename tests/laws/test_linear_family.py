"""Score matching in closed form: known minima of families that are linear in their parameters, and the same losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.objectives import linear_family
from scorejax.objectives.linear_family import FAMILIES

SIDE = np.linspace(-6, 6, 2001, dtype=np.float32)


def powers(x):
    return jnp.concatenate([x, x**2, x**4], axis=1)


@pytest.mark.parametrize(
    ("log_density", "theta"), [(lambda x: -(x**2) / 2, (0, -0.5, 0)), (lambda x: -((x**2 - 1) ** 2), (0, 2, -1))]
)
def test_the_minimum_is_the_density_itself_where_the_family_holds_it(log_density, theta):
    """Features (x, x^2, x^4): the normal law is (0, -1/2, 0), the double well `exp(-(x^2 - 1)^2)` is (0, 2, -1)."""
    weights = np.exp(log_density(SIDE.astype(np.float64)))
    terms = linear_family.exact(None, powers, SIDE[:, None])
    moments = terms.moments(jnp.asarray(weights / weights.sum(), jnp.float32))
    found = moments.solve(0.0)
    np.testing.assert_allclose(found, theta, atol=2e-3)
    at_minimum = -0.5 * moments.slope @ jnp.linalg.solve(moments.gram, moments.slope)
    np.testing.assert_allclose(moments.loss(found), at_minimum, rtol=1e-4)


# ---- A small deep kernel on a base measure ---------------------------------------------------------------------------

POINTS, DIMENSION, COUNT = 5, 2, 40
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.standard_normal((COUNT, DIMENSION)), jnp.float32)
Z = jnp.asarray(RNG.standard_normal((POINTS, DIMENSION)), jnp.float32)
MIX = jnp.asarray(RNG.standard_normal((DIMENSION, 3)), jnp.float32)
OPTIONS = {
    "exact": {},
    "sliced": {"probes": 2},
    "sliced, not reduced": {"probes": 2, "variance_reduced": False},
    "denoising": {"sigma": 0.5},
}


WEIGHTS, VARIANCES = jnp.array([0.3, 0.7]), jnp.array([1.0, 4.0])


def embed(x):
    """Features of two kernels, `[B, 2, 3]`."""
    return jnp.stack([jax.nn.softplus(x @ MIX), x @ MIX - 0.2 * (x @ MIX) ** 2], axis=1)


def kernel(x):
    """Their mixture, to be differentiated as it stands."""
    squares = jnp.sum((embed(x)[:, None] - embed(Z)) ** 2, axis=3)
    return jnp.exp(-0.5 * squares / VARIANCES) @ WEIGHTS


KERNELS = linear_family.GaussianKernels(jax.tree_util.Partial(embed), embed(Z), WEIGHTS, VARIANCES)


def base(x):
    """The log of N(0, 4), up to its constant."""
    return -jnp.sum(x**2, axis=1) / 8


@functools.cache
def terms_of(name, written_out=False):
    form, features = FAMILIES[name.partition(",")[0]], KERNELS if written_out else kernel
    return jax.jit(lambda key: form(key, features, X, base=base, **OPTIONS[name]))(jax.random.key(1))


@pytest.mark.parametrize("name", OPTIONS)
def test_the_gradient_vanishes_at_the_minimum_which_is_as_low_as_said(name):
    """`J(alpha) - J(0) = -b^T (G + lambda)^-1 b / 2` with the ridge in `J`."""
    terms, ridge = terms_of(name), 0.01
    moments = terms.moments()
    alpha = moments.solve(ridge)

    def mean_loss(alpha):
        return jnp.mean(terms.loss(alpha)) + 0.5 * ridge * jnp.sum(alpha**2)

    zero = jnp.zeros(POINTS)
    np.testing.assert_allclose(jax.grad(mean_loss)(alpha), 0, atol=1e-5 * np.abs(moments.slope).max())
    matrix = np.asarray(moments.gram, np.float64) + ridge * np.eye(POINTS)
    drop = -0.5 * moments.slope @ np.linalg.solve(matrix, np.asarray(moments.slope, np.float64))
    np.testing.assert_allclose(mean_loss(alpha) - mean_loss(zero), drop, rtol=1e-4)
    np.testing.assert_allclose(moments.loss(alpha), jnp.mean(terms.loss(alpha)), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sliced", "sliced, not reduced", "denoising"])
def test_the_derivatives_of_kernels_that_are_written_out_are_those_of_automatic_differentiation(name):
    np.testing.assert_allclose(KERNELS(X), kernel(X), rtol=1e-4)
    for mine, theirs in zip(*(jax.tree.leaves(terms_of(name, each)) for each in (True, False)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
