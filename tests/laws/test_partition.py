"""Partition functions: what a quadrature and annealed importance sampling say of energies whose constant is known."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.likelihood import partition as partitions
from scorejax.likelihood.hamiltonian import Bridge

WELLS = math.log(2 * math.pi * (0.25 + 0.09))


def wells(x):
    """Two wells in the plane, of variances 0.25 and 0.09."""
    near, far = (jnp.sum((x - c) ** 2, axis=1) / (2 * v) for c, v in ((1.0, 0.25), (-1.0, 0.09)))
    return -jnp.logaddexp(-near, -far)


def bowl(x):
    """`exp(-E)` is `e^-3` times a normal law of variance 0.25 around 0.5, without its constant."""
    return 3.0 + 2.0 * jnp.sum((x - 0.5) ** 2, axis=1)


# ---- Quadrature


@pytest.mark.parametrize(
    ("energy", "corner", "points", "expected"),
    [(wells, [6.0, 5.0], 128, WELLS), (bowl, [5.0], 64, 0.5 * math.log(2 * math.pi * 0.25) - 3)],
)
def test_a_quadrature_is_the_integral_in_one_and_two_dimensions(energy, corner, points, expected):
    found = partitions.quadrature(energy, [-c for c in corner], corner, points=points)
    assert float(found.log_z) == pytest.approx(expected, abs=2e-6)
    assert float(found.stderr) < 1e-5 and found.low <= found.log_z <= found.high


def test_the_error_of_a_quadrature_covers_a_coarse_grid_and_a_box_that_is_too_small():
    coarse = partitions.quadrature(bowl, [-5.0], [5.3], points=10)
    small = partitions.quadrature(bowl, [-0.5], [1.5], points=64)
    truth = 0.5 * math.log(2 * math.pi * 0.25) - 3
    for found in (coarse, small):
        assert 1e-3 < abs(float(found.log_z) - truth) <= float(found.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([-1.0] * 3, [1.0] * 3), "one or two dimensions, got 3"),
        (([1.0], [-1.0]), "low < high"),
        (([-1.0], [1.0], 7), "even number of points"),
    ],
)
def test_a_quadrature_says_what_it_does_not_serve(arguments, message):
    low, high, *points = arguments
    with pytest.raises(ValueError, match=message):
        partitions.quadrature(bowl, low, high, points=points[0] if points else 8)


# ---- Annealed importance sampling


@pytest.mark.parametrize(("chains", "expected"), [(10, 2.2622), (16, 2.1314), (64, 1.9983), (10**6, 1.96)])
def test_the_quantile_of_an_interval_is_that_of_students_law(chains, expected):
    assert partitions.quantile_95(chains) == pytest.approx(expected, abs=0.02)


@pytest.mark.slow
def test_chains_that_begin_in_the_law_of_the_energy_know_its_constant_exactly():
    """All laws of the path are one, so every weight is Z, whatever the moves do."""
    found = partitions.annealed_importance_sampling(
        jax.random.key(0), bowl, (1,), mean=0.5, scale=0.5, chains=4, levels=3, leapfrog_steps=1
    )
    assert float(found.log_z) == pytest.approx(0.5 * math.log(2 * math.pi * 0.25) - 3, abs=1e-5)
    assert float(found.stderr) < 1e-5 and float(found.ess) == pytest.approx(4, abs=1e-3)


@functools.cache
def runs():
    """Many small runs of one program."""

    def once(key):
        return partitions.annealed_importance_sampling(
            key, wells, (2,), scale=1.5, chains=16, levels=40, leapfrog_steps=2
        )

    return jax.jit(jax.vmap(once))(jax.random.split(jax.random.key(1), 800))


@pytest.mark.slow
def test_intervals_of_annealed_importance_sampling_cover_the_truth_as_often_as_they_say():
    found = runs()
    off = np.abs(np.asarray(found.log_z) - WELLS)
    # 16 chains: the standard error is itself uncertain, so a little less than 68 %; the interval knows of it.
    assert np.mean(off < found.stderr) == pytest.approx(0.6827, abs=0.05)
    assert np.mean((found.low < WELLS) & (found.high > WELLS)) == pytest.approx(0.95, abs=0.025)
    assert np.std(found.log_z) == pytest.approx(float(np.mean(found.stderr)), rel=0.1)


@pytest.mark.slow
def test_the_mean_weight_is_the_partition_function_and_the_mean_logarithm_lies_below_its_own():
    found = runs()
    ratio = np.exp(np.asarray(found.log_z, np.float64) - WELLS)
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / len(ratio) ** 0.5)
    below = WELLS - np.mean(found.log_z)
    spread = float(np.std(found.log_z))
    assert below == pytest.approx(spread**2 / 2, abs=4 * spread / len(ratio) ** 0.5)  # Jensen, to second order
    assert below > 0


@pytest.mark.slow
def test_the_pilot_finds_step_sizes_for_the_acceptance_that_is_asked_for():
    """In ten dimensions, on a law five times narrower than the one that the chains begin in."""

    def narrow(x):
        return 12.5 * jnp.sum(x**2, axis=1)

    found = partitions.annealed_importance_sampling(
        jax.random.key(0), narrow, (10,), chains=16, levels=300, leapfrog_steps=3, acceptance=0.8
    )
    assert float(found.acceptance) == pytest.approx(0.8, abs=0.04)
    assert float(found.log_z) == pytest.approx(5 * math.log(2 * math.pi * 0.04), abs=5 * float(found.stderr))


def test_a_hamiltonian_move_is_a_rotation_of_the_normal_law_and_refuses_what_is_not_finite():
    """In a harmonic well the leapfrog conserves `x^2 (1 - h^2/4) + p^2` exactly, and nothing is refused at small h."""
    bridge = Bridge(lambda x: 0.5 * jnp.sum(x**2, axis=1), jnp.float32(0.0), jnp.float32(1.0))
    keys = jax.random.split(jax.random.key(0), 64)
    start = bridge.place(jnp.linspace(-2, 2, 64)[:, None])
    h = 0.05
    moved = bridge.move(keys, start, jnp.float32(1.0), jnp.float32(h), 30)
    assert np.asarray(moved.accepted).mean() > 0.95 and np.abs(moved.place.x - start.x).max() > 0.5
    np.testing.assert_allclose(moved.place.energy, 0.5 * moved.place.x[:, 0] ** 2, rtol=1e-5)
    broken = Bridge(lambda x: jnp.sum(jnp.where(x > 0, jnp.nan, x**2), axis=1), jnp.float32(0.0), jnp.float32(1.0))
    start = broken.place(jnp.full((64, 1), -0.1))
    after = broken.move(keys, start, jnp.float32(1.0), jnp.float32(0.5), 3)
    assert bool(jnp.all(after.place.x < 0)) and 0 < np.mean(after.accepted) < 1


def test_numbers_that_make_no_estimate_are_refused():
    for wrong in ({"levels": 0}, {"acceptance": 1.0}, {"leapfrog_steps": 0}):
        with pytest.raises(ValueError, match="at least one chain, level and leapfrog step"):
            partitions.annealed_importance_sampling(jax.random.key(0), bowl, (1,), **wrong)
