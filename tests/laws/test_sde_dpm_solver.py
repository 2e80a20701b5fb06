"""SDE-DPM-Solver++: what its orders are, and how wide its draws are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import LINE, moments, run

import scorejax as sj
from scorejax import samplers

LAW = sj.analytic.gaussian([0.3], [0.25])


def error_of_variance(stepper, sde, n, given_noise):
    """How far off the variance is in the end, relative, on Gaussian data whose steps are affine."""
    given_noise(lambda noise, _: noise)
    with jax.enable_x64(True):
        times = np.asarray(sj.times.log_snr(sde, n, t_min=1e-2 if sde.t_max <= 1 else None))
        start, end = 0.25 * np.square(sde.alpha(times[[0, -1]])) + np.square(sde.sigma(times[[0, -1]]))
        mean = float(sde.alpha(times[0])) * np.array([0.3])
        found = moments(stepper, sde, LAW.score(sde), times, mean, np.array([[start]]), compiled=True)
        return float(found[1][0, 0] / end - 1.0)


def test_the_first_order_is_ancestral_sampling():
    with jax.enable_x64(True):
        times = np.asarray(sj.times.log_snr(sj.vp(), 4))
        x = jnp.linspace(-1, 1, 5)[:, None]
        keys = jax.random.split(jax.random.key(0), (4, 5))
        ends = [run(m, sj.vp(), LINE.score(sj.vp()), x, times, noise=keys)
                for m in (samplers.sde_dpm_solver(1), samplers.ancestral())]  # fmt: skip
    np.testing.assert_allclose(*ends, rtol=1e-12)


@pytest.mark.parametrize("sde", [sj.vp(), pytest.param(sj.edm(0.02, 10.0), marks=pytest.mark.slow)], ids=["vp", "edm"])
def test_the_second_order_quarters_the_error_of_the_variance_when_steps_double(sde, given_noise):
    errors = [abs(error_of_variance(samplers.sde_dpm_solver(2), sde, n, given_noise)) for n in (40, 80)]
    assert errors[1] < 0.01
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.3)


@pytest.mark.slow
def test_modes_that_stand_still_leave_the_points_finite():
    sde = sj.blur(shape=(2,), growth="log", most=0.6, n=200)
    law = sj.analytic.gaussian([0.0, 0.0], np.eye(2))
    found = sj.sample(
        jax.random.key(0),
        sde,
        law.score(sde),
        (4, 2),
        stepper=samplers.sde_dpm_solver(),
        times=sj.times.log_snr(sde, 9),
    )
    assert np.isfinite(found.x).all()


def test_another_order_is_refused():
    with pytest.raises(ValueError, match="order must be 1 or 2, got 3"):
        samplers.sde_dpm_solver(3)
