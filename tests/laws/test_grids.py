"""Time grids of published fast samplers."""

import jax
import numpy as np
import pytest
from stepping import error

import scorejax as sj
from scorejax import samplers
from scorejax.sdes import times

CHAIN = sj.ddpm()


def test_singlestep_orders_sum_to_the_evaluations():
    for n in range(1, 60):
        for order in (1, 2, 3):
            orders = times.singlestep_orders(n, order)
            assert sum(orders) == n
            assert max(orders) <= order
    published = {10: [3, 3, 3, 1], 12: [3, 3, 3, 2, 1], 15: [3, 3, 3, 3, 2, 1], 20: [3] * 6 + [2], 4: [3, 1]}
    assert {n: times.singlestep_orders(n, 3) for n in published} == published
    assert times.singlestep_orders(5, 2) == [2, 2, 1]


@pytest.mark.parametrize(("fixed", "order"), [(False, 1), (False, 2), (False, 3), (True, 3)])
def test_the_stepper_takes_these_orders(fixed, order):
    """It knows the intervals left and no table."""
    stepper = samplers.dpm_solver(order, "singlestep_fixed" if fixed else "singlestep")
    sde, x = sj.vp(), np.zeros((1, 1), np.float32)

    @jax.jit
    def order_with(left):
        memory = stepper.init(sde, x, np.array([0.5, 0.4]))._replace(left=left)
        return stepper.step(None, sde, lambda x, t: -x, x, 0.5, 0.4, memory).memory.order

    after = [int(order_with(left)) for left in range(16)]
    for n in range(1, 16):
        orders, left = [], n
        while left:
            orders.append(after[left])
            left -= orders[-1]
        assert orders == ([3] * (n // 3) + [n % 3] * (n % 3 > 0) if fixed else times.singlestep_orders(n, order))


def test_singlestep_grids_are_even_in_log_snr_between_and_within_steps():
    with jax.enable_x64(True):
        sde = sj.vp()
        grid = times.singlestep(sde, 10, 3, t_min=1e-3)
        ratio = np.asarray(sde.log_snr(grid))
        outer = np.diff(ratio[[0, 3, 6, 9, 10]])
        np.testing.assert_allclose(outer, outer[0], rtol=1e-9)
        np.testing.assert_allclose(np.diff(ratio)[:9], outer[0] / 3, rtol=1e-9)
        assert (float(grid[0]), float(grid[-1])) == (1.0, 1e-3)


@pytest.mark.parametrize(
    "make", [times.uniform, times.quadratic, times.log_snr, times.karras, times.even], ids=lambda f: f.__name__
)
def test_grids_begin_and_end_exactly_where_they_should_and_decrease(make):
    for sde in (sj.vp(), sj.edm(), sj.cosine(), CHAIN):
        for n in (1, 7):
            grid = np.asarray(make(sde, n))
            assert len(grid) == n + 1
            assert tuple(np.float32(grid[[0, -1]])) == (np.float32(sde.t_max), np.float32(sde.t_min))
            assert np.all(np.diff(grid) < 0)


def visited(n, spacing):
    return np.rint(np.asarray(times.GRIDS[spacing](CHAIN, n)) * 1000).astype(int)[::-1]


def test_levels_are_the_published_ones():
    np.testing.assert_array_equal(visited(9, "even"), [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000])
    assert [visited(k - 1, "even")[1] for k in (10, 25, 50, 100)] == [112, 43, 21, 11]
    np.testing.assert_array_equal(visited(9, "ddim_uniform"), 1 + 100 * np.arange(10))
    np.testing.assert_array_equal(
        visited(9, "ddim_quadratic"), 1 + np.array([0, 9, 39, 88, 158, 246, 355, 483, 632, 800])
    )
    np.testing.assert_array_equal(visited(999, "even"), np.arange(1, 1001))


REFUSED = {
    "levels of a continuous process": (lambda: times.ddim_uniform(sj.vp(), 10), "discrete chain"),
    "levels that coincide": (lambda: times.ddim_quadratic(CHAIN, 500), "fewer steps"),
    "more levels than there are": (lambda: times.even(CHAIN, 1000), "has 1000"),
    "an end that is not the chain's": (lambda: times.ddim_uniform(CHAIN, 10, t_min=0.1), "leave it out"),
    "no steps": (lambda: times.even(CHAIN, 0), "at least one"),
    "an optimal grid without a statistic": (lambda: samplers.GRIDS["optimal"](CHAIN, 9), "needs a statistic"),
    "a fourth order": (lambda: times.singlestep(sj.vp(), 10, 4), "1, 2 or 3"),
    "no evaluations": (lambda: times.singlestep(sj.vp(), 0, 3), "at least one"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refuses(what):
    call, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("stepper", "sde", "factor"),
    [
        (samplers.dpm_solver(2), sj.vp(t_min=1e-3), 10),
        pytest.param(samplers.unipc(3), sj.vp(t_min=1e-3), 20, marks=pytest.mark.slow),
        pytest.param(samplers.ddim(), sj.edm(), 5, marks=pytest.mark.slow),
    ],
    ids=["dpm_solver", "unipc", "edm"],
)
def test_the_grid_that_a_method_or_a_process_names_beats_equal_times_by_far(stepper, sde, factor):
    with jax.enable_x64(True):
        own, equal = (error(stepper, sde, samplers.GRIDS[g](sde, 25)) for g in (stepper.grid or sde.grid, "uniform"))
        assert own < equal / factor
