"""Cold diffusion: what its two rules make of a wrong restoration, and where the corrected one is DDIM."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import LINE, quantiles, run

import scorejax as sj
from scorejax import samplers
from scorejax.guidance import cold

RANDOM = np.random.default_rng(0)
LEVELS = np.arange(5, -1, -1)
X0, E = RANDOM.standard_normal((2, 3, 6))
WRONG = RANDOM.standard_normal((6, 3, 6))  # how far the restoration of each level is off
# repeated blurs of a circle, which keep the mean: `D_s = D_1^s`
BLUR = np.eye(6) * 0.6 + 0.2 * (np.roll(np.eye(6), 1, 1) + np.roll(np.eye(6), -1, 1))
POWERS = np.stack([np.linalg.matrix_power(BLUR, s) for s in range(6)])


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def blur(x, s):
    return x @ jnp.asarray(POWERS)[s]


def off(wrong):
    """A restoration that is off by so much at each level."""
    return lambda x, s: X0 + jnp.asarray(wrong)[s]


def test_any_restoration_undoes_a_degradation_that_is_linear_in_its_level():
    """`D(x, s) = x + s e`: the corrected rule is exact, the naive one ends at the last restoration."""
    degrade = lambda x, s: x + s * E  # noqa: E731
    found = cold(degrade, off(WRONG), jnp.asarray(X0 + 5 * E), LEVELS)
    np.testing.assert_allclose(found, X0, atol=1e-13)
    naive = cold(degrade, off(WRONG), jnp.asarray(X0 + 5 * E), LEVELS, rule="naive")
    np.testing.assert_allclose(naive, X0 + WRONG[1], atol=1e-13)


def test_the_error_of_a_linear_degradation_is_known_and_spares_what_it_never_touches():
    """`sum_s (D_{s-1} - D_s) delta_s`; a blur leaves the mean alone."""
    found = np.asarray(cold(blur, off(WRONG), blur(X0, 5), LEVELS)) - X0
    expected = sum(WRONG[s] @ (POWERS[r] - POWERS[s]) for s, r in pairwise(LEVELS))
    np.testing.assert_allclose(found, expected, atol=1e-13)
    np.testing.assert_allclose(found.mean(1), 0.0, atol=1e-14)
    assert np.abs(expected).max() > 0.1


def test_a_constant_error_comes_out_as_what_the_whole_degradation_takes_of_it():
    wrong = np.broadcast_to(WRONG[:1], WRONG.shape)
    found = cold(blur, off(wrong), blur(X0, 5), LEVELS)
    np.testing.assert_allclose(found - X0, wrong[0] @ (np.eye(6) - POWERS[5]), atol=1e-13)


@pytest.mark.parametrize("rule", ["corrected", "naive"])
def test_a_perfect_restoration_is_kept_by_both_rules(rule):
    np.testing.assert_allclose(cold(blur, off(0 * WRONG), blur(X0, 5), LEVELS, rule=rule), X0, atol=1e-13)
    once = cold(blur, off(WRONG), blur(X0, 5), [5, 0], rule=rule)
    np.testing.assert_allclose(once, X0 + WRONG[5] if rule == "naive" else X0 + WRONG[5] @ (np.eye(6) - POWERS[5]))


def test_with_noise_for_a_degradation_it_is_ddim():
    """`D(y, s) = alpha_s y + sigma_s (x_t - alpha_t y) / sigma_t`: the noise of the point at hand."""
    sde, times = sj.vp(), np.array([0.9, 0.6, 0.3])
    x = quantiles(sde, 0.9, 4)
    expected = run(samplers.ddim(), sde, LINE.score(sde), x, times, compiled=False)
    for t, s in pairwise(times):
        data = LINE.posterior_mean(sde, x, t)
        noise = (x - sde.alpha(t) * data) / sde.sigma(t)
        x = cold(lambda y, u, n=noise: sde.alpha(u) * y + sde.sigma(u) * n, lambda x, u, y=data: y, x, [t, s])
    np.testing.assert_allclose(x, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"levels": [0, 1]}, "decrease"), ({"levels": [1]}, "at least two"), ({"rule": "ddim"}, "corrected, naive")],
)
def test_what_does_not_fit_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        cold(blur, off(WRONG), blur(X0, 5), **({"levels": LEVELS} | options))
