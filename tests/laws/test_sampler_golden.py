"""Single updates of the published samplers (score_sde), noise injected, where the two discretisations coincide.

The reference steps on a table of N = 50 levels: reverse diffusion and ancestral with `beta_i` or
`sigma_i^2 - sigma_{i-1}^2`, Euler-Maruyama with 1 / N. A step of ours goes from `t` to any `s`; the `s` whose exact
transition equals the table's entry makes the two the same update. It does not exist for VP at t = 0.001 (the table's
first step is longer than the time left) nor for reverse diffusion of sub-VP (the reference takes an Euler step there).
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "score_sde_samplers.npz")
SDES = {"vp": sj.vp(), "subvp": sj.subvp(), "ve": sj.ve()}
N = 50


def score(name):
    law = sj.analytic.gaussian(GOLDEN["mu"].ravel(), np.full(12, GOLDEN["s0"] ** 2))
    return lambda x, t: law.score_at(SDES[name], x.reshape(4, 12), t).reshape(x.shape)


def level(name, t):
    """The time whose exact transition to `t` is the reference's table entry at `t`."""
    i = int(np.float32(t) * (N - 1))
    if name == "vp":
        beta = np.linspace(0.1 / N, 20.0 / N, N)[i]
        integral = 0.1 * t + 9.95 * t**2 + np.log1p(-beta)
        return float(2 * integral / (0.1 + np.sqrt(0.01 + 39.8 * integral)))
    sigma = np.geomspace(0.01, 50.0, N)
    added = sigma[i] ** 2 - (sigma[i - 1] ** 2 if i else 0.0)
    return float((np.log((0.01 * 5000.0**t) ** 2 - added) / 2 - np.log(0.01)) / np.log(5000.0))


def update(stepper, name, t, s, noise, monkeypatch):
    draws = iter(jnp.asarray(noise))
    monkeypatch.setattr("scorejax.keys.normal", lambda *_: next(draws))
    keys = jax.random.split(jax.random.key(0), 4)
    x = jnp.asarray(GOLDEN[f"{name}_x"])
    return stepper.step(keys, SDES[name], score(name), x, jnp.float32(t), jnp.float32(s), ())


def assert_equal(step, key):
    for got, part in ((step.x, "x"), (step.mean, "x_mean")):
        expected = GOLDEN[f"{key}|{part}"]
        # float32 on both sides; the time s itself is rounded, which shifts a step of size 1 / 50 by 1e-5
        np.testing.assert_allclose(got, expected, atol=1e-4 * max(1.0, np.abs(expected).max()), err_msg=key)


@pytest.mark.parametrize(("name", "t"), [(n, t) for n in ("vp", "subvp") for t in (0.001, 0.4, 1.0)] + [("ve", 0.4)])
def test_euler_maruyama_is_the_published_update(name, t, monkeypatch):
    step = update(sj.samplers.euler_maruyama(), name, t, t - 1 / N, GOLDEN["predictor_noise"][None], monkeypatch)
    assert_equal(step, f"{name}|euler_maruyama|pf0|t{t}")


@pytest.mark.parametrize("ode", [False, True])
@pytest.mark.parametrize(("name", "t"), [("vp", 0.4), ("vp", 1.0), ("ve", 0.4), ("ve", 1.0), ("ve", 1e-5)])
def test_reverse_diffusion_is_the_published_update(name, t, ode, monkeypatch):
    stepper = sj.samplers.reverse_diffusion(probability_flow=ode)
    step = update(stepper, name, t, level(name, t), GOLDEN["predictor_noise"][None], monkeypatch)
    assert_equal(step, f"{name}|reverse_diffusion|pf{int(ode)}|t{t}")


@pytest.mark.parametrize(
    ("name", "t", "variance"), [("vp", 0.4, "forward"), ("vp", 1.0, "forward"), ("ve", 1.0, "posterior")]
)
def test_ancestral_sampling_is_the_published_update(name, t, variance, monkeypatch):
    step = update(
        sj.samplers.ancestral(variance), name, t, level(name, t), GOLDEN["predictor_noise"][None], monkeypatch
    )
    assert_equal(step, f"{name}|ancestral_sampling|pf0|t{t}")


@pytest.mark.parametrize("corrector", ["langevin", "ald"])
@pytest.mark.parametrize(("name", "t"), [("vp", 0.4), ("vp", 1.0), ("ve", 1e-5), ("ve", 0.4), ("ve", 1.0)])
def test_correctors_with_batch_norms_are_the_published_updates(name, t, corrector, monkeypatch):
    stepper = sj.samplers.langevin(0.16, 2, norm="batch") if corrector == "langevin" else sj.samplers.ald(0.16, 2)
    step = update(stepper, name, t, level(name, t), GOLDEN["corrector_noise"], monkeypatch)
    assert_equal(step, f"{name}|{corrector}|t{t}")


@pytest.mark.parametrize("name", SDES)
def test_coefficients_and_prior_are_the_published_tables(name):
    sde, t = SDES[name], jnp.asarray(GOLDEN[f"{name}_table_t"])
    np.testing.assert_allclose(sde.drift_rate(t), GOLDEN[f"{name}_drift_of_ones"], rtol=1e-5)
    np.testing.assert_allclose(sde.alpha(t), GOLDEN[f"{name}_mean_of_ones"], rtol=1e-5)
    late = np.asarray(t) >= 1e-2  # earlier the reference's 1 - exp(-B) has lost its digits in float32
    np.testing.assert_allclose(sde.diffusion(t)[late], GOLDEN[f"{name}_diffusion"][late], rtol=1e-4)
    np.testing.assert_allclose(sde.sigma(t)[late], GOLDEN[f"{name}_std"][late], rtol=1e-4)
    x = jnp.asarray(GOLDEN[f"{name}_x"])
    # the reference's prior of VE and ours are both N(0, sigma_max^2)
    np.testing.assert_allclose(sde.prior_logp(x), GOLDEN[f"{name}_prior_logp_of_x"], rtol=1e-5)


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_published_discretisations_are_exact_transitions_in_the_limit_only(name):
    """The tables differ from the exact transition by O(1 / N), 1 % at N = 1000 for VP: ours uses neither."""
    sde = SDES[name]
    for n, tolerance in ((1000, 0.03), (10_000, 0.003)):
        with jax.enable_x64(True):
            i = int(0.5 * n)
            if name == "vp":
                table = np.linspace(0.1 / n, 20.0 / n, n)[i]
                exact = sde.transition(i / n, (i + 1) / n)[1]
            else:
                sigma = np.geomspace(0.01, 50.0, n)
                table, exact = sigma[i] ** 2 - sigma[i - 1] ** 2, sde.transition((i - 1) / (n - 1), i / (n - 1))[1]
            np.testing.assert_allclose(exact, table, rtol=tolerance)
