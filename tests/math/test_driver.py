import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import samplers
from scorejax.samplers import sample, trajectory

SDE = sj.vp()
LAW = sj.analytic.gaussian([0.3, -0.2, 0.1], [0.5, 0.2, 0.3])
TIMES = sj.times.uniform(SDE, 6, t_min=1e-3)


def counted(score):
    """A score that counts how often the compiled program really evaluates it."""
    calls = []

    def counting(x, t):
        jax.debug.callback(lambda _: calls.append(1), t[0])
        return score(x, t)

    return counting, calls


@pytest.mark.parametrize(
    ("stepper", "corrector", "denoise", "expected"),
    [
        (samplers.euler_maruyama(), None, False, 6),
        (samplers.probability_flow("heun"), None, True, 12),
        (samplers.probability_flow("rk4"), samplers.langevin(0.1), False, 30),
        (samplers.ancestral(), samplers.ald(0.1, 3), True, 24),
    ],
)
def test_evaluations_are_counted_exactly(stepper, corrector, denoise, expected):
    score, calls = counted(LAW.score(SDE))
    found = sample(
        jax.random.key(0), SDE, score, (4, 3), stepper=stepper, times=TIMES, corrector=corrector, denoise=denoise
    )
    jax.block_until_ready(found)
    jax.effects_barrier()
    assert int(found.nfe) == len(calls) == expected + denoise


@pytest.mark.slow
def test_evaluations_of_adaptive_solves_are_counted_exactly():
    """One example at a time: a vectorised callback would run for each."""
    score, calls = counted(LAW.score(SDE))
    found = sample(
        jax.random.key(0), SDE, score, (1, 3), stepper=samplers.adaptive_probability_flow(1e-4, 1e-4), times=TIMES[::3]
    )
    jax.block_until_ready(found)
    jax.effects_barrier()
    assert int(found.nfe) == len(calls)
    calls.clear()
    value = sj.log_prob(jax.random.key(0), SDE, score, jnp.ones((1, 3)))
    jax.block_until_ready(value)
    jax.effects_barrier()
    assert int(value.nfe[0]) == len(calls)


KINDS = {
    "ancestral": (samplers.ancestral(), None),
    "langevin": (samplers.euler_maruyama(), samplers.langevin(0.1)),
    "heun": (samplers.probability_flow("heun"), samplers.ald(0.1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_depends_neither_on_the_batch_nor_on_where_it_starts(kind):
    stepper, corrector = KINDS[kind]
    score = lambda x, t: -x  # noqa: E731  # elementwise, so that equality is exact

    def draw(n, start=0, key=None):
        key = jax.random.key(4) if key is None else key
        return sample(
            key, SDE, score, (n, 3), stepper=stepper, corrector=corrector, times=TIMES, start=start
        ).x  # fmt: skip

    whole = draw(7)
    np.testing.assert_array_equal(draw(3), whole[:3])
    np.testing.assert_array_equal(draw(3, start=3), whole[3:6])
    np.testing.assert_array_equal(draw(3, start=jnp.uint32(4)), whole[4:])
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(4), i))(jnp.arange(7))
    np.testing.assert_array_equal(draw(3, key=keys[2:5]), whole[2:5])
    assert len(np.unique(np.asarray(whole[:, 0]))) == 7


def test_the_last_denoising_step_is_exact_for_a_single_data_point():
    point = np.array([0.4, -1.0, 0.2])
    law = sj.analytic.gaussian(point, np.zeros(3))
    found = sample(jax.random.key(0), SDE, law.score(SDE), (5, 3), stepper=samplers.ancestral(), times=TIMES)
    np.testing.assert_allclose(found.x, np.tile(point, (5, 1)), atol=1e-5)


def test_denoising_returns_the_posterior_mean_at_the_last_time():
    score = LAW.score(SDE)
    noisy, clean = (
        sample(jax.random.key(0), SDE, score, (5, 3), stepper=samplers.ancestral(), times=TIMES, denoise=d).x
        for d in (False, True)
    )
    np.testing.assert_allclose(clean, LAW.posterior_mean(SDE, noisy, TIMES[-1]), rtol=1e-5, atol=1e-6)


def test_a_trajectory_is_the_same_run_with_every_state_kept():
    score = LAW.score(SDE)
    kept = trajectory(jax.random.key(0), SDE, score, (5, 3), stepper=samplers.ancestral(), times=TIMES)
    last = sample(jax.random.key(0), SDE, score, (5, 3), stepper=samplers.ancestral(), times=TIMES, denoise=False)
    np.testing.assert_allclose(kept.x[-1], last.x, rtol=1e-6)
    assert kept.x.shape == kept.denoised.shape == (7, 5, 3)
    assert int(kept.nfe) == int(last.nfe) == 6
    for t, x, denoised in zip(kept.t, kept.x, kept.denoised, strict=True):
        np.testing.assert_allclose(denoised, LAW.posterior_mean(SDE, x, t), rtol=1e-4, atol=1e-5)


def test_the_corrector_runs_at_the_time_the_sampler_has_reached():
    seen = []

    def score(x, t):
        jax.debug.callback(lambda t: seen.append(float(t)), t[0], ordered=True)
        return -x

    for first in (False, True):
        seen.clear()
        found = sample(
            jax.random.key(0), SDE, score, (2, 3), stepper=samplers.ancestral(), times=TIMES[:3],
            corrector=samplers.ald(0.1), corrector_first=first, denoise=False,
        )  # fmt: skip
        jax.block_until_ready(found)
        jax.effects_barrier()
        a, b, c = (float(t) for t in TIMES[:3])
        np.testing.assert_allclose(seen, [a, a, b, b] if first else [a, b, b, c], rtol=1e-6)


@pytest.mark.slow
def test_encoding_and_decoding_are_inverse():
    score, x = LAW.score(SDE), LAW.sample(jax.random.key(1), 6)
    latent = sj.encode(SDE, score, x, rtol=1e-6, atol=1e-6)
    back = sj.decode(SDE, score, latent.x, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(back.x, x, atol=2e-4)  # 100 tolerances: errors grow on the stiff way back
    # the flow of a Gaussian keeps the standard score of every coordinate
    spread = jnp.sqrt(SDE.alpha(1.0) ** 2 * jnp.array([0.5, 0.2, 0.3]) + SDE.sigma(1.0) ** 2)
    standard = (x - jnp.array([0.3, -0.2, 0.1])) / jnp.sqrt(jnp.array([0.5, 0.2, 0.3]))
    centre = SDE.alpha(1.0) * jnp.array([0.3, -0.2, 0.1])
    np.testing.assert_allclose((latent.x - centre) / spread, standard, atol=1e-3)


def test_interpolation_has_its_ends_and_its_norms():
    first, second = jax.random.normal(jax.random.key(0), (2, 4, 2, 3))
    points = sj.interpolate(first, 3.0 * second, 5)
    assert points.shape == (5, 4, 2, 3)
    np.testing.assert_allclose(points[0], first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(points[-1], 3.0 * second, rtol=1e-5, atol=1e-6)
    norms = jnp.linalg.norm(points.reshape(5, 4, -1), axis=2)
    np.testing.assert_allclose(norms, np.linspace(norms[0], norms[-1], 5), rtol=1e-5)
    same = sj.interpolate(first, first, 3)
    np.testing.assert_allclose(same, jnp.broadcast_to(first, same.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 64])
@pytest.mark.parametrize("sign", [-1.0, 1.0], ids=["opposite", "equal"])
def test_interpolation_keeps_its_norms_however_nearly_parallel_its_ends(size, sign):
    rng = np.random.default_rng(0)
    apart = np.repeat([0.0, 1e-8, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 1e-4, 1e-3], 8)[:, None]
    first, noise = rng.standard_normal((2, len(apart), size))
    second = sign * first + apart * noise
    points = np.asarray(sj.interpolate(first, second, 5), np.float64)
    norms = np.linspace(*np.linalg.norm([first, second], axis=2), 5)
    np.testing.assert_allclose(np.linalg.norm(points, axis=2), norms, rtol=2e-6)
    np.testing.assert_allclose(points[-1], second, atol=5e-6)


def test_equal_angles_lie_between_interpolated_points():
    first, second = jax.random.normal(jax.random.key(0), (2, 4, 6))
    points = sj.interpolate(first, second, 4)
    unit = points / jnp.linalg.norm(points, axis=2, keepdims=True)
    cosines = jnp.sum(unit[1:] * unit[:-1], 2)
    np.testing.assert_allclose(cosines, jnp.broadcast_to(cosines[0], cosines.shape), rtol=1e-4)


@pytest.mark.slow
def test_a_solve_that_does_not_arrive_is_nan_not_wrong():
    stepper = samplers.adaptive_probability_flow(1e-6, 1e-6, max_steps=2)
    found = sample(jax.random.key(0), SDE, LAW.score(SDE), (2, 3), stepper=stepper, times=TIMES)
    assert np.all(np.isnan(found.x))
