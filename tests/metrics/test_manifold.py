import numpy as np
import pytest

from scorejax.metrics import precision_recall


@pytest.fixture(scope="module")
def cloud():
    return np.random.default_rng(0).uniform(-1, 1, (700, 2)).astype(np.float32)


def test_a_set_covers_itself(cloud):
    assert precision_recall(cloud, cloud) == (1, 1)


def test_two_sets_of_one_law_cover_each_other_nearly(cloud):
    other = np.random.default_rng(1).uniform(-1, 1, cloud.shape)
    assert min(precision_recall(cloud, other)) > 0.9


def test_sets_that_are_far_apart_cover_nothing_of_each_other(cloud):
    assert precision_recall(cloud, cloud + 10) == (0, 0)


def test_samples_of_a_part_of_the_data_have_precision_without_recall(cloud):
    """A quarter of the square: all samples are realistic, a quarter of the data is covered. And the other way round."""
    corner = np.random.default_rng(2).uniform(0, 1, (700, 2))
    precise, covering = precision_recall(cloud, corner), precision_recall(corner, cloud)
    assert precise.precision > 0.95 and precise.recall == pytest.approx(0.25, abs=0.05)
    assert covering == precise[::-1]


def test_a_ball_reaches_to_the_kth_neighbour_and_includes_it():
    real, samples = np.array([[0.0], [1.0], [3.0], [7.0]]), np.array([[-2.0], [13.1], [13.0], [50.0]])
    # k = 2: balls around 0, 1, 3, 7 of radius 3, 2, 3, 6
    assert precision_recall(real, samples, k=2).precision == 0.5


def test_sets_larger_than_a_block_are_treated_as_a_whole():
    """As by the whole matrix of distances; blocks have 1,000 points."""
    rng = np.random.default_rng(0)
    real, samples = rng.uniform(-1, 1, (2100, 2)), 1.5 * rng.uniform(-1, 1, (1001, 2))

    def share(points, centers):
        within = np.sort(np.sum((centers[:, None] - centers) ** 2, axis=2), axis=1)[:, 3]  # the first is the point
        return np.mean(np.any(np.sum((points[:, None] - centers) ** 2, axis=2) <= within, axis=1))

    assert precision_recall(real, samples) == (share(samples, real), share(real, samples))


def test_large_offsets_cost_no_digits():
    """float32 would see no distance below 0.06 at 1000."""
    x = np.random.default_rng(3).uniform(0, 1e-3, (50, 3)) + 1000.0
    assert precision_recall(x[:25], x[25:]) == precision_recall(x[:25] - 1000.0, x[25:] - 1000.0)


def test_impossible_sets_are_refused_with_the_reason():
    with pytest.raises(ValueError, match="at least 4 of each"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))
    with pytest.raises(ValueError, match=r"wanted \[N, F\]"):
        precision_recall(np.zeros((5, 2)), np.zeros((5, 3)))
