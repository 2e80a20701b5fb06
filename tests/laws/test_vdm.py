"""Variational diffusion models: for normal data the bound is known, and what it may depend on."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_chains import normal_data

import scorejax as sj
from scorejax import reverse
from scorejax.likelihood.elbo import kl_term
from scorejax.objectives import continuous_vlb
from scorejax.sdes import learned
from scorejax.sdes.learned import Learned

S2 = 0.25
ENDS = (-13.3, 5.0)
N = 3000


@jax.tree_util.register_dataclass
class Quadratic(Learned):
    def gamma(self, t):
        return self.gamma_min + (self.gamma_max - self.gamma_min) * t**2


def bent(key=0, bends=5, ends=ENDS):
    sde = learned(*ends, bends=bends)
    return replace(sde, weights=sde.weights + jax.random.normal(jax.random.key(key), (bends, 3)))


def diffusion(low, high):
    """The diffusion loss of normal data in nats per dimension: a function of the two ends."""
    return 0.5 * (jnp.log1p(jnp.exp(-low) * S2) - jnp.log1p(jnp.exp(-high) * S2))


def expected(low, high):
    """The whole bound of continuous data in nats."""
    alpha2, variance = jax.nn.sigmoid(-high), jax.nn.sigmoid(high)
    prior = 0.5 * (alpha2 * S2 + variance - 1.0 - jnp.log(variance))
    return diffusion(low, high) + prior + 0.5 * (1.0 + low + jnp.log(2 * jnp.pi))


def bound(given_noise, times="uniform", prior_variance=1.0):
    """The bound of the exact score in nats: no chance in data and noise, times at N midpoints of their distribution."""
    law, x0, noise = normal_data(S2)
    tile = jnp.tile(jnp.asarray(noise), (N, 1))
    given_noise(lambda *_: tile)
    u = jnp.repeat((jnp.arange(N) + 0.5) / N, 4)
    x0 = jnp.tile(jnp.asarray(x0), (N, 1))

    def value(sde):
        first, last = sde.log_snr(sde.t_min), sde.log_snr(sde.t_max)
        t = sde.time_of(u) if times == "uniform" else sde.inverse_log_snr(first + (last - first) * u)
        drawn = {"time_sampling": times, "t": t, "prior_variance": prior_variance}
        return jnp.log(2.0) * continuous_vlb(jax.random.key(0), sde, law.score(sde), x0, **drawn).mean()

    return value


def test_the_bound_depends_on_the_ends_of_the_schedule_alone(given_noise):
    with jax.enable_x64(True):
        np.testing.assert_allclose(diffusion(*ENDS), 5.956015, atol=1e-6)
        value = jax.jit(bound(given_noise))
        for sde in (learned(*ENDS), bent(0), bent(1)):
            np.testing.assert_allclose(value(sde), expected(*ENDS), atol=1e-4)
        np.testing.assert_allclose(value(learned(-9.0, 3.0)), expected(-9.0, 3.0), atol=1e-4)


@pytest.mark.parametrize("times", ["uniform", "importance"])
def test_the_bound_of_any_process_is_that_of_its_ends_however_times_are_drawn(times, given_noise):
    """`sigma` runs from 0.3 to 20: `-log SNR = 2 log sigma`, and the prior costs `s^2 / (2 20^2)`."""
    low, high = 2 * np.log(0.3), 2 * np.log(20.0)
    with jax.enable_x64(True):
        wanted = diffusion(low, high) + 0.5 * S2 / 400 + 0.5 * (1.0 + low + np.log(2 * np.pi))
        found = jax.jit(bound(given_noise, times, prior_variance=None))(sj.edm(0.3, 20.0))
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.slow
def test_gradients_reach_the_ends_and_leave_the_shape_alone(given_noise):
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(bound(given_noise)))(bent(ends=(-3.0, 2.0)))
        wanted = jax.grad(expected, argnums=(0, 1))(-3.0, 2.0)
        np.testing.assert_allclose([slope.gamma_min, slope.gamma_max], wanted, atol=2e-4)
        assert all(abs(w) > 1e-3 for w in wanted)
        np.testing.assert_allclose(slope.weights, 0.0, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "steps", "published"),
    [
        ("linear", 10, 15.727564),
        ("linear", 100, 6.485690),
        ("linear", 1000, 6.006237),
        ("linear", 10_000, 5.961011),
        ("quadratic", 10, 17.08),
        ("quadratic", 100, 6.509),
        ("quadratic", 1000, 6.008),
        ("quadratic", 10_000, 5.9612),
    ],
)
def test_a_discrete_chain_comes_down_to_the_continuous_bound(kind, steps, published):
    law, x0, noise = normal_data(S2)
    with jax.enable_x64(True):
        sde = learned(*ENDS)
        sde = sde if kind == "linear" else Quadratic(**vars(sde))
        chain = reverse.chain(sde, np.linspace(1.0, 0.0, steps + 1))
        each = chain.step(jnp.repeat(jnp.arange(steps), 4))
        x0, noise = (jnp.tile(jnp.asarray(a), (steps, 1)) for a in (x0, noise))
        score = law.score(sde)
        terms = jax.jit(lambda: kl_term(chain, each, sde, score, x0, sde.perturb(x0, each.t, noise)))()
        total = jnp.sum(terms) / 4
    last_digit = 1e-6 if kind == "linear" else {10: 1e-2, 100: 1e-3, 1000: 1e-3, 10_000: 1e-4}[steps]
    np.testing.assert_allclose(float(total), published, atol=0.55 * last_digit)


def test_the_ends_are_exact_and_the_curve_rises_whatever_its_weights():
    with jax.enable_x64(True):
        for seed in (0, 4, 5):  # the last two would fall somewhere if slopes or heights kept their signs
            sde, t = learned(*ENDS, bends=9), jnp.linspace(0.0, 1.0, 400)
            bends = 5.0 * jax.random.normal(jax.random.key(seed), (9, 3))
            sde = replace(sde, weights=bends.at[:, 2].set(jnp.linspace(0.1, 0.9, 9)))
            gamma = sde.gamma(t)
            np.testing.assert_allclose([gamma[0], gamma[-1]], ENDS, rtol=1e-12)
            assert np.all(np.diff(gamma) > 0)
            np.testing.assert_allclose(sde.inverse_log_snr(sde.log_snr(t)), t, atol=1e-9)
            np.testing.assert_allclose(sde.alpha(t) ** 2 + sde.variance(t), 1.0, rtol=1e-12)
            np.testing.assert_allclose([sde.label(t)[0], sde.label(t)[-1]], [99.9, 899.1], atol=1e-9)


def test_labels_stay_where_networks_take_them_when_the_ends_move():
    sde, t = learned(-6.0, 5.0), jnp.array([0.0, 0.5, 1.0])
    moved = replace(sde, gamma_min=jnp.float32(-6.5), gamma_max=jnp.float32(4.5))
    np.testing.assert_allclose(moved.label(t), sde.label(t) - 0.5 * 999.0 / 13.75, rtol=1e-5)
    assert replace(sde, gamma_min=jnp.float32(-20.0)).label(t)[0] == 0.0


def test_gray_levels_have_a_bound_above_their_entropy():
    """256 equally likely levels have 8 bits. A decoder with little noise left names the level without error."""
    sde, law = learned(*ENDS), sj.analytic.gaussian([0.0], [1 / 3])
    x0 = jax.random.randint(jax.random.key(0), (4000, 1), 0, 256)
    draw = jax.jit(lambda key: continuous_vlb(key, sde, law.score(sde), x0, levels=256, time_sampling="stratified"))
    bits = draw(jax.random.key(1))
    assert bits.shape == (4000,)
    assert 8.0 < bits.mean() < 9.5


@pytest.mark.slow
def test_a_learned_process_draws_samples():
    sde, law = bent(), sj.analytic.gaussian([0.4], [0.01])
    draw = sj.sample(
        jax.random.key(0), sde, law.score(sde), (500, 1),
        stepper=sj.samplers.ancestral(), times=sj.times.log_snr(sde, 60),
    )  # fmt: skip
    np.testing.assert_allclose([draw.x.mean(), draw.x.std()], [0.4, 0.1], atol=0.03)


def test_a_learned_process_needs_ends_in_order():
    with pytest.raises(ValueError, match="gamma_min < gamma_max"):
        learned(5.0, -13.3)
