"""UniPC: orders of predictor and corrector, and what its variants have in common."""

import jax
import numpy as np
import pytest
from stepping import LINE, order, quantiles, run

import scorejax as sj
from scorejax.samplers import dpm_solver, unipc

VP = sj.vp()


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def grid(n):
    return sj.times.log_snr(VP, n, t_min=1e-3)


def solve(stepper, n=12):
    return run(stepper, VP, LINE.score(VP), quantiles(VP, 1.0), grid(n))


# the corrector raises the order by one; falling orders at the end would hide it
ORDERS = {
    "3": (unipc(3, lower_order_final=False), 4),
    "3 published": (unipc(3, "vary_coeff_published", lower_order_final=False), 1),
    "1": (unipc(1, lower_order_final=False), 2),
    "2": (unipc(2, lower_order_final=False), 3),
    "2 bh2 noise": (unipc(2, "bh2", "noise", lower_order_final=False), 3),
    "2 vary_coeff": (unipc(2, "vary_coeff", lower_order_final=False), 3),
    "2 published": (unipc(2, "vary_coeff_published", "noise", lower_order_final=False), 1),
    "3 noise": (unipc(3, prediction="noise", lower_order_final=False), 4),
    "3 without corrector": (unipc(3, corrector=False, lower_order_final=False), 3),
}


@pytest.mark.parametrize("name", [n if n == "3" else pytest.param(n, marks=pytest.mark.slow) for n in ORDERS])
def test_the_corrector_raises_the_order_by_one(name):
    stepper, expected = ORDERS[name]
    np.testing.assert_allclose(order(stepper, VP, grid), expected, atol=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("prediction", ["data", "noise"])
def test_without_corrector_the_second_order_is_multistep_dpm_solver(prediction):
    found = solve(unipc(2, "bh2", prediction, corrector=False))
    np.testing.assert_allclose(found, solve(dpm_solver(2, prediction=prediction, lower_order_final=True)), rtol=1e-12)


@pytest.mark.slow
def test_the_variants_differ_only_where_there_is_a_single_difference():
    """Their weights solve the same equations; `B` cancels. At order 3 only the ends, of lower order, differ."""
    found = [solve(unipc(3, variant, lower_order_final=False)) for variant in ("bh1", "bh2", "vary_coeff")]
    for other in found[1:]:
        assert 0 < np.abs(other - found[0]).max() < 2e-3
    assert np.abs(solve(unipc(3, "vary_coeff_published", lower_order_final=False)) - found[2]).max() > 2e-2


@pytest.mark.slow
def test_a_move_between_two_steps_is_not_undone_by_the_corrector():
    """Correctors of the driver may move the points; UniPC adds its correction to where it finds them."""
    stepper, x, times = unipc(2), quantiles(VP, 1.0), grid(2)

    def score(x, t):  # the prediction is zero everywhere: a step only rescales
        return -x / VP.variance(t)

    first = stepper.step(None, VP, score, x, times[0], times[1], stepper.init(VP, x, times))
    second = stepper.step(None, VP, score, first.x + 0.3, times[1], times[2], first.memory)
    np.testing.assert_allclose(second.x, (first.x + 0.3) * VP.sigma(times[2]) / VP.sigma(times[1]), rtol=1e-9)
