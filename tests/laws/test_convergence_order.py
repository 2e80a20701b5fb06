"""Methods converge at the order they promise, measured on Gaussian data, whose flow is known in closed form."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj

VARIANCE = 0.25  # not one: unit variance is stationary under VP, and Euler's method then trivially exact
LAW = sj.analytic.gaussian([0.6, -0.4], [VARIANCE, VARIANCE])


def orders(errors, ratio=2.0):
    errors = np.asarray(errors)
    return np.log(errors[:-1] / errors[1:]) / np.log(ratio)


def exact_flow(sde, x, t, s):
    """The flow of Gaussian data keeps every point's standard score `(x - alpha m) / sqrt(alpha^2 v + sigma^2)`."""
    scale = [np.sqrt(VARIANCE * float(sde.alpha(u)) ** 2 + float(sde.sigma(u)) ** 2) for u in (t, s)]
    mean = [float(sde.alpha(u)) * np.array([0.6, -0.4]) for u in (t, s)]
    return mean[1] + (np.asarray(x) - mean[0]) * scale[1] / scale[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps"), [("euler", (80, 160, 320)), ("heun", (40, 80, 160)), ("rk4", (40, 80, 160))]
)
@pytest.mark.parametrize("sde", [sj.vp(), sj.edm(0.02, 10.0)], ids=["vp", "edm"])
def test_flow_methods_have_their_orders(sde, name, steps):
    with jax.enable_x64(True):
        x = jnp.array([[1.0, -0.3], [-1.5, 2.0]]) * (10.0 if sde.t_max == 10.0 else 1.0)
        end = exact_flow(sde, x, sde.t_max, 1e-3 if sde.t_max == 1 else 0.02)
        errors = []
        for n in steps:
            times = sj.times.log_snr(sde, n, t_min=1e-3 if sde.t_max == 1 else None)
            found = sj.sample(
                jax.random.key(0), sde, LAW.score(sde), x.shape, stepper=sj.samplers.probability_flow(name),
                times=times, x_init=x, denoise=False,
            )  # fmt: skip
            errors.append(np.abs(found.x - end).max())
    expected = {"euler": 1, "heun": 2, "rk4": 4}[name]
    # the slope is a limit: measured within 0.1 (order 1, 2) and 0.35 (order 4, one step from the stiff start) of it
    np.testing.assert_allclose(orders(errors)[-1], expected, atol=0.12 if expected < 4 else 0.35)


def test_the_adaptive_flow_is_exact_within_its_tolerance():
    sde = sj.vp()
    with jax.enable_x64(True):
        x = jnp.array([[1.0, -0.3], [-1.5, 2.0]])
        end = exact_flow(sde, x, 1.0, 1e-5)
        for rtol in (1e-4, 1e-7):
            found = sj.decode(sde, LAW.score(sde), x, rtol=rtol, atol=rtol)
            np.testing.assert_allclose(found.x, end, atol=20 * rtol)


def test_the_flow_map_has_its_published_constant():
    """`x_0 = x_T sqrt(v_0 / v_T)` = 0.50009055 for `t` from 1 to 1e-3 and data variance 1/4."""
    sde, law = sj.vp(), sj.analytic.gaussian([0.0], [0.25])
    with jax.enable_x64(True):
        found = sj.sample(
            jax.random.key(0), sde, law.score(sde), (1, 1), stepper=sj.samplers.probability_flow("rk4"),
            times=sj.times.log_snr(sde, 400, t_min=1e-3), x_init=jnp.ones((1, 1)), denoise=False,
        )  # fmt: skip
        np.testing.assert_allclose(found.x, 0.50009055, atol=5e-8)


GRIDS = (400, 800, 1600)


@functools.cache
def moments_of_steps(sde):
    """By method `[pairs, 2]`, the square of a step's gain and of its noise, for every step of all grids at once.

    For a Gaussian score a step is `x' = A x + b + c z`: `A`, `b` and `c` are read off by stepping 0, 1 and 0 with
    unit noise, so that no Monte-Carlo error remains and slopes are sharp.
    """
    score, keys = LAW1.score(sde), jax.random.split(jax.random.key(0), 3)
    grids = [np.asarray(sj.times.log_snr(sde, n, t_min=1e-2 if sde.t_max <= 1 else None)) for n in GRIDS]

    @jax.jit
    @jax.vmap
    def moments(t, s):
        found = {}
        for name, stepper in SDE_METHODS.items():
            x = jnp.array([[0.0], [1.0], [0.0]])
            y = stepper.step(keys, sde, lambda x, t: score(x, jnp.full(3, t)), x, t, s, ()).x[:, 0]
            found[name] = jnp.stack([(y[1] - y[0]) ** 2, (y[2] - y[0]) ** 2])
        return found

    found = moments(np.concatenate([g[:-1] for g in grids]), np.concatenate([g[1:] for g in grids]))
    return grids, jax.tree.map(np.asarray, found)


def bias_of_variance(method, sde):
    """Of each grid, the relative error of the variance after its steps from the exact terminal law."""
    grids, moments = moments_of_steps(sde)
    errors, steps = [], iter(moments[method])
    for grid in grids:
        start, end = VARIANCE * np.square(sde.alpha(grid[[0, -1]])) + np.square(sde.sigma(grid[[0, -1]]))
        variance = start
        for gain, noise in itertools.islice(steps, len(grid) - 1):
            variance = gain * variance + noise
        errors.append(variance / end - 1.0)
    return errors


LAW1 = sj.analytic.gaussian([0.0], [VARIANCE])
SDE_METHODS = {
    "euler_maruyama": sj.samplers.euler_maruyama(),
    "reverse_diffusion": sj.samplers.reverse_diffusion(),
    "reverse_diffusion_ode": sj.samplers.reverse_diffusion(probability_flow=True),
    "ancestral": sj.samplers.ancestral(),
    "ancestral_forward": sj.samplers.ancestral("forward"),
}


@pytest.mark.parametrize("method", SDE_METHODS)
@pytest.mark.parametrize(
    "sde",
    [sj.vp(), sj.edm(0.02, 10.0)] + [pytest.param(s, marks=pytest.mark.slow) for s in (sj.subvp(), sj.flow(t_max=0.9))],
    ids=lambda s: type(s).__name__,
)
def test_stochastic_methods_halve_their_bias_when_steps_double(method, sde, given_noise):
    given_noise(lambda *_: jnp.array([[0.0], [0.0], [1.0]]))
    with jax.enable_x64(True):
        errors = np.abs(bias_of_variance(method, sde))
    assert errors[-1] < 0.05
    np.testing.assert_allclose(orders(errors)[-1], 1.0, atol=0.1)


def test_ancestral_steps_with_the_optimal_variance_are_exact_for_any_number_of_steps(given_noise):
    """Gaussian data: with variance `v + c_0^2 Var(x_0 | x_t)` even 1 or 3 steps return the data variance."""
    given_noise(lambda *_: jnp.array([[0.0], [0.0], [1.0]]))
    with jax.enable_x64(True):
        for sde in (sj.vp(), sj.flow(t_max=0.9)):
            for n in (1, 3):
                times = sj.times.log_snr(sde, n)
                variance = VARIANCE * sde.alpha(times[0]) ** 2 + sde.sigma(times[0]) ** 2
                for t, s in itertools.pairwise(times):
                    x = jnp.array([[0.0], [1.0], [0.0]])
                    keys = jax.random.split(jax.random.key(0), 3)
                    y = sj.samplers.ancestral().step(keys, sde, LAW1.score(sde), x, t, s, ()).x[:, 0]
                    posterior = 1 / (1 / VARIANCE + sde.alpha(t) ** 2 / sde.sigma(t) ** 2)
                    extra = sde.posterior(s, t)[1] ** 2 * posterior
                    variance = (y[1] - y[0]) ** 2 * variance + (y[2] - y[0]) ** 2 + extra
                end = VARIANCE * sde.alpha(times[-1]) ** 2 + sde.sigma(times[-1]) ** 2
                np.testing.assert_allclose(variance, end, rtol=1e-10)
