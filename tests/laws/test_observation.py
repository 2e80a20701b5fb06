"""Laws of an example given the outputs of a decoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.likelihood.decoder import logistic_level_log_prob
from scorejax.likelihood.gray_levels import to_levels, to_model
from scorejax.likelihood.observation import Binary, Levels, Values

OUTPUTS = jnp.asarray(np.random.default_rng(0).uniform(-1.5, 1.0, (6, 2)), jnp.float32)
KEYS = jax.random.split(jax.random.key(0), 4000)
LAWS = [(family, centered) for family in ("logistic", "gaussian") for centered in (True, False)]


def every_level(count, centered):
    levels = np.arange(count, dtype=np.uint8)[:, None]
    return to_model(None, jnp.broadcast_to(levels, (count, 6)), count, centered=centered, dequantize=False)


@pytest.mark.parametrize(("family", "centered"), LAWS)
def test_gray_levels_have_probabilities_that_sum_to_one_and_are_drawn_as_often(family, centered):
    law = Levels(5, centered, family)
    each = jnp.stack([law.log_prob(OUTPUTS[i : i + 1], every_level(5, centered)[:, i : i + 1]) for i in range(6)], 1)
    np.testing.assert_allclose(np.sum(np.exp(each), axis=0), 1.0, atol=1e-5)
    drawn = to_levels(law.draw(KEYS, jnp.broadcast_to(OUTPUTS, (4000, 6, 2))), 5, centered=centered)
    often = np.mean(np.asarray(drawn)[:, None] == np.arange(5)[:, None], axis=0)
    np.testing.assert_allclose(often, np.exp(each), atol=4 * 0.5 / 4000**0.5)


def test_a_logistic_law_of_levels_is_exact_where_differences_of_sigmoids_are_not():
    """A level far from the mean, against float64; the first and the last level hold what lies outside."""
    points = every_level(256, True)[:, :1]
    for log_scale in (-7.0, -3.0, 1.0):
        got = np.asarray(logistic_level_log_prob(points, jnp.float32(0.3), jnp.float32(log_scale), 256), np.float64)
        assert np.isfinite(got).all()
        assert np.exp(got).sum() == pytest.approx(1.0, abs=1e-4)
    scale, x = np.exp(1.0), np.asarray(points, np.float64)[100]
    edge = lambda y: 1 / (1 + np.exp(-(y - np.float32(0.3)) / scale))  # noqa: E731
    np.testing.assert_allclose(got[100], np.log(edge(x + 1 / 256) - edge(x - 1 / 256)), rtol=1e-5)


@pytest.mark.parametrize("family", ["logistic", "gaussian"])
def test_vectors_have_densities_that_integrate_to_one_about_the_moments_of_their_draws(family):
    law, grid = Values(family), jnp.linspace(-60, 60, 20_001)[:, None]
    density = np.exp(np.asarray(law.log_prob(jnp.asarray([[0.4, 0.2]]), grid), np.float64))
    step, x = 0.006, np.asarray(grid[:, 0], np.float64)
    assert density.sum() * step == pytest.approx(1.0, abs=1e-3)
    drawn = np.asarray(law.draw(KEYS, jnp.broadcast_to(jnp.asarray([0.4, 0.2]), (4000, 1, 2))))
    variance = density @ (x - 0.4) ** 2 * step
    assert drawn.mean() == pytest.approx(0.4, abs=5 * (variance / 4000) ** 0.5)
    assert drawn.var() == pytest.approx(variance, rel=0.15)
    np.testing.assert_allclose(law.draw(None, jnp.asarray([[[0.4, 0.2]]])), [[0.4]])


@pytest.mark.parametrize("centered", [True, False])
def test_pixels_are_white_as_often_as_their_gray_level_or_their_logit_says(centered):
    law = Binary(5, centered)
    x = to_model(
        None, jnp.broadcast_to(jnp.arange(5, dtype=jnp.uint8), (4000, 5)), 5, centered=centered, dequantize=False
    )
    seen = np.asarray(law.observe(KEYS, x))
    assert set(np.unique(seen)) == {-1.0 if centered else 0.0, 1.0}
    np.testing.assert_allclose(np.mean(seen > 0, axis=0), [0, 0.25, 0.5, 0.75, 1], atol=0.03)
    logits = jnp.asarray([[[-1.0], [2.0]]])
    chance = 1 / (1 + np.exp([1.0, -2.0]))
    drawn = np.asarray(law.draw(KEYS, jnp.broadcast_to(logits, (4000, 2, 1)))) > 0
    np.testing.assert_allclose(drawn.mean(0), chance, atol=0.03)
    found = law.log_prob(logits, jnp.asarray([[1.0, 1.0]]))
    np.testing.assert_allclose(found, [np.log(chance).sum()], rtol=1e-5)
    gray = law.draw(None, logits)[0]
    np.testing.assert_allclose((gray + 1) / 2 if centered else gray, chance, rtol=1e-5)
