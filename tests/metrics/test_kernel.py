import numpy as np
import pytest

from scorejax.metrics import kernel_distance
from scorejax.metrics.kernel import mean_discrepancy


def test_it_is_unbiased_for_sets_of_one_law():
    """Its mean is 0 however few the examples, which no Frechet distance's is."""
    rng = np.random.default_rng(0)
    found = kernel_distance(rng.standard_normal((4000, 8)), rng.standard_normal((4000, 8)), block=10)
    assert found.blocks == 400
    assert abs(found.value) < 3 * found.standard_error


@pytest.mark.slow
def test_it_is_the_difference_of_the_moments_that_the_kernel_sees():
    """`(x y + 1)^3 = sum_k binom(3, k) (x y)^k`: the squared MMD is `sum_k binom(3, k) (E x^k - E y^k)^2`."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((100_000, 1)), 0.5 * rng.standard_normal((100_000, 1)) + 1
    exact = 3 * (0 - 1) ** 2 + 3 * (1 - 1.25) ** 2 + (0 - 1.75) ** 2  # moments of N(0, 1) and N(1, 1/4)
    found = kernel_distance(x, y, block=500)
    assert abs(found.value - exact) < 4 * found.standard_error < 0.2 * exact


def test_the_standard_error_is_that_of_repeated_measurements():
    rng = np.random.default_rng(2)
    found = [kernel_distance(*rng.standard_normal((2, 200, 4)), block=20) for _ in range(200)]
    assert np.std([f.value for f in found]) == pytest.approx(np.mean([f.standard_error for f in found]), rel=0.2)


def test_pairs_of_an_example_with_itself_are_left_out():
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    # kernels: x0 x1 -> 1, y0 y1 -> 7^3, between: 1, 1, 3^3, 4^3
    assert mean_discrepancy(x, y) == 1 + 343 - 2 * (1 + 1 + 27 + 64) / 4


@pytest.mark.parametrize(
    ("size", "block", "blocks"), [(7, 100, 1), (7, 3, 3), (3, 2, 1), (1000, 1000, 1), (1001, 1000, 2)]
)
def test_every_block_has_at_least_two_examples_of_each_set(size, block, blocks):
    rng = np.random.default_rng(3)
    found = kernel_distance(rng.standard_normal((size + 9, 2)), rng.standard_normal((size, 2)), block=block)
    assert found.blocks == blocks and np.isfinite(found.value)
    assert (found.standard_error is None) == (blocks == 1)


def test_impossible_sets_are_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"wanted \[N, F\]"):
        kernel_distance(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="needs 2"):
        kernel_distance(np.zeros((1, 2)), np.zeros((5, 2)))
