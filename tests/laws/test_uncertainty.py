"""A trained weighting measures the error of every level, and gives every level a loss of one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import objectives
from scorejax.objectives.weighting import COEFFICIENTS, log_error, uncertainty

SDE, LEVELS, EACH = sj.edm(), np.geomspace(0.01, 50.0, 5), 8
TIMES = np.repeat(LEVELS, EACH)
X0 = np.random.default_rng(0).standard_normal((len(TIMES), 3))


@functools.partial(jax.jit, static_argnames=("base", "reduction"))
def losses(coefficients, base=None, reduction="mean"):
    """Losses of a score that is wrong in its own way at every level, and what they sum to, by coefficient."""

    def of(coefficients):
        weighting = functools.partial(uncertainty, coefficients=coefficients, base="likelihood")
        found = objectives.denoising(
            jax.random.key(0), SDE, lambda x, t: -x / (1 + t[:, None]), X0, t=jnp.asarray(TIMES),
            weighting=base or weighting, reduction=reduction,
        )  # fmt: skip
        return jnp.mean(found), found

    gradient, found = jax.grad(of, has_aux=True)(coefficients)
    return found.reshape(len(LEVELS), EACH), gradient


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_at_the_best_coefficients_every_level_has_the_loss_1_plus_u_and_no_gradient(reduction):
    with jax.enable_x64():
        zero = jnp.zeros(COEFFICIENTS)
        plain, _ = losses(zero, base="likelihood", reduction=reduction)
        u = np.log(np.mean(plain, axis=1))
        assert np.ptp(u) > 1.0  # the levels differ
        waves = np.stack([log_error(row, SDE, jnp.asarray(LEVELS)) for row in np.eye(COEFFICIENTS)], axis=1)
        best = jnp.asarray(np.linalg.lstsq(waves, u, rcond=None)[0])
        found, gradient = losses(best, reduction=reduction)
        np.testing.assert_allclose(np.mean(found, axis=1), 1.0 + u, rtol=1e-8)
        np.testing.assert_allclose(gradient, 0.0, atol=1e-8)
        worse, slope = losses(best + 0.1, reduction=reduction)
        assert np.mean(worse) > np.mean(found) and np.max(np.abs(slope)) > 1e-3


def test_before_the_first_step_it_is_its_base():
    with jax.enable_x64():
        zero = jnp.zeros(COEFFICIENTS)
        np.testing.assert_allclose(losses(zero)[0], losses(zero, base="likelihood")[0], rtol=1e-12)


def test_what_cannot_be_weighed_by_it_is_refused():
    with pytest.raises(ValueError, match=r"of the shape \(128,\)"):
        uncertainty(SDE, jnp.ones(2))
    own = functools.partial(uncertainty, coefficients=jnp.zeros(COEFFICIENTS))
    with pytest.raises(ValueError, match="is trained too"):
        jax.eval_shape(lambda t: uncertainty(SDE, t, coefficients=jnp.zeros(COEFFICIENTS), base=own), jnp.ones(2))
    with pytest.raises(ValueError, match="may be negative"):
        jax.eval_shape(lambda x: objectives.sliced(jax.random.key(0), SDE, lambda x, t: -x, x, weighting=own), X0)
