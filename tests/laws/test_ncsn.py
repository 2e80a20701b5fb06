"""NCSN: annealed Langevin dynamics as a sampler, and the discrete objective it was trained with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax.objectives import denoising
from scorejax.samplers import ald, annealed_langevin, sample

pytestmark = pytest.mark.optimized

WEIGHTS, MEANS = [0.2, 0.8], [[-5.0, -5.0], [5.0, 5.0]]
TOY = sj.smld(1.0, 20.0, 10)
LEVELS = sj.times.uniform(TOY, 9)
CHAINS = 16_000


def uniform(key, n, low, high, dims=2):
    return jax.random.uniform(key, (n, dims), minval=low, maxval=high)


def weight_found(x):
    """How much of the sample is near (5, 5); its standard error is 0.3 %."""
    return float(jnp.mean(x.sum(1) > 0))


def annealed(law, **options):
    # the toy's alpha_i = 0.1 sigma_i^2 in the convention alpha / 2, sqrt(alpha)
    return sample(
        jax.random.key(1), TOY, law.score(TOY), (CHAINS, 2), stepper=annealed_langevin(0.05, 100), times=LEVELS,
        x_init=uniform(jax.random.key(0), CHAINS, -8.0, 8.0), denoise=False, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_langevin_dynamics_does_not_find_the_weights_of_a_mixture():
    """1000 plain steps leave the weight of the basins the start fell into: 0.508 of the truth 0.8."""
    law, process = sj.analytic.mixture(WEIGHTS, MEANS, [1.0, 1.0]), sj.edm(1e-4, 1.0)
    keys, start = jax.random.split(jax.random.key(1), CHAINS), uniform(jax.random.key(0), CHAINS, -8.0, 8.0)
    plain = ald(snr=(0.05 / 2) ** 0.5 / 1e-4, steps=1000)  # e = 0.05 at sigma = 1e-4
    x = jax.jit(plain.step)(
        keys, process, law.score(process), start, jnp.full(CHAINS, 1e-4)[0], jnp.float32(1e-4), ()
    ).x
    assert 0.49 < weight_found(x) < 0.53


@pytest.mark.slow
def test_annealed_langevin_dynamics_finds_the_weights_of_a_mixture():
    """The released toy, whose component has the standard deviation sigma_i at level i: 0.782 of 0.8."""
    found = annealed(sj.analytic.mixture(WEIGHTS, MEANS, [0.0, 0.0]))
    assert 0.77 < weight_found(found.x) < 0.81
    assert int(found.nfe) == 10 * 100
    # within a mode the variance is 1 / (1 - 0.05 / 2) = 1.026, the bias of the step
    inside = found.x[found.x.sum(1) > 0]
    np.testing.assert_allclose(np.var(inside, axis=0), 1.026, rtol=5 * (2 / len(inside)) ** 0.5)


@pytest.mark.slow
def test_annealing_by_the_processs_own_marginals_finds_them_too():
    """Components of variance 1 + sigma_i^2, down to sigma = 1: 0.785 of 0.8."""
    found = annealed(sj.analytic.mixture(WEIGHTS, MEANS, [1.0, 1.0]))
    assert 0.77 < weight_found(found.x) < 0.81


def test_every_level_of_the_grid_gets_its_updates_and_the_first_one_too():
    sde, seen = sj.smld(0.1, 1.0, 4), []

    def score(x, t):
        jax.debug.callback(lambda t: seen.append(float(t)), t[0], ordered=True)
        return -x

    found = sample(
        jax.random.key(0), sde, score, (2, 3), stepper=annealed_langevin(1e-3, 3), times=sj.times.uniform(sde, 3)
    )
    jax.block_until_ready(found)
    jax.effects_barrier()
    np.testing.assert_allclose(seen, np.repeat([1.0, 0.75, 0.5, 0.25], [3, 3, 3, 4]))  # and the last denoising
    assert int(found.nfe) == 13


def test_the_update_is_the_published_one():
    """`x + e_i s + sqrt(2 e_i) z`, `e_i = epsilon sigma_i^2 / sigma_min^2`, level by level, in numpy."""
    sde, key, epsilon, x0 = sj.smld(0.1, 1.0, 3), jax.random.key(3), 2e-3, jnp.ones((2, 4))
    found = sample(
        key, sde, lambda x, t: -x, (2, 4), stepper=annealed_langevin(epsilon, 2), times=sj.times.uniform(sde, 2),
        x_init=x0, denoise=False,
    )  # fmt: skip
    keys = [jax.random.fold_in(key, i) for i in range(2)]
    x, updates = (
        np.ones((2, 4)),
        [(0, 0, 1.0), (0, 1, 1.0), (0, 2, 10**-0.5), (0, 3, 10**-0.5), (2, 0, 0.1), (2, 1, 0.1)],
    )
    for step, i, sigma in updates:
        e = epsilon * (sigma / 0.1) ** 2
        noise = [jax.random.normal(jax.random.fold_in(jax.random.fold_in(k, step), i), (4,)) for k in keys]
        x = x - e * x + np.sqrt(2 * e) * np.stack(noise)
    np.testing.assert_allclose(found.x, x, rtol=1e-4)


@jax.jit
def run_step(stepper, keys, sde, score, x, t, memory):
    return stepper.step(keys, sde, score, x, t, t, memory)


@pytest.mark.slow
@pytest.mark.parametrize(("snr", "epsilon"), [(0.316, 2e-5), (0.176, 6.2e-6), (0.128, 3.3e-6), (0.095, 1.8e-6)])
def test_the_corrector_ald_takes_the_same_updates(snr, epsilon):
    """`epsilon = 2 (snr sigma_min)^2`, the published pairs; to rounding for the exact epsilon."""
    sde, exact = sj.smld(0.01, 50.0, 20), 2 * (snr * 0.01) ** 2
    np.testing.assert_allclose(exact, epsilon, rtol=0.02)  # published with two digits
    keys, x, t = jax.random.split(jax.random.key(0), 3), 30.0 * jnp.ones((3, 5)), jnp.float32(0.8)
    score = sj.analytic.gaussian(np.zeros(5), np.ones(5)).score(sde)
    sampler = run_step(annealed_langevin(exact, 4), keys, sde, score, x, t, jnp.int32(0))
    corrector = run_step(ald(snr, 4), keys, sde, score, x, t, ())
    np.testing.assert_allclose(sampler.x, corrector.x, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ratio", "steps", "relative", "expected"), [(5000 ** (1 / 231), 5, 0.062, 1.05547), (1.668, 100, 0.2, 10 / 9)]
)
def test_the_variance_after_a_level_is_technique_4s(ratio, steps, relative, expected):
    """NCSNv2 and NCSN on CIFAR-10: from the noise of the level before, data one point."""
    sde, n = sj.edm(0.01, 50.0), (400, 500)
    score = sj.analytic.gaussian(np.zeros(500), np.zeros(500)).score(sde)
    start = ratio * 0.5 * jax.random.normal(jax.random.key(0), n)
    stepper, keys = annealed_langevin(relative * 0.01**2, steps), jax.random.split(jax.random.key(1), n[0])
    x = run_step(stepper, keys, sde, score, start, jnp.float32(0.5), jnp.int32(0)).x
    np.testing.assert_allclose(sj.ncsnv2_levels.variance_after(ratio, steps, relative), expected, rtol=1e-5)
    np.testing.assert_allclose(jnp.mean(x**2) / 0.25, expected, rtol=5 * (2 / 200_000) ** 0.5)


@pytest.mark.slow
def test_a_chain_trains_on_the_objective_of_ncsn():
    """At level n: `sigma^2 / 2 |s(x_0 + sigma noise, label) + noise / sigma|^2`, labels from the largest sigma down."""
    sde, sigmas = sj.smld(0.1, 2.0, 20), np.geomspace(0.1, 2.0, 20)
    x0 = jnp.asarray(np.random.default_rng(0).standard_normal((6, 3)), jnp.float32)
    network = lambda params, x, label: 0.3 * x + 0.01 * label[:, None]  # noqa: E731
    score = sj.make_score(sde, network, {}, predicts="score", label=sde.label)
    loss = denoising(jax.random.key(5), sde, score, x0, reduction="half_sum")
    keys = [jax.random.fold_in(jax.random.fold_in(jax.random.key(5), stream), i) for stream in (0, 1) for i in range(6)]
    level = np.array([int(jax.random.uniform(k) * 20) for k in keys[:6]])
    noise, sigma = np.stack([jax.random.normal(k, (3,)) for k in keys[6:]]), sigmas[level][:, None]
    output = 0.3 * (x0 + sigma * noise) + 0.01 * (19 - level)[:, None]
    np.testing.assert_allclose(loss, 0.5 * sigma[:, 0] ** 2 * np.sum((output + noise / sigma) ** 2, 1), rtol=1e-4)


@pytest.mark.parametrize(("epsilon", "steps"), [(0.0, 5), (1e-5, 0)])
def test_refuses(epsilon, steps):
    with pytest.raises(ValueError, match="epsilon > 0 and steps >= 1"):
        annealed_langevin(epsilon, steps)
