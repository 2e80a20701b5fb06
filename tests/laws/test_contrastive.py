"""Laws of contrastive divergence, with quadratic energies and moments instead of samples.

Nothing here is drawn at random but the noise of a move, whose size is read off.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.objectives.contrastive import contrastive
from scorejax.samplers.negatives import Chains, Negatives


def well(p):
    return lambda x: 0.5 * p * jnp.sum(x**2, axis=1)


def langevin(epsilon, steps=1):
    """Moves `x + epsilon / 2 score + sqrt(epsilon) z`."""
    return Chains(steps, epsilon / 2, math.sqrt(epsilon), 1.0)


@functools.partial(jax.jit, static_argnums=0)
def slope_and_noise(chains, p):
    """A move in a quadratic well is `a x + tau z`: its two numbers, from the code itself."""
    keys = jax.random.split(jax.random.key(0), 2)[:1]
    ends = [chains.round(well(p), keys, jnp.full((1, 1), x))[0, 0] for x in (0.0, 1.0)]
    z = Chains(1, chains.step_size, 1.0, 1.0).round(well(p), keys, jnp.zeros((1, 1)))[0, 0]
    return ends[1] - ends[0], ends[0] / z


def variance(chains, p, v, steps):
    """Of chains of variance `v` after so many moves; None: of those that never end."""
    a, tau = map(float, slope_and_noise(chains, p))
    return (
        tau**2 / (1 - a**2)
        if steps is None
        else a ** (2 * steps) * v + tau**2 * sum(a ** (2 * i) for i in range(steps))
    )


def points(mean, covariance):
    """Points whose mean and covariance are exactly these."""
    root = np.linalg.cholesky(covariance) * len(mean) ** 0.5
    return jnp.asarray(np.concatenate([mean + root.T, mean - root.T]), jnp.float32)


def test_the_gradient_of_a_quadratic_energy_is_that_of_its_likelihood():
    """`d/dP = (S + (m - b)(m - b)^T - P^-1) / 2` and `d/db = -P (m - b)` for data of mean m and covariance S."""
    precision, b = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([0.3, -0.2])
    covariance, m = np.array([[1.5, -0.4], [-0.4, 0.8]]), np.array([1.0, 0.5])
    data, samples = points(m, covariance), points(b, np.linalg.inv(precision))

    def mean_loss(P, b):
        energy = lambda x: 0.5 * jnp.einsum("ni,ij,nj->n", x - b, P, x - b)  # noqa: E731
        return jnp.mean(contrastive(energy, data, samples).loss)

    of_p, of_b = jax.grad(mean_loss, argnums=(0, 1))(jnp.asarray(precision), jnp.asarray(b))
    gap = (m - b)[:, None] @ (m - b)[None]
    np.testing.assert_allclose(of_p, 0.5 * (covariance + gap - np.linalg.inv(precision)), atol=1e-5)
    np.testing.assert_allclose(of_b, -precision @ (m - b), atol=1e-5)


@pytest.mark.parametrize(
    ("step_size", "noise_scale", "temperature"),
    [(0.3, 0.1, 1 / 60), (1.0, 0.01, 5e-5), (10.0, 0.005, 1.25e-6), (0.02, 0.2, 1.0)],
)
def test_step_size_and_noise_scale_make_a_temperature(step_size, noise_scale, temperature):
    assert Chains(1, step_size, noise_scale, 1.0).temperature == pytest.approx(temperature)


def test_chains_with_a_noise_scale_of_their_own_have_a_variance_of_their_own():
    """`tau^2 / (2 eta p - eta^2 p^2)`: 0.0196078 for eta = 0.3, tau = 0.1, p = 1."""
    assert variance(Chains(1, 0.3, 0.1, 1.0), 1.0, 1.0, None) == pytest.approx(0.0196078, abs=1e-6)


@jax.jit
@jax.grad
def slope_of_contrast(p, s2, v):
    """The gradient to `p` of the mean loss, of data of variance `s2` and samples of variance `v`."""
    both = jnp.array([[1.0], [-1.0]])
    return jnp.mean(contrastive(well(p), s2**0.5 * both, v**0.5 * both).loss)


def of_contrast(chains, p, steps, s2=1.0):
    """The same where the samples are chains that begin at the data."""
    return float(slope_of_contrast(p, s2, variance(chains, p, s2, steps)))


@pytest.mark.parametrize("steps", [1, 7, None], ids=["CD-1", "CD-7", "PCD"])
def test_contrastive_divergence_of_any_length_and_persistent_chains_share_a_fixed_point(steps):
    """`p = (2 / eps) (1 - sqrt(1 - eps / s^2))`, 4 - 2 sqrt 2 = 1.171573 for eps = 0.5 and s = 1, and not 1."""
    chains, low, high = langevin(0.5), 0.5, 2.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if of_contrast(chains, middle, steps) < 0 else (low, middle)
    assert low == pytest.approx(4 - 2 * math.sqrt(2), abs=1e-4)
    assert low == pytest.approx(1.171573, abs=1e-4)


@pytest.mark.parametrize(("epsilon", "expected"), [(0.1, 1.116075), (1e-3, 1.21)])
def test_contrastive_divergence_of_one_small_step_is_score_matching(epsilon, expected):
    """`(2 / eps) dCD-1 = p s^2 - 1 - eps p^2 s^2 / 4` (Hyvarinen 2007); the limit is the slope of his loss."""
    got = 2 / epsilon * of_contrast(langevin(epsilon), 1.7, 1, s2=1.3)
    assert got == pytest.approx(expected, rel=1e-3)


def test_samples_take_no_gradient_and_pairs_that_are_not_sound_count_for_nothing():
    x, samples = jnp.array([[1.0], [2.0]]), jnp.array([[0.5], [jnp.inf]])
    sound = jnp.array([True, False])
    found = contrastive(well(1.0), x, samples, sound=sound)
    np.testing.assert_allclose(found.loss, [0.375, 0.0])
    to_samples = jax.grad(lambda s: jnp.sum(contrastive(well(1.0), x, s, sound=sound).loss))(samples)
    np.testing.assert_array_equal(to_samples, np.zeros((2, 1)))
    with pytest.raises(ValueError, match="shape of the data"):
        contrastive(well(1.0), x, samples[:1])


# ---- Where chains begin, and what becomes of those that run away

KEYS = jax.random.split(jax.random.key(2), 4)
X = jnp.arange(1.0, 5.0)[:, None]
STILL = Chains(1, 1e-12, 0.0, 3.0)  # hardly moves


UNIT = well(1.0)


def drawn(negatives, carry, step=0, energy=UNIT, seed=0):
    return negatives.draw(energy, carry, X, KEYS, jnp.int32(step), jax.random.key(seed))


def test_chains_of_contrastive_divergence_begin_at_the_data_and_nothing_is_remembered():
    negatives = Negatives("data", 1, 0.0, STILL)
    assert negatives.carry(jax.random.key(0), (1,)) is None
    found = drawn(negatives, None)
    np.testing.assert_allclose(found.x, X, atol=1e-6)
    assert found.carry is None


def test_a_buffer_is_drawn_from_without_repetition_and_keeps_what_comes_back():
    negatives = Negatives("buffer", 6, 0.0, STILL)
    carry = negatives.carry(jax.random.key(0), (1,))
    of_step = [drawn(negatives, carry, seed=seed) for seed in range(8)]
    for found in of_step:
        assert len(np.unique(found.x)) == 4 and np.isin(np.round(found.x, 4), np.round(carry, 4)).all()
        np.testing.assert_allclose(found.carry, carry, atol=1e-6)
    assert len({tuple(np.asarray(found.x)[:, 0]) for found in of_step}) > 1  # not the same ones in every step


def test_a_share_of_a_buffer_begins_anew():
    carry = jnp.full((6, 1), 77.0)
    assert not np.any(drawn(Negatives("buffer", 6, 1.0, STILL), carry).x == 77.0)
    after = drawn(Negatives("buffer", 6, 1.0, STILL), carry).carry
    assert np.sum(after == 77.0) == 2


def test_chains_that_run_away_begin_anew_and_say_so():
    """Three ways to run away: no number, far out, and an energy that is no number."""
    carry = jnp.array([[0.5], [jnp.nan], [1e4], [-2.0]])

    def energy(x):
        return jnp.where(x[:, 0] < -1, jnp.nan, 0.5 * jnp.sum(x**2, axis=1))

    found = drawn(Negatives("persistent", 4, 0.0, STILL), carry, energy=energy)
    np.testing.assert_array_equal(found.sound, [True, False, False, False])
    assert bool(jnp.all(jnp.isfinite(found.x))) and float(jnp.abs(found.x).max()) < 15
    np.testing.assert_allclose(found.x[0], 0.5, atol=1e-6)
    np.testing.assert_array_equal(found.carry, found.x)


def test_moves_are_held_by_a_limit_of_slopes_and_by_the_range_of_images():
    steep = Chains(1, 1.0, 0.0, 1.0, gradient_clip=0.1)
    np.testing.assert_allclose(steep.round(well(50.0), KEYS, X), X - 0.1, rtol=1e-6)
    inside = Chains(5, 0.1, 3.0, 4.0, interval=(-1.0, 1.0))
    for x in (
        inside.start(KEYS, X.shape),
        inside.round(well(1.0), KEYS, X),
        Negatives("buffer", 64, 0.0, inside).carry(KEYS[0], (1,)),
    ):
        assert float(jnp.abs(x).max()) <= 1.0


def test_a_buffer_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"recipe.chains = 3 are fewer than the 4 examples"):
        drawn(Negatives("buffer", 3, 0.0, STILL), jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"have the shape \(6, 2\), and these settings and data need \(6, 1\)"):
        drawn(Negatives("buffer", 6, 0.0, STILL), jnp.zeros((6, 2)))
