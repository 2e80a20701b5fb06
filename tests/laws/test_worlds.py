"""Exact posteriors of mixtures and of the worlds, against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conditionals import parts
from worlds import TWO_MODES

import scorejax as sj
from scorejax.guidance import operators

LINE = np.linspace(-6.0, 6.0, 1201)
POINTS = np.stack(np.meshgrid(LINE, LINE, indexing="ij"), -1).reshape(-1, 2)


def density(law, x):
    """The density of a mixture, in float64."""
    total = 0.0
    for weight, mean, covariance in zip(*parts(law), strict=True):
        distance = np.einsum("ni,ij,nj->n", x - mean, np.linalg.inv(covariance), x - mean)
        total = total + weight * np.exp(-0.5 * distance) / np.sqrt(np.linalg.det(2.0 * np.pi * covariance))
    return total


@pytest.fixture(scope="module")
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("traced", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_mixture_given_a_measurement_is_the_posterior_by_quadrature(double, traced):
    operator, y, sigma = operators.dense(np.array([[1.0, 0.5]]), (2,)), np.array([0.4]), 0.3
    joint = density(TWO_MODES, POINTS) * np.exp(-0.5 * ((y - POINTS @ [1.0, 0.5]) / sigma) ** 2)
    joint /= np.sqrt(2.0 * np.pi) * sigma
    evidence = joint.sum() * (LINE[1] - LINE[0]) ** 2
    given = jax.jit(lambda y: TWO_MODES.given(operator, y, sigma)) if traced else None
    law = given(y) if given else TWO_MODES.given(operator, y[None], sigma)
    cell = (LINE[1] - LINE[0]) ** 2 / evidence
    found = density(law, POINTS)
    np.testing.assert_allclose(found, joint / evidence, rtol=1e-6, atol=1e-6 * found.max())
    mean = joint @ POINTS * cell
    np.testing.assert_allclose(law.mean(), mean, atol=1e-6)
    centered = POINTS - mean
    np.testing.assert_allclose(law.covariance(), (centered * joint[:, None]).T @ centered * cell, atol=1e-6)
    np.testing.assert_allclose(density(TWO_MODES.measured(operator, sigma), y[None]), evidence, rtol=1e-6)


def test_what_a_mask_does_not_measure_is_not_read_and_two_measurements_are_refused():
    mask = operators.mask(np.array([True, False]))
    laws = [TWO_MODES.given(mask, np.array([0.4, u]), 0.2) for u in (0.0, np.nan)]
    np.testing.assert_array_equal(laws[0].means, laws[1].means)
    with pytest.raises(ValueError, match=r"one measurement of shape \(2,\).*jax.vmap"):
        TWO_MODES.given(mask, np.zeros((2, 2)), 0.2)


def test_the_posterior_of_an_absolute_value_is_that_of_quadrature(double):
    world = sj.worlds.w3()
    prior = density(world.law, POINTS)
    exact = jax.jit(jax.vmap(world.exact))(jnp.array([[0.1], [1.8], [2.4]]))
    for i, y in enumerate((0.1, 1.8, 2.4)):
        weights = prior * np.exp(-0.5 * ((y - np.abs(POINTS[:, 0])) / world.sigma_y) ** 2)
        # the density has a step at zero: half of the weight there is on either side
        positive = np.where(POINTS[:, 0] == 0, 0.5, POINTS[:, 0] > 0) @ weights / weights.sum()
        mean = weights @ POINTS / weights.sum()
        std = np.sqrt(weights @ (POINTS - mean) ** 2 / weights.sum())
        np.testing.assert_allclose(exact.shares[i], [positive, 1 - positive], atol=5e-5)
        np.testing.assert_allclose(exact.mean[i], mean, atol=5e-5)
        np.testing.assert_allclose(exact.std[i], std, atol=5e-5)


def test_the_second_world_has_the_stated_least_error_and_its_posteriors_one_mode():
    world = sj.worlds.w2()
    exact = jax.jit(lambda key: world.exact(world.simulate(key)[1]))(jax.random.key(0))
    np.testing.assert_allclose(jnp.mean(exact.std**2), 0.05222, rtol=1e-3)
    assert float(exact.shares.max()) > 0.999
