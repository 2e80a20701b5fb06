"""UniPC: orders of predictor and corrector, and what its variants have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import LINE, order, quantiles, run

import scorejax as sj
from scorejax.samplers import dpm_solver, unipc
from scorejax.samplers.exponential import History, node

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
    "2 bh2": (unipc(2, "bh2", lower_order_final=False), 3),
    "2 vary": (unipc(2, "vary_coeff", lower_order_final=False), 3),
    "3 vary": (unipc(3, "vary_coeff", lower_order_final=False), 4),
    "3 noise": (unipc(3, prediction="noise", lower_order_final=False), 4),
    "3 without corrector": (unipc(3, corrector=False, lower_order_final=False), 3),
}


@pytest.mark.parametrize("name", [n if n == "3" else pytest.param(n, marks=pytest.mark.slow) for n in ORDERS])
def test_the_corrector_raises_the_order_by_one(name):
    stepper, expected = ORDERS[name]
    np.testing.assert_allclose(order(stepper, VP, grid), expected, atol=0.25)


@pytest.mark.slow
def test_without_corrector_the_second_order_is_multistep_dpm_solver():
    found = solve(unipc(2, "bh2", corrector=False))
    np.testing.assert_allclose(found, solve(dpm_solver(2, lower_order_final=True)), rtol=1e-12)


@jax.jit
def weights(stepper, done, t):
    """What the point reached 0.1 below `t` owes to the predictions at `t`, `t + 0.1`, ..., by linearity."""
    units = jnp.eye(4)[:, :, None]
    memory = History(tuple(node(VP, t + 0.1 * i) for i in (1, 2, 3)), tuple(units[1:]), done, 9)

    def score(x, t):  # the posterior mean of x = 0 is then a unit
        return units[0] * (VP.alpha(t) / VP.variance(t))

    return stepper.step(None, VP, score, jnp.zeros((4, 1)), t, t - 0.1, memory).x[:, 0]


@pytest.mark.slow
def test_the_variants_differ_only_where_there_is_a_single_difference():
    """Else their weights solve the same equations, and `B` cancels."""
    kept = float(VP.sigma(0.5) / VP.sigma(0.6))
    correct, predict = {}, {}
    for variant in ("bh1", "bh2", "vary_coeff", "vary_coeff_published"):
        # by order: the predictor's weights of the predictions at 0.7, 0.8 and 0.9
        predict[variant] = np.array([weights(unipc(3, variant, corrector=False), p, 0.7)[:3] for p in range(3)])
        # and what the corrector adds at 0.6 to those of the predictions there and at 0.7, 0.8, 0.9
        both, bare = (
            np.array([weights(unipc(3, variant, corrector=c), p, 0.6) for p in range(4)]) for c in (True, False)
        )
        correct[variant] = np.roll(both - bare, -1, axis=1) / kept
        np.testing.assert_allclose(predict[variant][[0, 2]], predict["bh1"][[0, 2]], rtol=1e-12)
    for variant in ("bh2", "vary_coeff"):
        assert np.abs(predict[variant][1] - predict["bh1"][1]).max() > 1e-4
        assert np.abs(correct[variant][1] - correct["bh1"][1]).max() > 1e-4
        # a correction is what the corrector adds to the prediction
        whole = [c[2:, :3] + p[1:] for c, p in ((correct[v], predict[v]) for v in (variant, "bh1"))]
        np.testing.assert_allclose(whole[0], whole[1], rtol=1e-11)
    assert np.abs(correct["vary_coeff_published"][3] - correct["vary_coeff"][3]).max() > 1e-2
    # a prediction that is lambda itself: `vary_coeff` alone finds sigma times the integral of e^l l at order 2
    last, *at = (0.5 * float(VP.log_snr(t)) for t in (0.6, 0.7, 0.8, 0.9))
    integral = float(VP.sigma(0.6)) * ((last - 1) * np.exp(last) - (at[0] - 1) * np.exp(at[0]))
    np.testing.assert_allclose(predict["vary_coeff"][1] @ np.array(at), integral, rtol=1e-12)
    assert all(abs(predict[variant][1] @ np.array(at) - integral) > 1e-4 for variant in ("bh1", "bh2"))


@pytest.mark.slow
def test_a_move_between_two_steps_is_not_undone_by_the_corrector():
    """Correctors of the driver may move the points; UniPC adds its correction to where it finds them."""
    stepper, x, times = unipc(2), quantiles(VP, 1.0), grid(2)

    def score(x, t):  # the prediction is zero everywhere: a step only rescales
        return -x / VP.variance(t)

    first = stepper.step(None, VP, score, x, times[0], times[1], stepper.init(VP, x, times))
    second = stepper.step(None, VP, score, first.x + 0.3, times[1], times[2], first.memory)
    np.testing.assert_allclose(second.x, (first.x + 0.3) * VP.sigma(times[2]) / VP.sigma(times[1]), rtol=1e-9)
