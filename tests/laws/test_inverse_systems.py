"""Conjugate gradients solve each system of a batch exactly, alone, and differentiably."""

import jax
import jax.numpy as jnp
import numpy as np

from scorejax.guidance import conjugate

D = 6
RANDOM = np.random.default_rng(0)
ROOTS = RANDOM.standard_normal((4, D, D))
MATRICES = jnp.asarray(ROOTS @ ROOTS.swapaxes(1, 2) + np.array([0.5, 1.0, 10.0, 100.0])[:, None, None] * np.eye(D))
B = jnp.asarray(RANDOM.standard_normal((4, D)))


def solved(matrices, b, iterations, tolerance):
    return conjugate.solve(
        lambda v: jnp.einsum("bij,bj->bi", matrices, v), b, iterations=iterations, tolerance=tolerance
    )


def test_as_many_iterations_as_dimensions_solve_any_positive_system():
    exact = np.linalg.solve(np.asarray(MATRICES, np.float64), np.asarray(B)[..., None])[..., 0]
    np.testing.assert_allclose(solved(MATRICES, B, D + 2, 1e-6), exact, rtol=1e-3, atol=1e-5)


def test_an_example_that_has_arrived_waits_unchanged_for_the_others():
    whole = solved(MATRICES, B, 20, 1e-2)
    for i in range(4):
        alone = solved(MATRICES[i : i + 1], B[i : i + 1], 20, 1e-2)
        # float32 sums of another batch shape may round otherwise, by so much of the largest entry
        np.testing.assert_allclose(whole[i : i + 1], alone, rtol=1e-5, atol=1e-5 * np.abs(alone).max())


def test_a_zero_right_hand_side_and_a_direction_of_negative_curvature_end_at_once():
    assert not solved(MATRICES, 0.0 * B, 20, 1e-5).any()
    assert not solved(-MATRICES, B, 20, 1e-5).any()  # stopped before the first step


def test_derivatives_are_those_of_the_solution():
    def total(scale):
        return jnp.sum(solved(scale * MATRICES, B, 20, 1e-6))

    # d/ds sum (s M)^{-1} b = -sum M^{-1} b at s = 1
    for derivative in (jax.grad(total)(1.0), jax.jvp(total, (1.0,), (1.0,))[1]):
        np.testing.assert_allclose(derivative, -total(1.0), rtol=1e-3)
