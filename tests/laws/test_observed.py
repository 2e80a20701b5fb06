"""Examples with missing numbers: scores and densities of the known ones, and a network that learns them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import scorejax as sj
from scorejax.likelihood import log_prob
from scorejax.models import Observed, TableMLP
from scorejax.scores.observed import missing_log_prob, observed

SDE, RHO = sj.vp(), 0.8
NETWORK = Observed(TableMLP(features=32, depth=1, waves=0))


def exact(x, t):
    """The score of the marginal of what is not NaN of two normal numbers with correlation `RHO`."""
    a, v, known = SDE.alpha(t)[:, None] ** 2, SDE.variance(t)[:, None], jnp.isfinite(x)
    x, whole = jnp.where(known, x, 0), known.all(1, keepdims=True)
    cross = jnp.where(whole, RHO * a, 0.0)
    return -((a + v) * x - cross * x[:, ::-1]) / ((a + v) ** 2 - cross**2)


@pytest.mark.slow
@pytest.mark.parametrize("sde", [sj.vp(), sj.ve()], ids=["vp", "ve"])
def test_the_density_of_what_is_known_does_not_see_the_rest(sde):
    """Next to known numbers of unit variance: what each missing one counts is taken off."""
    known = jnp.asarray([[True, True], [True, False], [False, True]])
    x = jnp.asarray([[0.5, -1.0], [0.5, 0.0], [0.0, -1.0]])

    def normal(x, t):
        return -x / (sde.alpha(t) ** 2 + sde.variance(t))[:, None]

    found = log_prob(jax.random.key(0), sde, observed(sde, normal, known), x, divergence="exact", rtol=1e-6, atol=1e-6)
    each = -0.5 * (x**2 + np.log(2 * np.pi))
    missing = jnp.sum(~known, axis=1) * missing_log_prob(sde)
    np.testing.assert_allclose(found.value - missing, jnp.sum(each * known, axis=1), atol=2e-3)


def test_what_is_missing_adds_nothing_to_a_loss():
    known = jnp.asarray([[True, False], [True, True]])
    x, t = jnp.asarray([[0.5, 0.0], [0.3, -1.0]]), jnp.full(2, 0.3)

    @jax.jit
    def losses(known):
        score = observed(SDE, lambda x, t: jnp.nan_to_num(x), known, spread=0.0)
        return sj.objectives.denoising(jax.random.key(0), SDE, score, jnp.where(known, x, 0), t=t, reduction="sum")

    whole = np.asarray(losses(jnp.ones((2, 2), bool)))
    first = np.asarray(losses(jnp.asarray([[True, False]] * 2)) + losses(jnp.asarray([[False, True]] * 2)))
    np.testing.assert_allclose(first, whole, rtol=1e-4)  # the terms of the two numbers, each alone
    np.testing.assert_allclose(losses(known)[1], whole[1], rtol=1e-6)


@pytest.mark.slow
def test_a_network_learns_the_law_of_what_is_known():
    """Of numbers missing at random: the correlation where both are known, and the marginal score where one is."""
    optimizer, steps = optax.adam(optax.cosine_decay_schedule(5e-3, 2500)), 2500

    def score(params):
        of = sj.make_score(SDE, lambda p, x, label: NETWORK.apply({"params": p}, x, label), params, predicts="v")
        return lambda x, t: of(x, t)

    def loss(params, key):
        keys = jax.random.split(key, 4)
        z = jax.random.normal(keys[0], (512, 2))
        x = jnp.stack([z[:, 0], RHO * z[:, 0] + (1 - RHO**2) ** 0.5 * z[:, 1]], axis=1)
        known = jax.random.uniform(keys[1], (512, 2)) > 0.3
        of = observed(SDE, score(params), known, spread=0.0)
        t = jax.random.uniform(keys[2], (512,), minval=1e-3)
        each = sj.objectives.denoising(
            keys[3], SDE, of, jnp.where(known, x, 0), t=t, reduction="sum", weighting=lambda sde, t: sde.alpha(t) ** -2
        )
        return each.sum() / known.sum()

    def step(state, key):
        gradient = jax.grad(loss)(state[0], key)
        updates, memory = optimizer.update(gradient, state[1], state[0])
        return (optax.apply_updates(state[0], updates), memory), None

    @jax.jit
    def found(key):
        params = NETWORK.init(key, jnp.zeros((1, 2)), jnp.ones(1))["params"]
        params = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, steps))[0][0]
        x, t = jax.random.normal(jax.random.key(1), (2000, 2)), jnp.linspace(0.02, 0.98, 2000)
        one = jnp.broadcast_to(jnp.asarray([True, False]), x.shape)
        marginal = observed(SDE, score(params), one)(x, t) + x
        both = score(params)(x, t) - exact(x, t)
        stepper, times = sj.samplers.STEPPERS["ddim"](), np.asarray(sj.sdes.times.log_snr(SDE, 30))
        draws = sj.sample(jax.random.key(2), SDE, score(params), (4000, 2), stepper=stepper, times=times).x
        return jnp.sqrt(jnp.mean(marginal**2, 0)), jnp.sqrt(jnp.mean(both**2)), jnp.corrcoef(draws.T)[0, 1]

    marginal, both, correlation = found(jax.random.key(0))
    assert correlation == pytest.approx(RHO, abs=0.02)
    assert marginal[0] < 0.05 and marginal[1] < 1e-5
    assert both < 0.15
