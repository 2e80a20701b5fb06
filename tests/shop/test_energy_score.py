"""The score of a trained energy is a score like any other: the samplers and the likelihood of the library run on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax.experiment import config as configs
from scorejax.experiment import trained
from scorejax.experiment.training.train import train

N = 4000
SIDE = np.linspace(-5, 5, 401, dtype=np.float32)
GRID = np.stack(np.meshgrid(SIDE, SIDE), axis=-1).reshape(-1, 2)
STILL = sj.ve(sigma_min=0.5, sigma_max=0.5001)  # a process that hardly adds noise: its law is that of the data
TIMES = sj.times.uniform(STILL, 20)


@pytest.fixture(scope="module")
def energy(tmp_path_factory):
    """A tiny energy after a few steps at a high rate, and its density on a grid."""
    workdir = tmp_path_factory.mktemp("energy")
    config = configs.load("energy:tiny", ["eval.after_training=false", "train.steps=40", "optim.lr=0.05"])
    config.optim.update({"warmup": 0, "decay": "none"})
    config.ema.decay = 0.0
    train(config, workdir)
    found = trained.restore(config, workdir)
    log_p = -np.asarray(found.recipe.law.energy(found.params, GRID), np.float64)
    return found, log_p - np.log(np.exp(log_p).sum() * (SIDE[1] - SIDE[0]) ** 2)


def moments(log_p):
    weight = np.exp(log_p) * (SIDE[1] - SIDE[0]) ** 2
    mean = weight @ GRID
    return mean, (GRID - mean).T @ (weight[:, None] * (GRID - mean))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["annealed_langevin", "langevin", "ald"])
def test_langevin_samplers_on_its_score_draw_from_its_density(energy, way):
    found, log_p = energy
    mean, covariance = moments(log_p)
    assert np.abs(mean).max() > 0.05 or np.abs(covariance - np.eye(2)).max() > 0.1  # not the untrained law
    if way == "annealed_langevin":
        moves = {"stepper": sj.samplers.annealed_langevin(epsilon=0.05, steps=20)}
    else:
        corrector = {"langevin": sj.samplers.langevin(0.16, 20, "batch"), "ald": sj.samplers.ald(0.3, 20)}[way]
        moves = {"stepper": sj.samplers.euler_maruyama(), "corrector": corrector}
    start = jax.random.normal(jax.random.key(1), (N, 2))
    score = found.model.score_given(None)
    x, nfe = sj.sample(jax.random.key(0), STILL, score, (N, 2), **moves, times=TIMES, x_init=start, denoise=False)
    assert nfe >= 400
    np.testing.assert_allclose(np.mean(x, axis=0), mean, atol=0.08)
    np.testing.assert_allclose(np.cov(np.asarray(x).T), covariance, atol=0.1)


@pytest.mark.slow
def test_the_likelihood_on_its_score_is_its_density_by_quadrature(energy):
    """The flow of a process that stands still moves nothing, and ends in the density that it is given for the prior."""
    found, log_p = energy
    points, of_points = GRID[::1601], log_p[::1601]
    constant = log_p[0] + np.float64(found.recipe.law.energy(found.params, GRID[:1])[0])

    def log_prior(x):
        return constant - found.recipe.law.energy(found.params, x)

    score = found.model.score_given(None)
    got = sj.log_prob(jax.random.key(0), STILL, score, points, divergence="exact", prior_logp=log_prior)
    assert np.all(got.ok)
    np.testing.assert_allclose(got.value, of_points, rtol=1e-3, atol=1e-2)


@pytest.mark.slow
def test_its_score_is_the_slope_of_the_density_on_the_grid(energy):
    found, log_p = energy
    spacing = SIDE[1] - SIDE[0]
    rows = log_p.reshape(len(SIDE), len(SIDE))
    slope = np.stack(np.gradient(rows, spacing)[::-1], axis=-1)[2:-2, 2:-2]
    score = found.model.score_given(None)(GRID, jnp.zeros(len(GRID)))
    np.testing.assert_allclose(np.asarray(score).reshape(*rows.shape, 2)[2:-2, 2:-2], slope, atol=0.02)


@pytest.mark.slow
def test_the_likelihood_of_the_untrained_energy_is_normal():
    """The standard normal law is that of every time of VP, so the energy's one score is exact at each."""
    config = configs.load("energy:tiny")
    recipe = trained.make_recipe(config)
    model = recipe.model(recipe.init(jax.random.key(0)))
    x = np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32)
    got = sj.log_prob(jax.random.key(0), sj.vp(), model.score_given(None), x, divergence="exact")
    np.testing.assert_allclose(got.value, jax.scipy.stats.norm.logpdf(x).sum(1), atol=1e-3)
