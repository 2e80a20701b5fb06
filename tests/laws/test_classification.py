"""Cross entropy over noisy data, against the exact posterior of a mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conditionals import component
from worlds import PROCESSES, TWO_MODES

import scorejax as sj
from scorejax.objectives import classification, draw_times

N = 20_000
PARTS = [component(TWO_MODES, k) for k in range(2)]
WEIGHTS = np.exp(np.asarray(TWO_MODES.log_weights))


def exact(sde):
    """Logits of the exact posterior of the component."""

    def logits(x, t):
        each = [np.log(w) + part.log_prob_at(sde, x, t) for w, part in zip(WEIGHTS, PARTS, strict=True)]
        return jnp.stack(each, axis=-1)

    return logits


def labelled():
    """Points of the mixture and the component that each came from."""
    labels = np.random.default_rng(0).choice(2, N, p=WEIGHTS)
    drawn = [part.sample(jax.random.key(k), N) for k, part in enumerate(PARTS)]
    return jnp.where(labels[:, None] == 0, *drawn), jnp.asarray(labels)


@pytest.mark.parametrize("name", ["vp", "ve", "ddpm"])
def test_the_exact_posterior_is_the_minimiser(name):
    sde, (x0, labels) = PROCESSES[name], labelled()

    def loss(sharpness, shift):
        logits = lambda x, t: sharpness * exact(sde)(x, t) + jnp.array([shift, 0.0])  # noqa: E731
        return classification(jax.random.key(1), sde, logits, x0, labels)

    def mean(sharpness, shift):
        return loss(sharpness, shift).mean()

    slopes = jax.jit(jax.jacfwd(loss, argnums=(0, 1)))(1.0, 0.0)
    for slope in slopes:
        assert abs(slope.mean()) < 4.5 * slope.std() / np.sqrt(N)
    assert mean(1.0, 0.0) < min(mean(0.8, 0.0), mean(1.25, 0.0), mean(1.0, 0.3), mean(1.0, -0.3))


def test_drawing_times_by_importance_does_not_change_the_expectation():
    sde, (x0, labels) = sj.vp(), labelled()
    values = [classification(jax.random.key(2), sde, exact(sde), x0, labels, times=times) for times in
              ("uniform", "stratified", "importance")]  # fmt: skip
    errors = [value.std() / np.sqrt(N) for value in values]
    assert abs(values[0].mean() - values[1].mean()) < 4.5 * np.hypot(*errors[:2])
    assert abs(values[0].mean() - values[2].mean()) < 4.5 * np.hypot(errors[0], errors[2])
    assert errors[2] != errors[0]


def test_a_smoothed_target_is_a_mixture_of_targets():
    sde, (x0, labels) = sj.vp(), labelled()
    x0, labels = x0[:50], labels[:50]
    t = draw_times(jax.random.key(0), sde, 50)

    def loss(labels, **kwargs):
        return classification(jax.random.key(3), sde, exact(sde), x0, labels, t=t, **kwargs)

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
