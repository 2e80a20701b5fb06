"""Chains at one level of noise: Metropolis keeps the law exactly, unadjusted moves do not, diffusions are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax.samplers import chains

N = 20_000


def well(x, t):
    """`E = x^2 / 2 + cos 2x`, summed over the entries: two wells, and a gradient that grows like a line."""
    return jnp.sum(0.5 * x**2 + jnp.cos(2 * x), axis=1)


def test_a_proposal_is_taken_by_the_ratio_of_target_and_proposal_densities():
    """With every number of the rule written out, for one proposal of each chain."""
    energy, x, step, temperature = lambda x: well(x, 0), jnp.linspace(-2.0, 2.0, 12)[:, None], 0.6, 1.7
    keys = jax.random.split(jax.random.key(0), 12)
    at = chains.metropolis_start(energy, x)
    after = chains.metropolis_step(keys, energy, at, step, temperature)
    slope = lambda x: x - 2 * jnp.sin(2 * x)  # noqa: E731
    noise = np.stack([jax.random.normal(key, (1,)) for key in keys])
    to = np.asarray(x - step * slope(x) + np.sqrt(2 * step * temperature) * noise)
    log_q = lambda a, b: -((b - a + step * slope(a)) ** 2) / (4 * step * temperature)  # noqa: E731
    ratio = (well(x, 0) - well(to, 0)) / temperature + (log_q(to, x) - log_q(x, to))[:, 0]
    u = np.stack([jax.random.uniform(jax.random.fold_in(key, 1)) for key in keys])
    taken = np.log1p(-u) < ratio
    assert taken.any()
    assert not taken.all()
    np.testing.assert_array_equal(after.accepted, taken)
    np.testing.assert_allclose(after.x, np.where(taken[:, None], to, x), rtol=1e-5)
    np.testing.assert_allclose(after.energy, well(after.x, 0), rtol=1e-5)
    np.testing.assert_allclose(after.gradient, slope(after.x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_metropolis_keeps_the_law_of_an_energy_where_unadjusted_chains_miss_it():
    """A double well at a step for which plain chains are off; moments by quadrature."""
    grid = np.linspace(-8, 8, 4001)
    density = np.exp(-0.5 * grid**2 - np.cos(2 * grid))
    second = np.sum(grid**2 * density) / np.sum(density)
    sde, score = sj.still(start_scale=1.0), sj.score_from_energy(well)
    draw = lambda stepper: sj.sample(  # noqa: E731
        jax.random.key(1), sde, score, (N, 1), stepper=stepper, times=sj.times.uniform(sde, 20)
    )
    exact, plain = draw(sj.samplers.mala(0.3, 5)), draw(sj.samplers.ula(0.3, 5))
    error = np.std(np.asarray(exact.x) ** 2) / N**0.5
    assert abs(np.mean(exact.x**2) - second) < 5 * error < 0.05
    assert abs(np.mean(plain.x**2) - second) > 8 * error
    assert int(exact.nfe) == 20 * 6 + 1
    assert int(plain.nfe) == 20 * 5 + 1


def test_the_two_conventions_are_the_same_moves_at_half_the_step():
    assert sj.samplers.ula(0.2, convention="half").step_size == sj.samplers.ula(0.1).step_size
    assert sj.samplers.mala(0.2, convention="half").step_size == sj.samplers.mala(0.1).step_size
    with pytest.raises(ValueError, match="full, half"):
        sj.samplers.ula(0.1, convention="third")


def test_what_does_not_move_is_no_diffusion():
    """Steppers that carry noise to data, and likelihoods by them, refuse one density."""
    sde, score = sj.still(0.5), lambda x, t: -x
    x, key, times = jnp.ones((2, 3)), jax.random.key(0), np.array([1.0, 0.5, 0.0])
    for refused in (
        lambda: sj.sample(key, sde, score, (2, 3), stepper=sj.samplers.ddim(), times=times),
        lambda: sj.log_prob(key, sde, score, x),
        lambda: sj.encode(sde, score, x),
        lambda: sj.likelihood.likelihood_bound(key, sde, score, x),
    ):
        with pytest.raises(ValueError, match="one density at one level"):
            refused()
    with pytest.raises(ValueError, match="by their energy"):
        sj.sample(key, sde, score, (2, 3), stepper=sj.samplers.mala(), times=times)


def test_a_still_process_has_one_level_and_denoises_it():
    """`E[x_0 | x] = x + sigma^2 score`, at every time; the start is a law of its own."""
    sde = sj.still(0.5, start_scale=3.0)
    x, t = jnp.array([[1.0, 2.0]]), jnp.array([0.3])
    np.testing.assert_allclose(sj.tweedie(sde, x, t, -x / 1.25), x * (1 - 0.25 / 1.25), rtol=1e-6)
    assert float(jnp.std(sde.prior_sample(jax.random.key(0), (4000, 2)))) == pytest.approx(3.0, rel=0.05)
    np.testing.assert_allclose(sj.tweedie(sj.still(), x, t, -x), x)
