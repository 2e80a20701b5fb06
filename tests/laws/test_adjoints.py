"""The gradient of an adaptive solve is the slope of what it returns, in everything that the result depends on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import samplers
from scorejax.numerics.adjoints import Solved, differentiable

KEY = jax.random.key(0)
X = np.array([[0.1, 0.2], [0.5, -1.0], [2.0, 1.0]])
AT = {"w": np.array([[0.3, 0.5], [-0.4, 0.2]]), "beta_max": np.array(5.0), "x": X}
ALONG = {"w": np.array([[0.5, -0.2], [0.3, 0.4]]), "beta_max": np.array(0.2), "x": np.cos(3.0 * X)}
TIMES = np.array([1.0, 0.4, 0.01])


def network(params, x, t):
    return jnp.tanh(x @ params) * t[:, None]


def world(at):
    sde = sj.vp(beta_max=at["beta_max"], t_min=0.01)
    return sde, sj.make_score(sde, network, at["w"])


def log_prob(at, **options):
    return jnp.array([1.0, 2.0, 3.0]) @ sj.log_prob(KEY, *world(at), at["x"], rtol=1e-9, atol=1e-9, **options).value


def decode(at, **options):
    return jnp.sum(jnp.sin(sj.decode(*world(at), at["x"], rtol=1e-9, atol=1e-9, **options).x))


def sample(at):
    stepper = samplers.dpm_solver_adaptive(rtol=1e-6, atol=1e-6)
    return jnp.sum(jnp.sin(sj.sample(KEY, *world(at), (3, 2), stepper=stepper, times=TIMES, x_init=at["x"]).x))


def slope(function):
    value = jax.jit(function)
    moved = [value(jax.tree.map(lambda a, d, h=h: a + h * d, AT, ALONG)) for h in (1e-4, -1e-4)]
    return float(moved[0] - moved[1]) / 2e-4


@pytest.mark.slow
@pytest.mark.parametrize("function", [log_prob, decode, sample])
def test_the_gradient_is_the_slope_by_differences(function):
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(function))(AT)
        found = sum(float(jnp.vdot(gradient[name], ALONG[name])) for name in AT)
        np.testing.assert_allclose(found, slope(function), rtol=1e-5)
        assert all(np.any(np.asarray(leaf) != 0.0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_forward_mode_has_an_adjoint_of_its_own():
    with jax.enable_x64(True):
        found = jax.jit(lambda at, along: jax.jvp(lambda at: decode(at, adjoint="forward"), (at,), (along,))[1])
        np.testing.assert_allclose(found(AT, ALONG), slope(decode), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("function", [log_prob, decode, sample])
def test_forward_mode_without_it_fails_with_the_remedy(function):
    with pytest.raises(TypeError, match="custom_vjp") as error:
        at = jax.tree.map(jnp.float32, AT)
        jax.jvp(function, (at,), (at,))
    assert error.value.__notes__[0] == "An adaptive solve takes adjoint='forward' for jax.jvp and jax.jacfwd."


def test_an_unknown_adjoint_is_refused():
    for call in (
        lambda: log_prob(AT, adjoint="backsolve"),
        lambda: decode(AT, adjoint="backsolve"),
        lambda: samplers.dpm_solver_adaptive(adjoint="backsolve"),
    ):
        with pytest.raises(ValueError, match="recompute, forward"):
            call()


@pytest.mark.parametrize("most", [1, 7, 40])
def test_every_step_is_taken_back_once_whatever_their_number(most):
    """Euler steps of `dy/dt = a y` on a given grid, as many for each example as it likes."""
    counts = jnp.minimum(jnp.array([1, 5, most]), most)

    def step(held, y, t, s):
        return y * (1.0 + held * (s - t))[:, None]

    def grid(t0, t1):
        places = jnp.minimum((jnp.arange(most) + 1.0) / counts[:, None], 1.0) ** 2
        return t0 + (t1 - t0) * places

    def run(held, y, t0, t1, record):
        ends = grid(jax.lax.stop_gradient(t0), jax.lax.stop_gradient(t1)) if record else grid(t0, t1)
        before = jnp.concatenate([jnp.broadcast_to(t0, (3, 1)), ends[:, :-1]], axis=1)
        for i in range(most):
            y = step(held, y, before[:, i], ends[:, i])
        return Solved(y, counts, ends, counts) if record else Solved(y, counts)

    def result(held, y, adjoint):
        t0, t1 = jnp.float32(0.0), jnp.float32(0.7)
        solved = differentiable(run, step, held, y, t0, t1, max_steps=most, adjoint=adjoint)
        return jnp.sum(jnp.sin(solved.y))

    held, y = jnp.float32(0.8), jnp.asarray(X, jnp.float32)
    wanted = jax.jit(jax.grad(lambda *a: result(*a, "forward"), (0, 1)))(held, y)
    found = jax.jit(jax.grad(lambda *a: result(*a, "recompute"), (0, 1)))(held, y)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_a_failure_has_no_gradient_that_could_pass_for_one():
    def run(held, y, t0, t1, record):
        ends = jnp.full((3, 1), t1)
        end = jnp.where(jnp.array([True, False, False])[:, None], y * held, jnp.nan)
        return Solved(end, jnp.ones(3, int), *((ends, jnp.ones(3, int)) if record else ()))

    def result(y, seen):
        solved = differentiable(
            run, lambda held, y, t, s: y * held, jnp.float32(2.0), y, jnp.float32(0.0), jnp.float32(1.0),
            max_steps=1, adjoint="recompute",
        )  # fmt: skip
        return jnp.sum(jnp.where(seen[:, None], solved.y, 0.0))

    gradient = jax.grad(result)(jnp.asarray(X, jnp.float32), jnp.array([True, True, False]))
    np.testing.assert_array_equal(gradient[:, 0], [2.0, np.nan, 0.0])  # arrived, failed, failed and left out
