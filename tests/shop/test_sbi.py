"""Posteriors of parameters: with an exact score their laws, and the training of one from arrays to a folder."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy import stats

import scorejax as sj
from scorejax.experiment.model import Model
from scorejax.experiment.sbi import Posterior
from scorejax.runtime.errors import ConfigError

SDE, KEY, D = sj.vp(beta_max=30.0), jax.random.key(0), 3
NORMAL = sj.sbi.normal(np.zeros(D), np.full(D, 0.1**0.5))
BOX = sj.sbi.uniform([-1.0, 2.0, 0.0], [1.0, 3.0, 10.0])
OBSERVED = jnp.array([0.3, -0.2, 0.1])


def gaussian_linear(y, t, rows):
    """The score of standardized `theta ~ N(0, 0.1)` given `x ~ N(theta, 0.1)`: `y ~ N(row / 2^.5, 1/2)`."""
    a, v = SDE.alpha(t)[:, None], SDE.variance(t)[:, None]
    return -(y - a * rows / 2**0.5) / (0.5 * a**2 + v)


def of_prior(y, t, rows):
    """The score of a simulator whose data say nothing."""
    return -y / (SDE.alpha(t) ** 2 + SDE.variance(t))[:, None]


def posterior(score, prior):
    run = types.SimpleNamespace(sde=SDE, model=Model(sde=SDE, score=Partial(score), conditional=True))
    return Posterior(run, prior, True, np.zeros(D, np.float32), np.full(D, 0.2**0.5, np.float32))


EXACT = posterior(gaussian_linear, NORMAL)


@pytest.mark.parametrize(
    ("prior", "law"),
    [
        (BOX, stats.uniform([-1.0, 2.0, 0.0], [2.0, 1.0, 10.0])),
        (sj.sbi.normal([0.5, -1.0], [2.0, 0.1]), stats.norm([0.5, -1.0], [2.0, 0.1])),
        (sj.sbi.lognormal([-0.9, 0.3], [0.5, 0.2]), stats.lognorm([0.5, 0.2], scale=np.exp([-0.9, 0.3]))),
    ],
    ids=["uniform", "normal", "lognormal"],
)
def test_a_prior_has_its_density_and_is_standard_normal_in_its_map(prior, law):
    theta = prior.sample(KEY, 2000)
    np.testing.assert_allclose(prior.log_prob(theta), law.logpdf(theta).sum(axis=1), rtol=1e-4, atol=1e-4)
    y = prior.to_normal(theta)
    np.testing.assert_allclose(prior.from_normal(y), theta, rtol=1e-4, atol=1e-5)
    for column in np.asarray(y, np.float64).T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    if np.isfinite(law.support()[0][0]):
        assert np.isneginf(prior.log_prob(theta.at[0, 0].set(-5.0)))[0]


@pytest.mark.slow
def test_draws_and_densities_of_the_exact_score_are_those_of_the_posterior():
    law = stats.norm(np.asarray(OBSERVED) / 2, 0.05**0.5)
    drawn = EXACT.sample(KEY, OBSERVED, 4000)
    np.testing.assert_allclose(drawn.mean(axis=0), law.mean(), atol=5 * 0.05**0.5 / 4000**0.5)
    np.testing.assert_allclose(drawn.std(axis=0), law.std(), rtol=0.06)
    found = EXACT.log_prob(KEY, drawn[:8], OBSERVED)
    np.testing.assert_allclose(found, law.logpdf(drawn[:8]).sum(axis=1), atol=1e-3)
    np.testing.assert_allclose(EXACT.map(KEY, OBSERVED), law.mean(), atol=1e-2)


@pytest.mark.slow
def test_several_observations_are_composed():
    rows = jnp.stack([OBSERVED, OBSERVED + 0.2, OBSERVED - 0.5])
    drawn = EXACT.sample(KEY, rows, 2000)
    np.testing.assert_allclose(drawn.mean(axis=0), rows.sum(axis=0) / 4, atol=0.03)
    np.testing.assert_allclose(drawn.std(axis=0), (0.1 / 4) ** 0.5, rtol=0.12)
    np.testing.assert_allclose(EXACT.map(KEY, rows), rows.sum(axis=0) / 4, atol=1e-2)
    with pytest.raises(ValueError, match="one observation"):
        EXACT.log_prob(KEY, drawn[:2], rows)


@pytest.mark.slow
def test_the_most_probable_parameters_of_several_observations_are_chosen_by_their_density():
    """Modes at 0 and 2, of which one observation favors the first; three with the prior taken off twice the second."""
    law = sj.analytic.mixture([0.55, 0.45], [[0.0], [2.0]], [0.3, 0.3])
    run = types.SimpleNamespace(
        sde=SDE, model=Model(sde=SDE, score=Partial(lambda y, t, rows: law.score_at(SDE, y, t)), conditional=True)
    )
    made = Posterior(run, sj.sbi.normal([0.0], [1.0]), True, np.zeros(1, np.float32), np.ones(1, np.float32))
    np.testing.assert_allclose(made.map(KEY, jnp.zeros(1)), [0.0], atol=0.02)
    np.testing.assert_allclose(made.map(KEY, jnp.zeros((3, 1))), [2.0], atol=0.3)


@pytest.mark.slow
def test_what_lies_outside_of_the_bounds_has_no_density():
    flat = posterior(of_prior, BOX)
    theta = jnp.array([[0.0, 2.5, 5.0], [0.9, 2.1, 0.1], [1.1, 2.5, 5.0]])
    found = flat.log_prob(KEY, theta, OBSERVED)
    np.testing.assert_allclose(found[:2], -np.log(2 * 1 * 10), atol=2e-3)
    assert np.isneginf(found[2])
    drawn = flat.sample(KEY, OBSERVED, 500)
    assert (np.asarray(BOX.low) <= drawn).all() and (drawn <= np.asarray(BOX.high)).all()


@pytest.mark.slow
def test_calibration_passes_the_exact_posterior_and_fails_one_that_is_too_narrow():
    def simulate(key):
        theta = NORMAL.sample(key, 1)[0]
        return theta, theta + 0.1**0.5 * jax.random.normal(jax.random.fold_in(key, 9), (D,))

    def narrow(y, t, rows):
        a, v = SDE.alpha(t)[:, None], SDE.variance(t)[:, None]
        return -(y - a * rows / 2**0.5) / (0.5 * 0.8**2 * a**2 + v)

    p = [
        posterior(score, NORMAL).calibrate(KEY, simulate, 400, chunk=400).sbc.value
        for score in (gaussian_linear, narrow)
    ]
    assert p[0] > 1e-3 > p[1]


@pytest.mark.slow
def test_it_is_trained_from_arrays_and_read_again(tmp_path):
    theta = BOX.sample(KEY, 200)
    x = np.concatenate([theta, theta**2], axis=1)
    found = sj.sbi.fit(
        KEY, theta, x, prior=BOX, workdir=tmp_path / "run", settings=("train.steps=300", "model.depth=1")
    )
    again = sj.sbi.load(tmp_path / "run")
    drawn = found.sample(KEY, x[0], 50)
    np.testing.assert_array_equal(drawn, again.sample(KEY, x[0], 50))
    np.testing.assert_array_equal(again.prior.low, BOX.low)
    assert drawn.shape == (50, D) and (drawn <= np.asarray(BOX.high)).all()


@pytest.mark.parametrize(
    ("theta", "x", "prior", "words"),
    [
        (np.zeros((50, 2)), np.zeros((49, 2)), None, "as many rows"),
        (np.zeros((50,)), np.zeros((50, 2)), None, "theta must be numbers of shape"),
        (np.full((50, 2), np.nan), np.zeros((50, 2)), None, "theta"),
        (np.zeros((50, 2)), np.zeros((50, 2)), BOX, "the prior is of 3 parameters"),
        (np.full((50, 3), 2.5), np.zeros((50, 2)), BOX, "50 rows of theta lie outside of the prior"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(theta, x, prior, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        sj.sbi.fit(KEY, theta, x, prior=prior, workdir=tmp_path)


def test_what_does_not_fit_a_posterior_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        EXACT.sample(KEY, jnp.zeros(2), 4)
    with pytest.raises(ValueError, match=r"\(B, 3\)"):
        EXACT.log_prob(KEY, jnp.zeros((4, 2)), OBSERVED)
    unknown = Posterior(EXACT.run, NORMAL, False, EXACT.x_mean, EXACT.x_std)
    with pytest.raises(ValueError, match="prior is known"):
        unknown.sample(KEY, jnp.zeros((2, D)), 4)
    with pytest.raises(ConfigError, match=r"sbi\.json"):
        sj.sbi.load(tmp_path)
    with pytest.raises(ValueError, match="low must lie below high"):
        sj.sbi.uniform([0.0], [0.0])
