from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "improved_diffusion_betas.npz")


def betas(sde):
    """The betas of a chain, read back from its transitions in float64."""
    level = np.arange(sde.levels + 1) / sde.levels
    return np.asarray(jax.jit(lambda s, t: sde.transition(s, t)[1])(level[:-1], level[1:]))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("n", [50, 1000, 4000])
def test_transitions_of_a_chain_carry_the_reference_betas(schedule, n):
    with jax.enable_x64(True):
        np.testing.assert_allclose(betas(sj.ddpm(schedule, n)), GOLDEN[f"betas_{schedule}_{n}"], rtol=1e-9, atol=1e-14)


@jax.jit
def half_log_snr_and_signal(sde, t):
    return 0.5 * sde.log_snr(t), sde.alpha(t) ** 2


def test_the_tables_hold_the_known_constants():
    with jax.enable_x64(True):
        linear, cosine, vpsde = sj.ddpm(), sj.ddpm("cosine"), sj.ddpm("vpsde")

        def signal(sde):
            return half_log_snr_and_signal(sde, np.array([1.0]))[1][0]

        def half_log_snr(sde, n):
            return half_log_snr_and_signal(sde, np.atleast_1d(n) / 1000)[0]

        # each constant to the digits it was published with
        np.testing.assert_allclose([signal(linear), signal(cosine)], [4.0358e-5, 2.4288e-9], rtol=2e-5)
        np.testing.assert_allclose(half_log_snr(linear, [1, 1000]), [4.6051, -5.0588], atol=5e-5)
        np.testing.assert_allclose(linear.posterior(0.001, 0.002)[2], 5.4532e-5, rtol=1e-5)
        np.testing.assert_allclose(betas(cosine)[0], 4.1284e-5, rtol=2e-5)
        np.testing.assert_allclose(half_log_snr(cosine, 1), 5.0475, atol=5e-5)
        last = [-5.0778, -5.3654, -5.7709, -6.4641, -9.9179]
        np.testing.assert_allclose(half_log_snr(cosine, range(996, 1001)), last, atol=5e-5)
        np.testing.assert_allclose(betas(vpsde)[[0, -1]], [1.0994e-4, 0.019792], rtol=5e-5)
        np.testing.assert_allclose(half_log_snr(vpsde, 1000), -5.0250, atol=5e-5)
        np.testing.assert_allclose(
            0.5 * sj.vp().log_snr(np.array([1.0, 1e-3, 1e-4])), [-5.0250, 4.5577, 5.7515], atol=5e-5
        )


def test_the_vpsde_chain_is_the_vp_process_at_its_levels():
    with jax.enable_x64(True):
        level = np.arange(1, 1001) / 1000
        chain, sde = sj.ddpm("vpsde"), sj.vp()
        at, between = (half_log_snr_and_signal(p, level)[0] for p in (chain, sde)), level[20:] - 5e-4
        np.testing.assert_allclose(*at, rtol=1e-10)
        # between the levels a smooth table of a smooth schedule follows it to the fourth order of the spacing
        np.testing.assert_allclose(*(half_log_snr_and_signal(p, between)[0] for p in (chain, sde)), rtol=1e-8)


def test_smld_levels_are_geometric():
    sde = sj.smld(0.01, 50.0, 100)
    level = jnp.arange(1, 101) / 100
    np.testing.assert_allclose(sde.sigma(level), np.geomspace(0.01, 50.0, 100), rtol=4e-6)  # exp(4) of rounded logs
    np.testing.assert_allclose(sde.alpha(level), 1.0)


@pytest.mark.parametrize("n", [10, 100, 1000, 4000])
@pytest.mark.parametrize("chain", [lambda n: sj.ddpm("cosine", n), lambda n: sj.smld(n=n)], ids=["ddpm", "smld"])
def test_labels_at_the_levels_are_exact_integers(chain, n):
    """`n / N * N` rounds to just under `n` in float32; a network that uses its label as an index would miss by one."""
    sde = chain(n)
    expected = np.arange(n) if isinstance(sde, type(sj.ddpm(n=2, schedule=[0.1, 0.2]))) else np.arange(n)[::-1]
    drawn = jax.jit(lambda u: sde.label(sde.time_of(u)))((jnp.arange(n) + 0.5) / n)
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(sde.label(sj.times.uniform(sde, n - 1))[::-1], expected)


def test_labels_between_the_levels_are_real_numbers():
    np.testing.assert_allclose(sj.ddpm().label(jnp.array([0.0125, 0.99025])), [11.5, 989.25], rtol=1e-5)
    np.testing.assert_allclose(sj.smld(n=100).label(jnp.array([0.0125, 0.99025])), [98.75, 0.975], rtol=1e-4)


@pytest.mark.parametrize("schedule", ["cosine", [0.1, 0.5, 0.02, 0.9], [0.3], [0.2, 0.4]])
def test_a_short_or_jagged_chain_is_a_valid_process_between_its_levels(schedule):
    sde = sj.ddpm(schedule, 10)
    with jax.enable_x64(True):
        t = np.linspace(1e-3, 1.0, 1001)
        log_snr, g2, inverse = jax.jit(
            lambda t: (sde.log_snr(t), sde.diffusion_squared(t), sde.inverse_log_snr(sde.log_snr(t)))
        )(t)
        assert np.all(np.diff(log_snr) < 0)
        assert np.all(np.asarray(g2) >= 0)
        # a jagged table is nearly flat at one level, where Newton's method is slow
        np.testing.assert_allclose(inverse, t, atol=1e-9 if schedule == "cosine" else 2e-4)


def test_given_betas_are_the_transitions():
    with jax.enable_x64(True):
        np.testing.assert_allclose(betas(sj.ddpm([0.1, 0.5, 0.02, 0.9])), [0.1, 0.5, 0.02, 0.9], rtol=1e-12)
