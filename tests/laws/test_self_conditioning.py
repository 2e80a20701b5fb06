"""Self-conditioned scores: the sampler hands on the estimate, training makes it in a first pass, others refuse them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import scorejax as sj
from scorejax.guidance import classifier_free_batched
from scorejax.likelihood import log_prob
from scorejax.models import TableMLP
from scorejax.models.self_conditioned import SelfConditioned
from scorejax.samplers import ddim, encode, heun
from scorejax.scores.self_conditioning import FURTHEST, Estimate, given, in_training

SDE = sj.vp()
TIMES = np.linspace(1.0, 0.01, 6)
X = np.array([[0.5, -1.0], [2.0, 0.3], [9.0, 0.1]], np.float32)


def predicted(e, x):
    """Data, as a made-up network predicts them."""
    return 0.7 * e + 0.5 * x


def score_of(carried, estimate, x, t, condition=None):
    e = jnp.zeros_like(x) if estimate.x0 is None else jnp.tile(estimate.x0, (len(x) // len(estimate.x0), 1))
    data = predicted(e, jnp.tanh(x @ carried)) + (0.0 if condition is None else condition[:, None])
    return (SDE.alpha(t)[:, None] * data - x) / SDE.variance(t)[:, None]


SCORE = Partial(score_of, jnp.eye(2), Estimate())


def by_hand(x):
    """DDIM, step by step, with the estimate that each step leaves to the next; it begins with zeros."""
    e = np.zeros_like(x)
    for t, s in itertools.pairwise(TIMES):
        data = predicted(e, np.tanh(x))
        noise = (x - SDE.alpha(t) * data) / SDE.sigma(t)
        x, e = SDE.alpha(s) * data + SDE.sigma(s) * noise, np.clip(data, -FURTHEST, FURTHEST)
    return x, predicted(e, np.tanh(x))


def test_a_sampler_hands_each_estimate_on_to_the_next_step():
    for denoise, wanted in enumerate(by_hand(X)):
        found = sj.sample(
            jax.random.key(0), SDE, SCORE, X.shape, stepper=ddim(), times=TIMES, x_init=X, denoise=bool(denoise)
        )
        np.testing.assert_allclose(found.x, wanted, rtol=2e-4, atol=2e-4)
        assert found.nfe == 5 + denoise


def test_guidance_around_the_score_keeps_the_place_of_the_estimate():
    guided = classifier_free_batched(SCORE, jnp.array([0.0, 0.0, 0.0]), jnp.zeros(3), guidance_scale=2.0)
    found = sj.sample(jax.random.key(0), SDE, guided, X.shape, stepper=ddim(), times=TIMES, x_init=X, denoise=False)
    np.testing.assert_allclose(found.x, by_hand(X)[0], rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("stepper", [ddim(), heun()], ids=["ddim", "heun"])
def test_the_estimate_costs_no_evaluation_of_its_own(stepper):
    """The compiled program holds one matrix product for each evaluation that is counted, and one to denoise."""

    def draw(score):
        return sj.sample(jax.random.key(0), SDE, score, X.shape, stepper=stepper, times=TIMES, x_init=X).x

    plain = Partial(lambda carried, x, t: score_of(carried, Estimate(), x, t), jnp.eye(2))
    products = [jax.jit(draw).lower(each).compile().as_text().count(" dot(") for each in (plain, SCORE)]
    assert products[0] == products[1] > 0


def test_training_gives_the_estimate_of_a_first_pass_without_its_gradient():
    x, t, used = jnp.asarray(X[:2]), jnp.array([0.3, 0.6]), jnp.array([True, False])

    def value(carried):
        return in_training(SDE, Partial(score_of, carried, Estimate()), used)(x, t)

    first = np.clip(predicted(0.0, np.tanh(X[:2])), -FURTHEST, FURTHEST)
    estimates = jnp.asarray(np.where(np.array([[True], [False]]), first, 0.0))
    wanted = given(SCORE, estimates)
    np.testing.assert_allclose(value(jnp.eye(2)), wanted(x, t), rtol=1e-5)
    slope = jax.jacobian(lambda carried: given(Partial(score_of, carried, Estimate()), estimates)(x, t))(jnp.eye(2))
    np.testing.assert_allclose(jax.jacobian(value)(jnp.eye(2)), slope, rtol=1e-5)


def test_what_needs_a_function_of_point_and_time_refuses():
    with pytest.raises(ValueError, match="log_prob needs a score that is a function of"):
        log_prob(jax.random.key(0), SDE, SCORE, X)
    with pytest.raises(ValueError, match="ODE needs a score that is a function of"):
        encode(SDE, SCORE, X)


def test_a_network_that_scales_its_input_is_given_the_estimate_as_it_is():
    """Where the noise is large, a table network that divides its input by sigma must still see the estimate."""
    network = SelfConditioned(TableMLP(features=8, depth=1, waves=0, scale_by_sigma=True))
    x, labels = jnp.ones((2, 3)), jnp.full(2, 1e6)
    params = network.init(jax.random.key(0), x, labels)["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.3, params)  # networks begin at zero
    out = [network.apply({"params": params, "estimate": {"x0": x0}}, x, labels) for x0 in (x, 2 * x)]
    assert jnp.abs(out[1] - out[0]).max() > 1e-3 * jnp.abs(out[0]).max()
    with pytest.raises(ValueError, match=r"shape of the points, \(2, 3\); got \(2, 2\)"):
        network.apply({"params": params, "estimate": {"x0": x[:, :2]}}, x, labels)
