import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_chains import LINEAR, TWO_HUMPS
from jax.tree_util import Partial

import scorejax as sj
from scorejax import reverse
from scorejax.likelihood import elbo
from scorejax.likelihood.gray_levels import to_levels
from scorejax.objectives import LossHistory, denoising, draw_terms, hybrid, vlb
from scorejax.reverse import optimal_times as trajectories
from scorejax.reverse.variance import LearnedRange

N = 8000
TIMES = trajectories.even(LINEAR, 6)


@pytest.fixture(scope="module")
def world():
    x0 = TWO_HUMPS.sample(jax.random.key(0), N)
    return x0, reverse.chain(LINEAR, TIMES, variance="forward"), TWO_HUMPS.score(LINEAR)


def share(value, x, t):
    return jnp.full_like(x, value)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [None, 64])
@pytest.mark.parametrize("proposal", [None, (0.1, 0.1, 0.1, 0.1, 0.2, 0.4)])
def test_a_weighted_term_is_an_unbiased_estimate_of_the_bound(world, levels, proposal):
    x0, chain, score = world
    data = x0 if levels is None else to_levels(x0, levels)
    p = None if proposal is None else jnp.array(proposal)
    found = jax.jit(lambda key: vlb(key, LINEAR, score, x0, chain=chain, levels=levels, proposal=p))(jax.random.key(1))
    whole = elbo(jax.random.key(2), LINEAR, score, data, chain, levels=levels)
    without_prior = np.asarray(whole.total - whole.prior)
    error = np.hypot(np.std(found), np.std(without_prior)) / N**0.5
    assert abs(np.mean(found) - without_prior.mean()) < 4.5 * error
    assert error < 0.3


def test_the_hybrid_loss_trains_the_mean_as_the_simple_loss_does(world):
    """The bound sees the mean as a constant; its gradient reaches the variance head alone."""
    x0 = world[0][:64]

    def losses(parts):
        def loss(a, b, lambda_vlb):
            chain = reverse.chain(LINEAR, TIMES, variance=LearnedRange(Partial(share, b)))

            def score(x, t):
                return -a * x

            return hybrid(jax.random.key(3), LINEAR, score, x0, chain=chain, lambda_vlb=lambda_vlb).mean()

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(0.7, 0.4, parts)

    (simple, nothing), (both, head) = losses(0.0), losses(0.001)
    np.testing.assert_allclose(both, simple, rtol=1e-6)
    assert nothing == 0.0
    assert abs(head) > 1e-5


def test_without_the_bound_the_hybrid_loss_is_denoising(world):
    x0, _, score = world
    chain = reverse.chain(LINEAR, TIMES, variance=LearnedRange(Partial(share, 0.5)))
    simple = jax.jit(lambda key: hybrid(key, LINEAR, score, x0, chain=chain, lambda_vlb=0.0))(jax.random.key(4))
    t = jnp.asarray(TIMES, jnp.float32)[jax.random.randint(jax.random.key(5), (N,), 0, 6)]
    same = jax.jit(lambda key: denoising(key, LINEAR, score, x0, t=t))(jax.random.key(6))
    assert abs(simple.mean() - same.mean()) < 4.5 * np.hypot(np.std(simple), np.std(same)) / N**0.5


def test_the_history_proposes_terms_by_the_size_of_their_losses():
    sizes, key = jnp.array([1.0, 4.0, 0.5]), jax.random.key(0)
    history = LossHistory.empty(3, history=5)
    np.testing.assert_allclose(history.proposal(), 1 / 3)
    update = jax.jit(lambda h, terms: h.update(terms, sizes[terms]))
    for i in range(12):
        terms = draw_terms(jax.random.fold_in(key, i), 4, history.proposal())
        history = update(history, terms)
    assert np.all(history.counts >= 5)
    learned = np.asarray(sizes) / 5.5
    np.testing.assert_allclose(history.proposal(), 0.999 * learned + 0.001 / 3, rtol=1e-5)
    np.testing.assert_allclose(history.proposal().sum(), 1.0, rtol=1e-6)
    partly = LossHistory.empty(3, history=5).update(jnp.array([0, 0, 1]), jnp.array([7.0, 8.0, 9.0]))
    np.testing.assert_allclose(partly.losses[0], [0, 0, 0, 7.0, 8.0])
    np.testing.assert_allclose(partly.proposal(), 1 / 3)


def test_hybrid_needs_a_head(world):
    x0, chain, score = world
    with pytest.raises(ValueError, match="variance head"):
        hybrid(jax.random.key(0), LINEAR, score, x0, chain=chain)
    assert sj.objectives.hybrid is hybrid
