"""DPM-Solver and DPM-Solver++: orders, exact cases, thresholding, adaptive steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import LINE, error, order, quantiles, run, transported
from worlds import PROCESSES, PerMode, rotation

import scorejax as sj
from scorejax import samplers
from scorejax.samplers import dpm_solver, exponential
from scorejax.scores import predictions

VP = sj.vp()


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def grid(n):
    return sj.times.log_snr(VP, n, t_min=1e-3)


ORDERS = {
    "1": (dpm_solver(1), 1),
    "2M data": (dpm_solver(2), 2),
    "2M noise": (dpm_solver(2, prediction="noise"), 2),
    "3M data": (dpm_solver(3), 3),
    "3M noise": (dpm_solver(3, prediction="noise"), 3),
    "3M published": (dpm_solver(3, third="published"), 2),  # half the second derivative
    "2S data": (dpm_solver(2, "singlestep"), 2),
    "2S noise": (dpm_solver(2, "singlestep", "noise"), 2),
    "3S data": (dpm_solver(3, "singlestep_fixed"), 3),
    "3S noise": (dpm_solver(3, "singlestep_fixed", "noise"), 3),
    "3S taylor": (dpm_solver(3, "singlestep_fixed", solver_type="taylor"), 3),
}
QUICK = ("3M data", "3S noise")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in ORDERS])
def test_solvers_have_their_orders_on_a_mixture(name):
    stepper, expected = ORDERS[name]
    np.testing.assert_allclose(order(stepper, VP, grid), expected, atol=0.25)


CASES = [(process, "3M data") for process in PROCESSES] + [(p, "2S noise") for p in ("ve", "subvp", "ddpm")]
FEW = [("subvp", "3M data")]


@pytest.mark.parametrize(
    ("process", "name"), [c if c in FEW else pytest.param(*c, marks=pytest.mark.slow) for c in CASES]
)
def test_the_orders_hold_for_every_process(process, name):
    sde, (stepper, expected) = PROCESSES[process], ORDERS[name]

    def between(n):
        return sde.inverse_log_snr(jnp.linspace(-6.0, 6.0, n + 1))

    np.testing.assert_allclose(order(stepper, sde, between), expected, atol=0.25)


STEPPERS = [
    dpm_solver(3), dpm_solver(2, prediction="noise"), dpm_solver(3, "singlestep"),
    dpm_solver(2, "singlestep", "noise", solver_type="taylor"), samplers.unipc(3), samplers.unipc(2, "bh2", "noise"),
    samplers.ddim(), samplers.heun(), samplers.euler(),
]  # fmt: skip
PER_MODE = PerMode(rates=np.array([0.5, 2.0, 9.0]), basis=sj.sdes.Rotation(rotation(3)), t_min=1e-3, t_max=1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sde",
    [pytest.param(s, marks=pytest.mark.slow) for s in PROCESSES.values()] + [PER_MODE],
    ids=[*PROCESSES, "per_mode"],
)
def test_a_single_data_point_is_exact_for_every_process_and_any_number_of_steps(sde):
    """Both predictions are then constant along the flow, in every mode: `x_t = alpha_t x_0 + sigma_t noise`."""
    point, noise = jnp.array([[0.4, -1.0, 0.2]]), jax.random.normal(jax.random.key(0), (2, 3))

    def score(x, t):
        return sde.scale(1.0 / sde.variance(t), t, sde.scale(sde.alpha(t), t, jnp.tile(point, (2, 1))) - x)

    times = jnp.linspace(sde.t_max, sde.t_min, 4)
    x = sde.perturb(point, times[0], noise)
    for stepper in STEPPERS:
        found = run(stepper, sde, score, x, times, compiled=False)
        np.testing.assert_allclose(found, sde.perturb(point, times[-1], noise), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("prediction", ["data", "noise"])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_predictions_polynomial_in_lambda_are_integrated_exactly(prediction, degree):
    """`x_t = (sigma_t / sigma_s) x_s + sigma_t int e^l data(l) dl`, and the same of noise, by quadrature."""

    def polynomial(l):
        return 0.7 - 0.4 * l * (degree > 0) + 0.15 * l**2 * (degree > 1)

    def score(x, t):  # depends on time alone
        value = jnp.broadcast_to(polynomial(0.5 * VP.log_snr(t))[:, None], x.shape)
        return predictions.convert(VP, x, t, value, prediction, "score")

    times = sj.times.log_snr(VP, degree + 1, t_min=0.1)
    stepper = dpm_solver(degree + 1, "singlestep_fixed", prediction, solver_type="taylor")
    found = run(stepper, VP, score, jnp.ones((1, 1)), times, compiled=False)
    alpha, sigma = (np.asarray(f(times[jnp.array([0, -1])])) for f in (VP.alpha, VP.sigma))
    (first, last), (u, w) = np.log(alpha / sigma), np.polynomial.legendre.leggauss(60)
    l, w = first + (last - first) * 0.5 * (u + 1), 0.5 * (last - first) * w
    if prediction == "data":
        expected = sigma[1] / sigma[0] + sigma[1] * np.sum(w * np.exp(l) * polynomial(l))
    else:
        expected = alpha[1] / alpha[0] - alpha[1] * np.sum(w * np.exp(-l) * polynomial(l))
    np.testing.assert_allclose(found, [[expected]], rtol=1e-10)


def test_phi_functions_are_their_integrals():
    """`z phi_k(z) = z int_0^1 e^{(1 - u) z} u^{k - 1} / (k - 1)! du`, on both sides of the switch to the series."""
    u, w = np.polynomial.legendre.leggauss(40)
    u, w = 0.5 * (u + 1), 0.5 * w
    z = np.array([-8.0, -1.01, -0.99, -1e-3, 0.0, 1e-9, 0.3, 0.999, 1.001, 5.0])
    for k, found in enumerate(exponential.z_phi(jnp.asarray(z), 4), start=1):
        factorial = np.prod(np.arange(1, k))
        expected = z * np.sum(w * np.exp(np.outer(z, 1 - u)) * u ** (k - 1), axis=1) / factorial
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)
    with jax.enable_x64(False):
        small = exponential.z_phi(jnp.float32(1e-3), 3)
        np.testing.assert_allclose(small, [1.0005002e-3, 5.0016671e-4, 1.6670834e-4], rtol=1e-6)


@pytest.mark.slow
def test_orders_fall_at_the_end_of_short_grids():
    """Two steps of order 3 with falling orders are two steps of order 1; not falling, order 1 and 2."""
    x, times = quantiles(VP, 1.0), grid(2)
    first, second = (run(dpm_solver(k), VP, LINE.score(VP), x, times) for k in (1, 2))
    falling = run(dpm_solver(3), VP, LINE.score(VP), x, times)
    rising = run(dpm_solver(3, lower_order_final=False), VP, LINE.score(VP), x, times)
    np.testing.assert_allclose(falling, first, rtol=1e-12)
    np.testing.assert_allclose(rising, run(dpm_solver(2, lower_order_final=False), VP, LINE.score(VP), x, times))
    np.testing.assert_allclose(second, first, rtol=1e-12)
    assert np.abs(rising - falling).max() > 1e-3


def test_a_singlestep_run_is_its_steps_one_after_the_other():
    """Six intervals are a step of order 3, one of order 2 and one of order 1."""
    x, times = quantiles(VP, 1.0), grid(6)
    whole = run(dpm_solver(3, "singlestep"), VP, LINE.score(VP), x, times)
    for k, first in ((3, 0), (2, 3), (1, 5)):
        x = run(dpm_solver(k, "singlestep_fixed"), VP, LINE.score(VP), x, times[first : first + k + 1])
    np.testing.assert_allclose(whole, x, rtol=1e-12)


def test_unless_told_otherwise_the_orders_fall_on_grids_of_fewer_than_ten_steps():
    def begun(n, lower):
        return dpm_solver(3, lower_order_final=lower).init(VP, jnp.ones((1, 1)), grid(n)).left

    assert begun(9, None) == begun(9, True) != begun(9, False)
    assert begun(10, None) == begun(10, False) != begun(10, True)


@pytest.mark.slow
def test_ten_steps_of_the_second_order_beat_ten_of_eulers_by_what_their_orders_predict():
    """Errors fall as C_1 / n and C_2 / n^2, so that their ratio is in proportion to n: 58.7 at 160, 3.67 at ten."""
    factor = {n: error(samplers.euler(), VP, grid(n)) / error(dpm_solver(2), VP, grid(n)) for n in (10, 80, 160)}
    np.testing.assert_allclose(factor[160] / factor[80], 2.0, rtol=0.03)
    assert factor[10] >= factor[160] / 16 > 3.6


def test_thresholding_clamps_at_the_quantile_and_rescales():
    data = np.random.default_rng(0).standard_normal((3, 40, 50)) * np.array([0.2, 1.0, 5.0])[:, None, None]
    found = np.asarray(samplers.dynamic_threshold()(jnp.asarray(data)))
    np.testing.assert_array_equal(found[0], data[0])  # its quantile is below 1: nothing is clamped
    for got, row in zip(found[1:], data[1:], strict=True):
        s = np.quantile(np.abs(row), 0.995)
        np.testing.assert_allclose(got, np.clip(row, -s, s) / s, rtol=1e-12)
    assert np.abs(found[1:]).max() == 1.0
    # the divisor of standard normal data is the 0.995 quantile of |N(0, 1)|, 2.807
    np.testing.assert_allclose(np.median(data[1] / found[1]), 2.807, atol=0.3)


@pytest.mark.slow
def test_thresholding_is_inside_every_stage():
    """Data that a network puts outside [-1, 1] come back to it; predictions inside are left alone."""
    score, x = LINE.score(VP), quantiles(VP, 1.0)
    for kind in ("multistep", "singlestep"):
        inside = run(dpm_solver(2, kind, thresholding=1.0), VP, score, 0.1 * x, grid(10))
        plain = run(dpm_solver(2, kind), VP, score, 0.1 * x, grid(10))
        np.testing.assert_allclose(inside, plain, rtol=1e-9)
        far = sj.analytic.gaussian([7.0], [0.01]).score(VP)
        end = run(dpm_solver(2, kind, thresholding=1.0), VP, far, x, grid(10))
        np.testing.assert_allclose(end, 1.0, atol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(2, "noise"), (2, "data"), (3, "noise"), (3, "data")])
def test_adaptive_errors_follow_the_tolerance(pair):
    x, times = quantiles(VP, 1.0, 4), jnp.array([1.0, 1e-3])
    end, errors, evaluations = transported(VP, x, 1.0, 1e-3), [], []
    for rtol in (1e-2, 1e-3, 1e-4):
        stepper = samplers.dpm_solver_adaptive(*pair, rtol=rtol, atol=rtol)
        found = sj.sample(
            jax.random.key(0), VP, LINE.score(VP), x.shape, stepper=stepper, times=times, x_init=x, denoise=False
        )
        errors.append(float(np.abs(found.x - end).max()))
        evaluations.append(int(found.nfe))
    # errors of single steps add up; the controller compares two orders and bounds neither growth nor their sum
    assert all(e < 25 * rtol for e, rtol in zip(errors, (1e-2, 1e-3, 1e-4), strict=True))
    assert evaluations[0] < evaluations[1] < evaluations[2]
    assert all(n % pair[0] == 0 for n in evaluations)


@pytest.mark.slow
def test_adaptive_samples_choose_their_own_steps():
    """A sample alone is the sample in company, to the last digits; under control of the batch it is not."""
    x, times = quantiles(VP, 1.0, 4), jnp.array([1.0, 1e-3])

    def solve(x, control):
        stepper = samplers.dpm_solver_adaptive(2, control=control)
        return stepper.step(None, VP, lambda x, t: LINE.score(VP)(x, jnp.broadcast_to(t, x.shape[:1])), x, *times, ())

    together, alone = solve(x, "sample"), [solve(x[i : i + 1], "sample") for i in range(4)]
    np.testing.assert_allclose(together.x, np.concatenate([one.x for one in alone]), rtol=1e-10)
    assert int(together.nfe) == max(int(one.nfe) for one in alone)
    assert np.abs(solve(x, "batch").x - together.x).max() > 1e-6


def test_where_two_orders_agree_the_rest_is_one_step():
    """Constant predictions have no error at all: one first step, one to the end."""
    with jax.enable_x64(False):
        x = jnp.array([[1.0], [-2.0]])
        stepper = samplers.dpm_solver_adaptive(2, "noise")
        found = stepper.step(None, VP, lambda x, t: 0.0 * x, x, jnp.float32(1.0), jnp.float32(1e-3), ())
        np.testing.assert_allclose(found.x, x * VP.alpha(1e-3) / VP.alpha(1.0), rtol=1e-4)
        assert int(found.nfe) == 4


def test_an_adaptive_solve_that_does_not_arrive_is_nan():
    x = quantiles(VP, 1.0, 4)
    stepper = samplers.dpm_solver_adaptive(2, max_steps=3)
    found = stepper.step(None, VP, lambda x, t: -x, x, jnp.asarray(1.0), jnp.asarray(1e-3), ())
    assert np.isnan(found.x).all()
    assert int(found.nfe) == 6


EVALUATIONS = {
    "2M": (dpm_solver(2), 6), "3S": (dpm_solver(3, "singlestep"), 6), "unipc": (samplers.unipc(3), 6),
    "heun": (samplers.heun(), 12), "churn": (samplers.euler(20.0), 6),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [n if n in ("3S", "heun") else pytest.param(n, marks=pytest.mark.slow) for n in EVALUATIONS]
)
def test_a_step_costs_what_it_promises(name):
    stepper, expected = EVALUATIONS[name]
    calls = []

    def score(x, t):
        jax.debug.callback(lambda _: calls.append(1), t[0])
        return -x

    found = sj.sample(jax.random.key(0), VP, score, (2, 3), stepper=stepper, times=grid(6), denoise=False)
    jax.block_until_ready(found)
    jax.effects_barrier()
    assert int(found.nfe) == len(calls) == expected


@pytest.mark.slow
def test_the_driver_takes_the_same_steps():
    x = quantiles(VP, 1.0)
    for stepper in (dpm_solver(3), dpm_solver(3, "singlestep")):
        found = sj.sample(
            jax.random.key(0), VP, LINE.score(VP), x.shape, stepper=stepper, times=grid(9), x_init=x, denoise=False
        )
        np.testing.assert_allclose(found.x, run(stepper, VP, LINE.score(VP), x, grid(9)), rtol=1e-10)


REFUSED = {
    "a fourth order": (lambda: dpm_solver(4), "1, 2 or 3"),
    "an unknown kind": (lambda: dpm_solver(2, "leapfrog"), "multistep, singlestep, singlestep_fixed"),
    "an unknown prediction": (lambda: dpm_solver(2, prediction="v"), "data, noise"),
    "an unknown solver type": (lambda: dpm_solver(2, solver_type="heun"), "dpmsolver, taylor"),
    "an unknown third order": (lambda: dpm_solver(3, third="wrong"), "exact, published"),
    "thresholding of noise": (lambda: dpm_solver(2, prediction="noise", thresholding=0.995), "prediction='data'"),
    "a percentile": (lambda: dpm_solver(2, thresholding=99.5), "quantile"),
    "an adaptive first order": (lambda: samplers.dpm_solver_adaptive(1), "2, 3"),
    "no tolerance": (lambda: samplers.dpm_solver_adaptive(rtol=0.0), "positive"),
    "an unknown control": (lambda: samplers.dpm_solver_adaptive(control="none"), "sample, batch"),
    "an unknown variant": (lambda: samplers.unipc(2, "bh3"), "bh1, bh2, vary_coeff"),
    "a negative churn": (lambda: samplers.heun(-1.0), "churn >= 0"),
    "too large an eta": (lambda: samplers.ddim(1.5), r"\[0, 1\]"),
    "no room to clip": (lambda: samplers.ddim(clip=0.0), "positive"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refuses(what):
    call, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        call()
