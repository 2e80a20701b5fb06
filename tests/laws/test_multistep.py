"""Likelihoods on a grid of log-SNR: against exact densities, with intervals that hold the truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from worlds import CORRELATED, MODAL, PROCESSES, TWO_MODES

import scorejax as sj
from scorejax.likelihood import GaussianFit, grid
from scorejax.likelihood.probing import prober

KEY, VP = jax.random.key(1), sj.vp()
X = jax.jit(TWO_MODES.sample, static_argnums=1)(jax.random.key(0), 6)


def _density(law, sde, x):
    return law.log_prob_at(sde, x, sde.t_max)


def solved(law, sde, x, key=KEY, **options):
    options = {"prior_logp": Partial(_density, law, sde)} | options
    return sj.log_prob(key, sde, law.score(sde), x, method="multistep", **options)


def sixty_four():
    """Three components of 64 numbers, with correlations that decay over eight of them."""
    j = np.arange(64)
    means = [np.cos(2.0 * np.pi * k * j / 64.0) for k in (1, 2, 3)]
    decay = np.exp(-np.abs(j[:, None] - j) / 8.0)
    return sj.analytic.mixture([0.2, 0.3, 0.5], means, covariances=[c * decay for c in (0.25, 0.5, 1.0)])


@pytest.mark.parametrize("order", grid.ORDERS)
def test_the_rules_of_a_grid_are_exact_for_polynomials_of_their_order(order):
    powers = np.arange(order)
    at = -np.arange(order)[:, None]  # the newest slope at 0, a step to 1
    rule = grid.steps(order + 1, order)[order - 1]
    np.testing.assert_allclose(rule @ at**powers, 1.0 / (powers + 1), atol=1e-12)
    weights, powers = grid.quadrature(12, order), np.arange(max(order, 2))
    np.testing.assert_allclose(weights @ np.arange(12.0)[:, None] ** powers, 11.0 ** (powers + 1) / (powers + 1))


@pytest.mark.parametrize(
    ("name", "most"),
    [("ve", 1e-3)] + [pytest.param(n, m, marks=pytest.mark.slow) for n, m in (("vp", 4e-3), ("subvp", 2e-2))],
)
def test_processes_of_one_ratio_give_the_density_of_their_law_within_the_error_that_they_state(name, most):
    sde = PROCESSES[name]
    found, truth = solved(CORRELATED, sde, X, divergence="exact"), CORRELATED.log_prob_at(sde, X, sde.t_min)
    assert np.all(found.ok)
    np.testing.assert_allclose(found.value, truth, rtol=0, atol=most)
    np.testing.assert_array_equal(found.stderr, 0.0)
    low, high = found.interval()
    assert np.all((low < truth) & (truth < high))
    np.testing.assert_allclose(high - low, 2 * found.solver_error, atol=1e-5)
    assert np.all(found.nfe == 65 + 33)


@pytest.mark.slow
def test_a_gaussian_control_variate_leaves_nothing_to_estimate_of_a_gaussian():
    control = GaussianFit.of_moments(CORRELATED.mean(), CORRELATED.covariance())
    found = solved(CORRELATED, VP, X, control=control, probes=2)
    plain = solved(CORRELATED, VP, X, divergence="exact")
    np.testing.assert_allclose(found.value, plain.value, atol=1e-3)
    assert np.all(found.stderr < 1e-4)
    assert np.all(solved(CORRELATED, VP, X, probes=2).stderr > 1e-2)


def test_rows_of_a_hadamard_matrix_see_the_exact_trace():
    x = jnp.zeros((2, 3, 2))
    matrix = np.random.default_rng(0).standard_normal((6, 6))
    probe = prober(jax.random.split(KEY, 2), x, "rademacher", 2, "hadamard", 8)
    rows = np.stack([np.asarray(probe(jnp.asarray(i))).reshape(2, 2, 6) for i in range(8)])
    np.testing.assert_allclose(np.einsum("nbki,ij,nbkj->bk", rows, matrix, rows) / 8, np.trace(matrix), rtol=1e-5)
    assert not np.array_equal(rows[:, 0], rows[:, 1])


def test_a_value_does_not_notice_its_batch_mates():
    keys = jax.random.split(KEY, 6)
    whole = solved(TWO_MODES, VP, X, keys)
    turned = solved(TWO_MODES, VP, X[::-1], keys[::-1])
    np.testing.assert_array_equal(turned.value[::-1], whole.value)
    wild = solved(TWO_MODES, VP, X.at[0].set(50.0), keys)
    np.testing.assert_array_equal(wild.value[1:], whole.value[1:])


REFUSED = {
    "a ratio for each mode": (lambda: (MODAL["blur"], {}), "one per mode"),
    "no such order": (lambda: (VP, {"order": 5}), "order is one of"),
    "too few nodes": (lambda: (VP, {"nodes": 9}), "at least 17 nodes"),
    "an even grid": (lambda: (VP, {"nodes": 64}), "take 65"),
    "no such probing": (lambda: (VP, {"probing": "new"}), "unknown probing"),
    "fresh probes of a controller": (lambda: (VP, {"method": "adaptive", "probing": "fresh"}), "its own error"),
    "a control of a controller": (
        lambda: (VP, {"method": "adaptive", "control": GaussianFit.of_data(np.eye(2))}),
        "method='multistep'",
    ),
    "another size": (lambda: (VP, {"control": GaussianFit.of_data(np.eye(3))}), "model units"),
    "no such method": (lambda: (VP, {"method": "exact"}), "unknown method"),
    "no signs": (lambda: (VP, {"divergence": "gaussian", "probing": "hadamard"}), "signs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_grid_has_no_place_for_is_refused_with_the_reason(case):
    make, said = REFUSED[case]
    sde, options = make()
    with pytest.raises(ValueError, match=said):
        sj.log_prob(KEY, sde, CORRELATED.score(VP), X, **{"method": "multistep"} | options)


@pytest.fixture(scope="module")
def wide():
    """The law of 64 numbers, 400 points, their exact densities, and the fit of a Gaussian."""
    law = sixty_four()
    x = law.sample(jax.random.key(3), 400)
    control = GaussianFit.of_moments(law.mean(), law.covariance())
    return law, x, np.asarray(law.log_prob_at(VP, x, VP.t_min)), control


@pytest.mark.slow
def test_intervals_hold_the_exact_density_as_often_as_they_say(wide):
    law, x, truth, control = wide
    for name, options in {"fresh": {}, "control": {"control": control}}.items():
        found = solved(law, VP, x, doubling=False, probes=4, **options)
        for level, wanted, band in ((0.68, 0.69, 0.08), (0.95, 0.95, 0.035)):
            low, high = found.interval(level)
            assert abs(np.mean((low < truth) & (truth < high)) - wanted) < band, (name, level)


@pytest.mark.slow
def test_fresh_probes_and_a_control_variate_take_the_variance_that_they_are_said_to(wide):
    """One probe a node; the ratios between plain traces and others."""
    law, x, truth, control = wide
    variance = {
        (probing, bool(own)): np.var(
            np.asarray(solved(law, VP, x, probing=probing, doubling=False, **own).value) - truth
        )
        for probing in ("fixed", "fresh")
        for own in ({}, {"control": control})
    }
    assert 30 < variance["fixed", False] / variance["fixed", True] < 85, variance
    assert 15 < variance["fixed", False] / variance["fresh", False] < 35, variance
    assert variance["fixed", False] / variance["fresh", True] > 250, variance


@pytest.mark.slow
def test_errors_fall_with_the_nodes_as_the_order_says(wide):
    law, x, *_ = wide
    exact = {"divergence": "exact", "doubling": False}
    truth = np.asarray(solved(law, VP, x[:16], nodes=513, **exact).value)
    for order in (2, 3, 4):
        errors = [
            np.sqrt(np.mean((np.asarray(solved(law, VP, x[:16], nodes=n, order=order, **exact).value) - truth) ** 2))
            for n in (65, 129)
        ]
        assert np.log2(errors[0] / errors[1]) > order - 0.4, (order, errors)
