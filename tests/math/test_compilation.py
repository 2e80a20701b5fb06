"""Calling again, with other parameters, does not compile again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj


@pytest.fixture
def compilations():
    """A list that grows by one for every program XLA is asked to compile or finds in the cache on disk."""
    seen = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def network(params, x, label):
    return jnp.tanh(x @ params["w"]) * label[:, None]


def energy(x, t):
    return 0.5 * jnp.sum(x**2, 1)


def parameters(scale):
    return {"w": scale * jnp.eye(3)}


def again(call, compilations):
    """Run twice with other numbers each time; return how many programs the second run compiled."""
    first = np.asarray(call(1.0))
    compilations.clear()
    second = np.asarray(call(0.5))
    assert not np.array_equal(first, second)  # the new numbers were really used
    return len(compilations)


STEPPERS = [sj.samplers.ancestral(), sj.samplers.probability_flow("heun"), sj.samplers.euler_maruyama()]


@pytest.mark.parametrize("stepper", STEPPERS, ids=lambda s: type(s).__name__)
def test_sampling_with_new_parameters_does_not_compile_again(stepper, compilations):
    def call(scale):
        sde = sj.vp(beta_max=20.0 * scale)
        score = sj.make_score(sde, network, parameters(scale), label=sde.label if scale < 0 else None)
        times = sj.times.uniform(sde, 4, t_min=1e-3)
        corrector = sj.samplers.ald(0.1 * scale)
        key = jax.random.key(int(scale * 10))
        return sj.sample(key, sde, score, (2, 3), stepper=stepper, times=times, corrector=corrector).x

    assert again(call, compilations) == 0


@pytest.mark.slow
def test_log_prob_with_new_parameters_does_not_compile_again(compilations):
    def call(scale):
        sde = sj.vp(beta_max=20.0 * scale, t_min=0.1)
        score = sj.make_score(sde, network, parameters(scale))
        return sj.log_prob(jax.random.key(0), sde, score, jnp.ones((2, 3)), rtol=1e-2 * scale, atol=1e-2).value

    assert again(call, compilations) == 0


def test_encoding_with_new_parameters_does_not_compile_again(compilations):
    def call(scale):
        sde = sj.vp(t_min=0.1)
        return sj.encode(sde, sj.make_score(sde, network, parameters(scale)), jnp.ones((2, 3)), rtol=1e-2, atol=1e-2).x

    assert again(call, compilations) == 0


def test_exact_laws_and_energies_do_not_compile_again(compilations):
    sde, times = sj.ve(), sj.times.uniform(sj.ve(), 3)

    def gaussian(scale):
        score = sj.analytic.gaussian(scale * np.ones(3), np.ones(3)).score(sde)
        return sj.sample(jax.random.key(0), sde, score, (2, 3), stepper=STEPPERS[0], times=times).x

    assert again(gaussian, compilations) == 0

    def from_energy(scale):
        score = sj.score_from_energy(energy)
        return sj.sample(jax.random.key(int(10 * scale)), sde, score, (2, 3), stepper=STEPPERS[0], times=times).x

    assert again(from_energy, compilations) == 0


def test_an_energy_carries_its_parameters(compilations):
    sde, times = sj.ve(), sj.times.uniform(sj.ve(), 3)

    def call(scale):
        score = sj.score_from_energy(jax.tree_util.Partial(weighted_energy, jnp.float32(scale)))
        return sj.sample(jax.random.key(0), sde, score, (2, 3), stepper=STEPPERS[0], times=times).x

    assert again(call, compilations) == 0


def weighted_energy(weight, x, t):
    return 0.5 * weight * jnp.sum(x**2, 1)
