"""The published solvers (dpm-solver, UniPC) to the last digits, in float64 on the exact score of a mixture."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import GOLDEN, PLANE, run

import scorejax as sj
from scorejax.samplers import dpm_solver, dpm_solver_adaptive, unipc

VP = sj.vp()
SCORE = PLANE.score(VP)
STORED = np.load(GOLDEN / "solvers_gmm1_linear.npz")
EVALUATIONS = json.loads((GOLDEN / "solvers_gmm1_linear.json").read_text())["nfe"]
GRIDS = {"time_uniform": sj.times.uniform, "logSNR": sj.times.log_snr, "time_quadratic": sj.times.quadratic}
FORMS = {"dpmsolver": "noise", "dpmsolver++": "data", "noise_prediction": "noise", "data_prediction": "data"}


def unipc_run(_, form, variant, order, skip, size):
    published = "vary_coeff_published" if variant == "vary_coeff" else variant
    return unipc(int(order[1]), published, FORMS[form]), GRIDS[skip](VP, int(size[1:]), t_min=1e-3)


def dpm_solver_run(form, kind, order, skip, size, solver_type, lower="lower_order_final=True"):
    order, n = int(order[1]), int(size[1:])
    if kind == "singlestep_fixed":
        n -= n % order
    # the reference's flag acts on grids of fewer than 10 steps, as None does
    lower = None if lower.endswith("True") else False
    stepper = dpm_solver(
        order, kind, FORMS[form], solver_type=solver_type, third="published", lower_order_final=lower
    )  # fmt: skip
    if kind == "singlestep" and skip == "logSNR":
        return stepper, sj.times.singlestep(VP, n, order, t_min=1e-3)
    return stepper, GRIDS[skip](VP, n, t_min=1e-3)


def families():
    """The stored runs by method, each of which is one compiled step for all its grids."""
    found = {}
    for key in EVALUATIONS:
        parts = key.split("|")
        if "adaptive" not in parts and "denoise_to_zero" not in parts:
            name = "|".join(parts[:4]) if parts[0] == "unipc" else "|".join([*parts[:3], parts[5]])
            found.setdefault(name, []).append(key)
    return found


FAMILIES = families()
QUICK = ("dpmsolver++|multistep|o3|dpmsolver", "dpmsolver|singlestep|o3|taylor", "unipc|data_prediction|bh1|o3")


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def assert_equal(found, key, tolerance=1e-9):
    expected = STORED[key]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=key)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES])
def test_solvers_are_the_published_ones(name):
    for key in FAMILIES[name]:
        parts = key.split("|")
        stepper, times = (unipc_run if parts[0] == "unipc" else dpm_solver_run)(*parts)
        assert len(times) - 1 == EVALUATIONS[key]
        assert_equal(run(stepper, VP, SCORE, jnp.asarray(STORED["x_T"]), times), key)


@pytest.mark.parametrize("skip", GRIDS)
@pytest.mark.parametrize("n", [10, 20])
def test_grids_are_the_published_ones(skip, n):
    np.testing.assert_allclose(GRIDS[skip](VP, n, t_min=1e-3), STORED[f"timesteps|{skip}|N{n}"], rtol=1e-9)


def draw(stepper, times, denoise=False):
    x = jnp.asarray(STORED["x_T"])
    return sj.sample(
        jax.random.key(0), VP, SCORE, x.shape, stepper=stepper, times=times, x_init=x, denoise=denoise
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("form", ["dpmsolver++", "dpmsolver"])
def test_denoising_to_zero_is_the_last_denoising_of_the_driver(form):
    key = f"{form}|multistep|o2|time_uniform|N10|dpmsolver|denoise_to_zero"
    found = draw(dpm_solver(2, prediction=FORMS[form]), sj.times.uniform(VP, 10, t_min=1e-3), denoise=True)
    assert_equal(found.x, key)
    assert int(found.nfe) == EVALUATIONS[key] == 11


@pytest.mark.slow
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("form", ["dpmsolver", "dpmsolver++"])
def test_adaptive_solvers_are_the_published_ones(form, order):
    """To 1e-4: the reference rounds its steps to float32."""
    stepper = dpm_solver_adaptive(order, FORMS[form], control="batch")
    found, key = draw(stepper, jnp.array([1.0, 1e-3])), f"{form}|adaptive|o{order}"
    assert_equal(found.x, key, 1e-4)
    assert int(found.nfe) == EVALUATIONS[key]
