"""What the noise within the levels costs, in a world where the probability of every level is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm
from jax.tree_util import Partial

import scorejax as sj
from scorejax.likelihood import bound_bits, dequantized_bits

MEAN, STD, LEVELS = 0.1, 0.2, 8
LAW, SDE = sj.analytic.gaussian([MEAN] * 2, [STD**2] * 2), sj.vp()
EXAMPLES = jnp.array([[2, 5], [4, 6], [3, 6]])


def probability(levels):
    below, above = (norm.cdf(2 * (levels + i) / LEVELS - 1, MEAN, STD) for i in (0, 1))
    return below, above


def truncated(keys, levels):
    """The best dequantizer there is: the law itself within each level, `q(u | k) = p(k + u) / P(k)`."""
    below, above = probability(levels)
    v = jax.vmap(lambda key: jax.random.uniform(key, levels.shape[1:]))(keys)
    x = norm.ppf(below + v * (above - below), MEAN, STD)
    log_q = norm.logpdf(x, MEAN, STD) + jnp.log(2 / LEVELS) - jnp.log(above - below)
    return (x + 1) * LEVELS / 2 - levels, jnp.sum(log_q, axis=1)


def exact():
    below, above = probability(EXAMPLES)
    return -jnp.log2(above - below).mean(axis=1)


def bits(dequantizer, key=0):
    prior = Partial(lambda x: LAW.log_prob_at(SDE, x, SDE.t_max))
    return dequantized_bits(
        jax.random.key(key), SDE, LAW.score(SDE), EXAMPLES, LEVELS, dequantizer=dequantizer,
        divergence="exact", prior_logp=prior, rtol=1e-6, atol=1e-6,
    ).value  # fmt: skip


@pytest.mark.slow
def test_the_best_dequantizer_gives_the_probability_of_every_level_from_a_single_draw():
    np.testing.assert_allclose(bits(truncated), exact(), atol=1e-3)


@pytest.mark.slow
def test_uniform_noise_costs_the_divergence_between_it_and_the_density_within_the_level():
    """`E[-log p(k + u)] + log P(k)`, here by quadrature, is a Kullback-Leibler divergence and so positive."""
    u = (jnp.arange(400) + 0.5) / 400
    x = 2 * (EXAMPLES[..., None] + u) / LEVELS - 1
    expected = -(norm.logpdf(x, MEAN, STD).mean(-1) + jnp.log(2 / LEVELS)).mean(1) / jnp.log(2.0)
    assert np.all(expected > exact() + 0.25)
    many = jnp.repeat(EXAMPLES, 300, axis=0)
    found = bound_bits(jax.random.key(0), SDE, LAW.score(SDE), many, LEVELS, samples=100, chunk=10)
    found = np.asarray(found.value, np.float64).reshape(3, 300)
    assert np.all(np.abs(found.mean(1) - expected) < 4 * found.std(1) / 300**0.5 + 2e-3)


@pytest.mark.slow
def test_the_bound_takes_the_best_dequantizer_too():
    found = bound_bits(
        jax.random.key(0), SDE, LAW.score(SDE), EXAMPLES, LEVELS, dequantizer=truncated, passes=4, samples=1000
    )
    assert np.all(np.abs(found.value - exact()) < 4 * np.asarray(found.stderr) + 5e-3)
