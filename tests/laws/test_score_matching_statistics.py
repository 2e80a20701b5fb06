"""How well score matching estimates, where its estimates vary and where it fails: numbers that are known exactly.

Means over random signs are sums over all of them, and means over Gaussian data are quadratures that are exact for
polynomials.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax import score_matching as sm

KEY = jax.random.key(0)


def nodes_and_weights(rule, dimension, count):
    """Points `[n, D]` and weights of a product rule."""
    z, w = rule(count)
    points = np.array(list(itertools.product(z, repeat=dimension)))
    return points, np.prod(np.array(list(itertools.product(w / w.sum(), repeat=dimension))), axis=1)


def normal(dimension, count=3):
    """Exact for the means of polynomials of degree `2 count - 1` in each coordinate of a standard normal vector."""
    return nodes_and_weights(np.polynomial.hermite_e.hermegauss, dimension, count)


def signs(dimension):
    """All vectors of signs, and their probabilities."""
    return nodes_and_weights(lambda count: (np.array([-1.0, 1.0]), np.ones(2)), dimension, 2)


@pytest.fixture
def every_pair(monkeypatch):
    """Each point with each choice of projections: the points, repeated, and the weights of the pairs.

    The objectives then draw these projections.
    """

    def pairs(points, point_weights, probes, probe_weights):
        drawn = np.tile(probes, (len(points), *[1] * (probes.ndim - 1))).astype(np.float32)
        monkeypatch.setattr("scorejax.scores.jacobian.draw", lambda keys, x, *options: jnp.asarray(drawn))
        x = jnp.asarray(np.repeat(points, len(probes), axis=0), jnp.float32)
        return x, np.repeat(point_weights, len(probes)) * np.tile(probe_weights, len(points))

    return pairs


# ---- The variance of one loss ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rho", "projected", "reduced"), [(0.5, 1.5, 1.0), (0.5**0.5, 2.0, 2.0), (0.9, 2.62, 3.24)])
def test_the_variance_reduced_form_varies_more_where_coordinates_depend_strongly(every_pair, rho, projected, reduced):
    """At the truth of a Gaussian with precision [[1, rho], [rho, 1]]: `1 + 2 rho^2` of SSM, `4 rho^2` of SSM-VR."""
    precision = np.array([[1, rho], [rho, 1]])
    z, weights = normal(2)
    v, equal = signs(2)
    points = z @ np.linalg.cholesky(np.linalg.inv(precision)).T
    x, _ = every_pair(points, weights, v[:, None], equal)
    score = lambda x: -x @ jnp.asarray(precision, jnp.float32)  # noqa: E731
    both = jax.jit(lambda x: [sm.sliced(KEY, score, x, variance_reduced=reduced) for reduced in (False, True)])
    at_each = np.asarray(both(x), np.float64).reshape(2, len(points), -1).var(axis=2)
    np.testing.assert_allclose(at_each @ weights, [projected, reduced], rtol=1e-4)


# ---- The variance of the estimate ------------------------------------------------------------------------------------


def asymptotic_variance(loss, weights):
    """`N Var` of the minimizer of a mean loss at the truth `p = 1`: `E[loss'^2] / E[loss'']^2`."""
    slope = lambda p: jax.jvp(loss, (p,), (jnp.ones(()),))[1]  # noqa: E731
    first, second = jax.jit(lambda p: jax.jvp(slope, (p,), (p,)))(jnp.ones(()))
    np.testing.assert_allclose(weights @ np.asarray(first), 0, atol=1e-5)  # the truth is the minimum
    return weights @ np.asarray(first, np.float64) ** 2 / (weights @ np.asarray(second, np.float64)) ** 2


@pytest.mark.parametrize("dimension", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_projecting_the_square_costs_statistical_efficiency(every_pair, dimension):
    """The precision of N(0, I): `N Var` is 2 / D of SM, SSM-VR and likelihood, and 2 of SSM in any dimension."""
    points, weights = normal(dimension)
    v, equal = signs(dimension)
    x, pair_weights = every_pair(points, weights, v[:, None], equal)
    score = lambda p: lambda x: -p * x  # noqa: E731
    rows = {
        "exact": lambda p: sm.exact(None, score(p), x),
        "reduced": lambda p: sm.sliced(KEY, score(p), x),
        "likelihood": lambda p: 0.5 * p * jnp.sum(x**2, axis=1) - 0.5 * dimension * jnp.log(p),
        "projected": lambda p: sm.sliced(KEY, score(p), x, variance_reduced=False),
    }
    found = {name: asymptotic_variance(loss, pair_weights) for name, loss in rows.items()}
    expected = dict.fromkeys(rows, 2 / dimension) | {"projected": 2.0}
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("law", "projections"), [("rademacher", 1), ("rademacher", 2), ("gaussian", 1)])
def test_the_variance_of_the_estimate_falls_with_the_number_of_projections(every_pair, law, projections):
    """`H^-1 (sum V_ij + 2 / M sum W_ij) H^-1` with `i != j` for signs, and all pairs for normal projections.

    For the precision of N(0, I) in two dimensions that is `2 / D + 2 (D - 1) / (D M)` and `2 / D + 2 (D + 1) / (D M)`.
    """
    dimension = 2
    v, equal = signs(dimension) if law == "rademacher" else normal(dimension)
    choices = list(itertools.product(range(len(v)), repeat=projections))
    probes = np.array([[v[i] for i in choice] for choice in choices])
    probability = np.array([np.prod(equal[list(choice)]) for choice in choices])
    x, weights = every_pair(*normal(dimension), probes, probability)
    loss = lambda p: sm.sliced(KEY, lambda x: -p * x, x, variance_reduced=False)  # noqa: E731
    more = dimension - 1 if law == "rademacher" else dimension + 1
    expected = 2 / dimension + 2 * more / (dimension * projections)
    np.testing.assert_allclose(asymptotic_variance(loss, weights), expected, rtol=1e-4)


# ---- Differences in the place of derivatives -------------------------------------------------------------------------


@pytest.mark.slow
def test_differences_are_exact_for_quadratic_energies_and_of_second_order_for_others():
    """On the line, where the sphere is two points that count alike."""
    with jax.enable_x64():
        x = jnp.linspace(-1, 1.5, 7, dtype=jnp.float64)[:, None]

        @jax.jit
        def error(quartic, radius):
            score = sm.of_energy(lambda x: quartic * x[:, 0] ** 4 / 4 + 1.3 * x[:, 0] ** 2 - 0.4 * x[:, 0])
            return jnp.max(jnp.abs(sm.finite_difference(KEY, score, x, radius=radius) - sm.exact(None, score, x)))

        np.testing.assert_allclose(error(0.0, 3.0), 0, atol=1e-12)
        errors = [float(error(1.0, radius)) for radius in (0.04, 0.02, 0.01)]
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 4.0, atol=0.01)


# ---- Laws with known minima, and laws without one --------------------------------------------------------------------


@pytest.mark.slow
def test_the_minimum_for_independent_logistic_sources_is_known():
    """`x = A z`, `B = A^-1`: `J* = -tr(B B^T) / 6`; by quadrature in the quantiles."""
    unmixing = np.array([[1.2, -0.5], [0.3, 0.8]])
    halves, weights = nodes_and_weights(np.polynomial.legendre.leggauss, 2, 3)
    quantile = 0.5 + 0.5 * halves
    x = jnp.asarray(np.log(quantile / (1 - quantile)) @ np.linalg.inv(unmixing).T, jnp.float32)
    b = jnp.asarray(unmixing, jnp.float32)
    energy = lambda x: jnp.sum(2 * jax.nn.softplus(x @ b.T) - x @ b.T, axis=1)  # noqa: E731
    found = weights @ np.asarray(jax.jit(lambda x: sm.exact(None, sm.of_energy(energy), x))(x))
    np.testing.assert_allclose(found, -np.trace(unmixing @ unmixing.T) / 6, rtol=1e-5)


def test_data_that_end_in_a_jump_have_no_lowest_loss():
    """Uniform data, and a box with edges of width w: `J = -(1.5 - log 2) / w`; w = 0.01: -80.685."""
    x = (jnp.arange(20_000, dtype=jnp.float32)[:, None] + 0.5) / 20_000

    @jax.jit
    def loss(w):
        energy = lambda x: jnp.sum(jax.nn.softplus(-x / w) + jax.nn.softplus((x - 1) / w), axis=1)  # noqa: E731
        return jnp.mean(sm.exact(None, sm.of_energy(energy), x))

    found = [float(loss(w)) for w in (0.04, 0.02, 0.01)]
    np.testing.assert_allclose(found, [-(1.5 - np.log(2)) / w for w in (0.04, 0.02, 0.01)], rtol=1e-4)
    assert found[-1] == pytest.approx(-80.685, abs=0.01)


@pytest.mark.slow
def test_on_a_half_line_the_loss_of_an_exponential_law_forgets_the_edge():
    """`p = lambda exp(-lambda x)`: without the boundary term `-theta lambda` the minimum is at 0."""
    x = jnp.asarray(np.random.default_rng(0).exponential(0.5, (5, 1)), jnp.float32)
    for theta in (0.0, 1.0, 2.0):
        loss = sm.exact(None, lambda x, theta=theta: jnp.full_like(x, -theta), x)
        np.testing.assert_allclose(loss, theta**2 / 2)
