"""Cross entropy over noisy data, against the exact posterior of a mixture."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conditionals import component
from jax.tree_util import Partial
from worlds import PROCESSES, TWO_MODES

import scorejax as sj
from scorejax import objectives
from scorejax.objectives import draw_times

N = 20_000
PARTS = [component(TWO_MODES, k) for k in range(2)]
WEIGHTS = np.exp(np.asarray(TWO_MODES.log_weights))


# one program instead of forty operations
classification = jax.jit(objectives.classification, static_argnames=("time_sampling", "weighting", "label_smoothing"))


def posterior(sde, sharpness, shift, x, t):
    """`sharpness` times the logits of the exact posterior of the component, the first of them shifted."""
    each = [np.log(w) + part.log_prob_at(sde, x, t) for w, part in zip(WEIGHTS, PARTS, strict=True)]
    return sharpness * jnp.stack(each, axis=-1) + shift * jnp.array([1.0, 0.0])


def exact(sde, sharpness=1.0, shift=0.0):
    return Partial(posterior, sde, sharpness, shift)


@functools.cache
def labelled():
    """Points of the mixture and the component that each came from."""
    rng = np.random.default_rng(0)
    labels = rng.choice(2, N, p=WEIGHTS)
    drawn = [rng.multivariate_normal(np.asarray(part.mean()), np.asarray(part.covariance()), N) for part in PARTS]
    return np.float32(np.where(labels[:, None] == 0, *drawn)), labels


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "ve", "ddpm"])
def test_the_exact_posterior_is_the_minimiser(name):
    sde, (x0, labels) = PROCESSES[name], labelled()

    def loss(sharpness, shift):
        return classification(jax.random.key(1), sde, exact(sde, sharpness, shift), x0, labels)

    def mean(sharpness, shift):
        return np.asarray(loss(sharpness, shift)).mean()

    slopes = jax.jit(jax.jacfwd(loss, argnums=(0, 1)))(1.0, 0.0)
    for slope in map(np.asarray, slopes):
        assert abs(slope.mean()) < 4.5 * slope.std() / np.sqrt(N)
    assert mean(1.0, 0.0) < min(mean(0.8, 0.0), mean(1.25, 0.0), mean(1.0, 0.3), mean(1.0, -0.3))


@pytest.mark.slow
@pytest.mark.parametrize("weighting", ["simple", "log_snr"])
def test_how_times_are_drawn_does_not_change_the_expectation(weighting):
    sde, (x0, labels) = sj.vp(t_min=1e-2), labelled()
    loss = functools.partial(classification, weighting=weighting)
    values = [
        np.asarray(loss(jax.random.key(i), sde, exact(sde), x0, labels, time_sampling=times))
        for i, times in enumerate(("uniform", "stratified", "importance"))
    ]
    mean, error = zip(*((value.mean(), value.std() / np.sqrt(N)) for value in values), strict=True)
    assert abs(mean[0] - mean[1]) < 4.5 * np.hypot(*error[:2])
    assert abs(mean[0] - mean[2]) < 4.5 * np.hypot(error[0], error[2])


def test_by_log_snr_every_ratio_counts_the_same_and_a_guess_costs_what_it_costs():
    sde, (x0, labels) = sj.vp(), labelled()
    guess = Partial(lambda x, t: jnp.zeros((N, 2)))
    even = classification(jax.random.key(5), sde, guess, x0, labels, time_sampling="importance", weighting="log_snr")
    np.testing.assert_allclose(even, np.log(2), rtol=1e-4)
    t = draw_times(jax.random.key(6), sde, N, "importance")
    ratios = np.sort(sde.log_snr(t))
    np.testing.assert_allclose(ratios, np.linspace(ratios[0], ratios[-1], N), atol=0.01)
    with pytest.raises(ValueError, match="unknown weighting 'likelihood' of a classifier"):
        classification(jax.random.key(5), sde, guess, x0, labels, weighting="likelihood")


def test_a_smoothed_target_is_a_mixture_of_targets():
    sde, (x0, labels) = sj.vp(), labelled()
    x0, labels = x0[:50], labels[:50]
    t = draw_times(jax.random.key(0), sde, 50)

    def loss(labels, **kwargs):
        return np.asarray(classification(jax.random.key(3), sde, exact(sde), x0, labels, t=t, **kwargs))

    other = loss(1 - labels)
    np.testing.assert_allclose(
        loss(labels, label_smoothing=0.2), 0.9 * loss(labels) + 0.1 * other, rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\), got 1"):
        loss(labels, label_smoothing=1.0)


def test_the_loss_of_an_example_does_not_depend_on_its_neighbours():
    sde, (x0, labels) = sj.vp(), labelled()
    keys = jax.random.split(jax.random.key(4), 6)
    whole = classification(keys, sde, exact(sde), x0[:6], labels[:6])
    part = classification(keys[2:4], sde, exact(sde), x0[2:4], labels[2:4])
    assert whole.shape == (6,)
    np.testing.assert_allclose(part, whole[2:4], rtol=1e-5)
