import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import CONTINUOUS, MODAL, PROCESSES, PerMode, rotation

import scorejax as sj

ALL = PROCESSES | MODAL
PARAMETERS = pytest.mark.parametrize("name", ALL)
TIMES = np.array([1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 0.7, 0.95, 1.0])


def exact(name, t):
    """`alpha, sigma, f, g^2` written out by hand in float64."""
    t = np.asarray(t, np.float64)
    beta, integral = 0.1 + 19.9 * t, 0.1 * t + 9.95 * t**2
    one, zero = np.ones_like(t), np.zeros_like(t)
    if name == "vp":
        return np.exp(-integral / 2), np.sqrt(-np.expm1(-integral)), -beta / 2, beta
    if name == "subvp":
        return np.exp(-integral / 2), -np.expm1(-integral), -beta / 2, -beta * np.expm1(-2 * integral)
    if name == "ve":
        sigma = 0.01 * 5000.0**t
        return one, sigma, zero, 2 * np.log(5000.0) * sigma**2
    if name == "edm":
        return one, t, zero, 2 * t
    if name == "flow":
        return 1 - t, t, -1 / (1 - t), 2 * t / (1 - t)
    rate = np.pi / 2 / 1.008
    angle, start = (t + 0.008) * rate, 0.008 * rate
    alpha = np.cos(angle) / np.cos(start)
    sigma = np.sqrt(np.sin(t * rate) * np.sin(t * rate + 2 * start)) / np.cos(start)
    return alpha, sigma, -rate * np.tan(angle), 2 * rate * np.tan(angle)


def within(sde):
    return np.array([t for t in TIMES if sde.t_min <= t <= sde.t_max])


@pytest.mark.parametrize("name", CONTINUOUS)
def test_derived_coefficients_equal_the_published_closed_forms(name):
    sde = CONTINUOUS[name]
    t = jnp.asarray(within(sde), jnp.float32)
    alpha, _, f, g2 = exact(name, t)
    # float32 resolves 6e-8; where a decay rate multiplies t (exp of up to 17) that grows to a few 1e-6
    np.testing.assert_allclose(sde.alpha(t), alpha, rtol=4e-6)
    np.testing.assert_allclose(sde.drift_rate(t), f, rtol=4e-6, atol=1e-12)
    np.testing.assert_allclose(sde.diffusion_squared(t), g2, rtol=4e-6)
    np.testing.assert_allclose(sde.diffusion(t), np.sqrt(g2), rtol=4e-6)
    np.testing.assert_allclose(sde.marginal(jnp.ones((len(t), 3)), t)[0], np.tile(alpha[:, None], 3), rtol=4e-6)


@pytest.mark.parametrize("name", ["vp", "subvp", "flow", "edm", "cosine"])
def test_the_noise_scale_keeps_its_digits_next_to_the_data(name):
    # 1 - exp(-B) in float32 is 2.4 % off (VP) and 4.7 % off (sub-VP) at t = 1e-5
    sde = CONTINUOUS[name]
    t = jnp.asarray(within(sde), jnp.float32)
    np.testing.assert_allclose(sde.sigma(t), exact(name, t)[1], rtol=1e-6)


def test_ve_starts_at_sigma_min_as_published():
    t = jnp.asarray(TIMES, jnp.float32)
    # networks take sigma as their label, and their Fourier features amplify its rounding by 300
    np.testing.assert_allclose(CONTINUOUS["ve"].sigma(t), exact("ve", t)[1], rtol=1.5e-7)
    np.testing.assert_allclose(CONTINUOUS["ve"].sigma(0.0), 0.01, rtol=1e-6)


@functools.cache
def facts(name):
    """Every derived quantity in float64, by one program, at 40 times even in the log signal-to-noise ratio."""
    sde = ALL[name]

    @jax.jit
    def compute(sde, t):
        rate = jnp.abs(sde.drift_rate(t)) + sde.diffusion_squared(t) / sde.variance(t)
        h = 1e-4 / (rate.reshape(len(t), -1).max(1) + 1.0 / t)
        around = {
            f"{key}{sign:+d}": getattr(sde, key)(t + sign * h) for key in ("alpha", "variance") for sign in (-1, 1)
        }
        names = ("alpha", "variance", "drift_rate", "diffusion_squared", "log_snr")
        found = around | {key: getattr(sde, key)(t) for key in names}
        found["t"], found["h"] = t, h
        found["inverse"] = sde.inverse_log_snr(sde.mean_log_snr(t))
        found["step"], found["jump"] = sde.transition(t[:-1], t[1:]), sde.transition(t[:-2], t[2:])
        found["posterior"] = sde.posterior(t[:-1], t[1:])
        return found

    with jax.enable_x64(True):
        t = np.asarray(sj.times.log_snr(sde, 41))[1:-1][::-1]
        if hasattr(sde, "levels"):  # away from the knots, where third derivatives jump
            t = np.unique((np.floor(t * sde.levels) + 0.5) / sde.levels)
        found = jax.tree.map(np.asarray, compute(sde, t))
        by_mode = jax.tree.map(lambda a: a if a.ndim == 1 and not sde.by_modes else a.reshape(len(a), -1).T, found)
        # the times last, so that numbers of times broadcast against numbers of modes and times
        return SimpleNamespace(**by_mode | {key: found[key] for key in ("t", "h", "inverse")})


@pytest.mark.slow
@PARAMETERS
def test_inverse_log_snr_is_the_inverse(name):
    np.testing.assert_allclose(facts(name).inverse, facts(name).t, rtol=1e-9)


def test_with_linear_beta_there_and_back_again_loses_no_digit():
    """Neither near the prior nor, where a difference of nearly equal numbers would, next to the data."""
    sde, t = PROCESSES["vp"], np.geomspace(1e-5, 1.0, 500)  # not times that the inverse itself has chosen
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(lambda t: sde.inverse_log_snr(sde.log_snr(t)))(t))
    assert np.abs(found - t).max() < 4e-16
    np.testing.assert_allclose(found, t, rtol=1e-14)


@pytest.mark.slow
@PARAMETERS
def test_inverse_log_snr_is_the_inverse_in_float32(name):
    sde, f = ALL[name], facts(name)
    slope = (f.diffusion_squared / f.variance).reshape(-1, len(f.t)).mean(0)  # = -d log SNR / dt
    # log SNR itself is rounded to 2e-6 (float32 at magnitude 10..20); the inverse cannot know better than that
    limit = 4e-6 / slope + 2e-6 * f.t
    error = jax.jit(lambda sde, t: sde.inverse_log_snr(sde.mean_log_snr(t)) - t)(sde, jnp.asarray(f.t, jnp.float32))
    assert np.all(np.abs(error) < limit)


@PARAMETERS
def test_moments_solve_the_equations_of_the_sde(name):
    """`d alpha / dt = f alpha` and `d variance / dt = 2 f variance + g^2`, by central differences."""
    f = facts(name)
    alpha_slope = (getattr(f, "alpha+1") - getattr(f, "alpha-1")) / (2 * f.h)
    variance_slope = (getattr(f, "variance+1") - getattr(f, "variance-1")) / (2 * f.h)
    # h = 1e-4 of the time in which anything changes: truncation 1e-8 relative; rounding 1e-16 / h
    rounding = 1e-15 / f.h
    assert np.all(np.abs(alpha_slope - f.drift_rate * f.alpha) <= 1e-6 * np.abs(alpha_slope) + rounding)
    expected = 2 * f.drift_rate * f.variance + f.diffusion_squared
    assert np.all(np.abs(variance_slope - expected) <= 1e-6 * np.abs(variance_slope) + rounding * f.variance)


@PARAMETERS
def test_the_signal_to_noise_ratio_never_increases(name):
    sde = ALL[name]
    assert np.all(np.asarray(sde.diffusion_squared(jnp.linspace(sde.t_min, sde.t_max, 5001))) >= 0)
    # a mode without frequency keeps its ratio where the noise is always the same
    steps = np.diff(facts(name).log_snr)
    assert np.all(steps <= 0) and np.all(steps.reshape(-1, steps.shape[-1]).mean(0) < 0)


@PARAMETERS
def test_transitions_compose(name):
    f = facts(name)
    a, v = f.step
    np.testing.assert_allclose(f.jump[0], a[..., 1:] * a[..., :-1], rtol=1e-10)
    np.testing.assert_allclose(f.jump[1], a[..., 1:] ** 2 * v[..., :-1] + v[..., 1:], rtol=1e-8, atol=1e-17)


@PARAMETERS
def test_the_marginal_is_the_composition_of_all_transitions(name):
    f = facts(name)
    alpha, variance = f.alpha[..., 0], f.variance[..., 0]
    for a, v in zip(*(np.moveaxis(each, -1, 0) for each in f.step), strict=True):
        alpha, variance = a * alpha, a**2 * variance + v
    np.testing.assert_allclose([alpha, variance], [f.alpha[..., -1], f.variance[..., -1]], rtol=1e-9)


@pytest.mark.parametrize("name", [*ALL, "per_mode"])
def test_the_posterior_is_gaussian_conditioning(name):
    """The joint Gaussian of `(x_s, x_t)` given `x_0` has `Cov = a var_s`; condition it on `x_t`."""
    if name == "per_mode":
        sde = PerMode(rates=np.array([0.5, 3.0, 9.0]), t_min=1e-3, t_max=1.0)
        alpha, variance = np.exp(-0.5 * np.outer([0.2, 0.7], sde.rates)), -np.expm1(-np.outer([0.2, 0.7], sde.rates))
        with jax.enable_x64(True):
            posterior = jax.tree.map(np.asarray, sde.posterior(0.2, 0.7))
    else:
        alpha, variance = facts(name).alpha.T, facts(name).variance.T
        posterior = [each.T for each in facts(name).posterior]
    a = alpha[1:] / alpha[:-1]
    gain = a * variance[:-1] / variance[1:]
    for got, expected in zip(
        posterior, (gain, alpha[:-1] - gain * alpha[1:], variance[:-1] - gain * a * variance[:-1]), strict=True
    ):
        # the written-out difference cancels digits near the data; the implementation does not
        np.testing.assert_allclose(got.ravel(), expected.ravel(), rtol=1e-8, atol=1e-15)


@pytest.mark.slow
def test_simulating_the_forward_sde_gives_the_marginal():
    """Euler-Maruyama forwards in data space, with rotated per-mode coefficients, ends in `q(x_t | x_0)`."""
    u = rotation(3)
    sde = PerMode(rates=np.array([0.5, 2.0, 5.0]), basis=sj.sdes.Rotation(u), t_min=1e-3, t_max=1.0)
    n, steps = 20_000, 100
    x0 = jnp.broadcast_to(jnp.array([1.0, -0.5, 2.0]), (n, 3))

    def step(x, inputs):
        key, t = inputs
        noise = jax.random.normal(key, x.shape)
        return x + sde.drift(x, t) / steps + sde.scale(sde.diffusion(t), t, noise) / steps**0.5, None

    inputs = jax.random.split(jax.random.key(0), steps), jnp.arange(steps) / steps
    x = np.asarray(jax.jit(lambda x: jax.lax.scan(step, x, inputs)[0])(x0))
    alpha, variance = np.asarray(sde.alpha(1.0)), np.asarray(sde.sigma(1.0)) ** 2
    # 1 % (4 Monte-Carlo sigmas of a mean, n = 20 000) and 5 % (variance: 1.4 sqrt(1/n) and step error rate / 2 steps)
    np.testing.assert_allclose(x.mean(0), u @ (alpha * (u.T @ np.asarray(x0[0]))), atol=0.03)
    np.testing.assert_allclose(np.cov(x.T), u @ np.diag(variance) @ u.T, atol=0.05)


@pytest.mark.parametrize("name", ["vp", "subvp", "ve"])
def test_processes_are_differentiable_in_their_parameters(name):
    first, second = {"ve": ("sigma_min", "sigma_max")}.get(name, ("beta_min", "beta_max"))
    sde, t = CONTINUOUS[name], 0.37

    def value(a, b):
        return CONTINUOUS[name].replace(**{first: a, second: b}).log_snr(t)

    with jax.enable_x64(True):
        a, b = float(getattr(sde, first)), float(getattr(sde, second))
        slope = jax.grad(value, argnums=(0, 1))(a, b)
        steps = 1e-5 * a, 1e-5 * b
        expected = [
            (value(a + steps[0], b) - value(a - steps[0], b)) / (2 * steps[0]),
            (value(a, b + steps[1]) - value(a, b - steps[1])) / (2 * steps[1]),
        ]
        np.testing.assert_allclose(slope, expected, rtol=1e-7, atol=1e-12)


def test_a_changed_parameter_does_not_compile_again():
    traced = []

    @jax.jit
    def sigma(sde, t):
        traced.append(0)
        return sde.sigma(t)

    values = [float(sigma(sj.vp(0.1, beta_max), 0.5)) for beta_max in (10.0, 20.0, 30.0)]
    assert len(traced) == 1
    np.testing.assert_allclose(values, [np.sqrt(-np.expm1(-0.05 - (b - 0.1) / 8)) for b in (10, 20, 30)], rtol=1e-6)


@pytest.mark.slow
def test_the_prior_is_normalised_and_sampled():
    sde = PerMode(rates=np.array([0.5, 3.0]), basis=sj.sdes.Rotation(rotation(2)), t_min=1e-3, t_max=1.0)
    for process in (sj.ve(0.01, 3.0), sde):
        axis = jnp.linspace(-15, 15, 301)
        grid = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
        # trapezoid sums of a Gaussian with spread far above the spacing 0.1 are exact to rounding
        np.testing.assert_allclose(jnp.exp(process.prior_logp(grid)).sum() * 0.01, 1.0, rtol=1e-4)
        x = np.asarray(process.prior_sample(jax.random.key(1), (20_000, 2)))
        u = np.eye(2) if process is not sde else np.asarray(sde.basis.matrix)
        expected = u @ np.diag(np.broadcast_to(process.variance(jnp.array(1.0)), 2)) @ u.T
        np.testing.assert_allclose(np.cov(x.T), expected, atol=0.05 * expected.max())  # 5 Monte-Carlo sigmas
