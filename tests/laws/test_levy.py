"""Gibbs sampling of random walks with heavy-tailed or sparse steps, against quadrature and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import scorejax as sj
from scorejax.posterior.levy import LevyWorld, draw_steps, seen_by

KEY, SIGMA, DRAWS = jax.random.key(0), 0.5, 3000
MATRIX, Y = np.array([[1.0, 0.6], [0.0, 1.0]], np.float32), np.array([1.3, 0.4], np.float32)
LINE = np.arange(-60.0, 60.0, 0.05) + 0.025


def joint(laws):
    """Mean, second moments and shares of zero of two steps, by quadrature with an atom where a law has one."""
    total, moments = 0.0, np.zeros(4)
    atom = [(np.zeros(1), np.full(1, mass)) for _, mass in laws]
    smooth = [(LINE, (1.0 - mass) * density(LINE) * 0.05) for density, mass in laws]
    for first in (atom[0], smooth[0]):
        for second in (atom[1], smooth[1]):
            u, v = first[0][:, None], second[0][None]
            residual = (Y[0] - u - 0.6 * v) ** 2 + (Y[1] - v) ** 2
            weight = first[1][:, None] * second[1] * np.exp(-0.5 * residual / SIGMA**2)
            total += weight.sum()
            zero = np.broadcast_to(u == 0.0, weight.shape)
            moments += [(weight * u).sum(), (weight * v).sum(), (weight * u**2).sum(), weight[zero].sum()]
    return moments / total


LAWS = {
    "laplace": (stats.laplace.pdf, 0.0),
    "student": (stats.t(3.0).pdf, 0.0),
    "bernoulli_laplace": (stats.laplace.pdf, 0.7),
}


@pytest.mark.slow
@pytest.mark.parametrize("steps", LAWS)
def test_steps_are_drawn_from_their_posterior(steps):
    world = LevyWorld(seen_by("identity"), SIGMA, degrees=3.0, share=0.3, steps=steps, burn_in=50, thin=3)
    keys = jax.random.split(KEY, 8)
    chains = jax.jit(jax.vmap(lambda key: draw_steps(world, key, jnp.asarray(MATRIX), jnp.asarray(Y), DRAWS // 8)))(
        keys
    )
    u = np.asarray(chains).reshape(-1, 2)
    found = [u[:, 0].mean(), u[:, 1].mean(), (u[:, 0] ** 2).mean(), (u[:, 0] == 0.0).mean()]
    np.testing.assert_allclose(found, joint([LAWS[steps]] * 2), atol=0.07)


@pytest.mark.slow
def test_gaussian_walks_have_the_closed_form():
    exact = sj.worlds.levy("gaussian", "blur")
    walk = LevyWorld(exact.operator, exact.sigma_y, steps="gaussian", burn_in=1, thin=1)
    _, y = walk.simulate(KEY)
    x = np.asarray(jax.jit(lambda key: walk.draw(key, y, 1500))(KEY))
    law = exact.posterior(y)
    std = np.asarray(exact.exact(y).std)
    np.testing.assert_allclose((x.mean(axis=0) - law.mean()) / std, 0.0, atol=0.12)
    np.testing.assert_allclose(x.std(axis=0) / std, 1.0, atol=0.1)


def test_measurements_see_what_they_say_and_their_noise_is_25_decibels_below():
    assert [seen_by(name).matrix.shape[0] for name in ("identity", "blur", "sampling")] == [64, 64, 33]
    fourier = np.asarray(seen_by("fourier").matrix)
    np.testing.assert_allclose(fourier @ fourier.T, np.eye(len(fourier)), atol=1e-5)
    world = sj.worlds.levy("laplace", "sampling")
    clean = world.measure(world.sample(jax.random.key(1), 500))
    np.testing.assert_allclose(10 * np.log10(np.median((clean**2).mean(1)) / world.sigma_y**2), 25.0, atol=1.5)
    with pytest.raises(ValueError, match="unknown steps 'cauchy'; choose one of gaussian, laplace"):
        sj.worlds.levy("cauchy")
    with pytest.raises(ValueError, match="degrees must be positive"):
        sj.worlds.levy("student", degrees=0.0)
