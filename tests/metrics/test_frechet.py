from pathlib import Path

import numpy as np
import pytest

from scorejax.metrics import Moments, distance, frechet_distance

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "fid_random_features.npz")


def spd(seed, dim):
    a = np.random.default_rng(seed).standard_normal((dim, 2 * dim))
    return a @ a.T / dim


@pytest.mark.parametrize(("pair", "rtol"), [("ab", 1e-9), ("ac", 1e-4)])
def test_the_distance_is_that_of_the_reference(pair, rtol):
    """The set c has fewer samples than features; there the reference's own square root is good to 1e-3."""
    got = distance(Moments.of(GOLDEN[pair[0]]), Moments.of(GOLDEN[pair[1]]))
    np.testing.assert_allclose(got, GOLDEN[f"fid_{pair[0]}_{pair[1]}"], rtol=rtol)


def test_moments_are_those_of_the_reference():
    got = Moments.of(GOLDEN["a"])
    np.testing.assert_allclose(got.mean, GOLDEN["mu_a"], atol=1e-7)
    np.testing.assert_allclose(got.covariance, GOLDEN["sigma_a"], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["a", "c"])
def test_a_set_has_distance_zero_from_itself_even_if_its_covariance_is_singular(name):
    m = Moments.of(GOLDEN[name])
    assert abs(distance(m, m)) < 1e-11 * np.trace(m.covariance)


def test_commuting_covariances_have_the_closed_form():
    """For C = diag(a^2): |m1 - m2|^2 + sum (a1 - a2)^2, zeros included."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    a1, a2 = rng.uniform(0, 2, (2, 6)) * [[1, 1, 1, 0, 0, 1], [1, 1, 0, 1, 0, 1]]
    m1, m2 = rng.standard_normal((2, 6))
    c1, c2 = ((turn * a**2) @ turn.T for a in (a1, a2))
    expected = np.sum((m1 - m2) ** 2) + np.sum((a1 - a2) ** 2)
    np.testing.assert_allclose(frechet_distance(m1, c1, m2, c2), expected, rtol=1e-12)


def test_covariances_that_do_not_commute_agree_with_the_eigenvalues_of_their_product():
    c1, c2 = spd(1, 8), spd(2, 8)
    overlap = np.sqrt(np.linalg.eigvals(c1 @ c2).real).sum()
    zero = np.zeros(8)
    expected = np.trace(c1) + np.trace(c2) - 2 * overlap
    np.testing.assert_allclose(frechet_distance(zero, c1, zero, c2), expected, rtol=1e-10)


def test_the_distance_is_symmetric_and_the_squared_transport_cost_of_a_linear_map():
    """x -> A x with A symmetric positive is the optimal map, so the cost is tr (A - 1) C (A - 1)."""
    c, a = spd(3, 5), spd(4, 5)
    zero, move = np.zeros(5), a - np.eye(5)
    there = frechet_distance(zero, c, zero, a @ c @ a)
    np.testing.assert_allclose(there, np.trace(move @ c @ move), rtol=1e-10)
    np.testing.assert_allclose(frechet_distance(zero, a @ c @ a, zero, c), there, rtol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_streaming_moments_do_not_depend_on_how_the_set_is_cut(offset):
    x = np.random.default_rng(0).standard_normal((101, 5)) + offset
    parts = [Moments.of(part) for part in np.split(x, [1, 40, 41, 77])]
    total = parts[3]
    for i in (0, 4, 1, 2):
        total = total.merge(parts[i])
    assert total.count == 101
    np.testing.assert_allclose(total.mean, x.mean(0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(total.covariance, np.cov(x.T), rtol=1e-7, atol=1e-9)


def test_features_of_different_networks_are_never_compared():
    one, other = Moments.of(GOLDEN["a"], "pixels"), Moments.of(GOLDEN["b"], "inception")
    for act in (distance, Moments.merge):
        with pytest.raises(ValueError, match="'pixels' and of 'inception'"):
            act(one, other)


def test_impossible_distances_are_refused_with_the_reason():
    mu, cov = np.zeros(3), np.eye(3)
    with pytest.raises(ValueError, match="shapes do not match"):
        frechet_distance(mu, cov, np.zeros(4), np.eye(4))
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance(mu, cov * np.nan, mu, cov)
    with pytest.raises(ValueError, match="at least 2"):
        _ = Moments.of(np.zeros((1, 3))).covariance
    with pytest.raises(ValueError, match="non-empty"):
        Moments.of(np.zeros((0, 3)))
