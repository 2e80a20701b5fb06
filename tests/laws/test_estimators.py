"""Scores that are estimated from samples, and the surrogate of the entropy that they are for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.scores import estimators

RNG = np.random.default_rng(0)
PLANE = jnp.asarray(RNG.standard_normal((12, 2, 2)), jnp.float32)
NEW = jnp.asarray(RNG.standard_normal((3, 2, 2)), jnp.float32)
ESTIMATORS = {"stein": estimators.stein, "spectral": estimators.spectral}


@pytest.mark.parametrize(
    ("name", "smoother"),
    [("stein", {"ridge": 0.1}), pytest.param("spectral", {"mass": 0.97}, marks=pytest.mark.slow)],
)
def test_the_score_of_200_normal_draws_falls_with_slope_about_minus_one(name, smoother):
    """As published for both: the slope is right and the error is not small; smoother estimates vary less."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((6, 200, 1)), jnp.float32)
    errors = []
    for settings in ({}, smoother):
        fit = jax.jit(jax.vmap(lambda s, settings=settings: ESTIMATORS[name](s, **settings).at_samples))
        got, of = np.asarray(fit(x)), np.asarray(x)
        slope = np.mean(np.sum(got * of, 1) / np.sum(of**2, 1))
        assert -1.12 < slope < -0.88
        errors.append(np.mean(np.sum((got + of) ** 2, 1) / np.sum(of**2, 1)))
    assert errors[1] < errors[0] and 0.1 < errors[0] < {"stein": 1.0, "spectral": 0.3}[name]


def test_the_stein_score_of_a_new_point_is_that_of_one_more_sample():
    found = jax.jit(lambda: estimators.stein(PLANE, bandwidth=1.5)(NEW))()
    larger = jax.jit(
        jax.vmap(lambda new: estimators.stein(jnp.concatenate([PLANE, new[None]]), bandwidth=1.5).at_samples)
    )
    np.testing.assert_allclose(found, larger(NEW)[:, -1], atol=2e-3)


@pytest.mark.slow
def test_the_spectral_score_has_the_coefficients_that_partial_integration_gives():
    """By its definition, with the gradients of the eigenfunctions taken by differentiation."""
    count, width = len(PLANE), 1.5
    flat = PLANE.reshape(count, -1)
    kernel = lambda a, b: jnp.exp(-jnp.sum((a - b) ** 2) / (2 * width**2))  # noqa: E731
    values, vectors = np.linalg.eigh(np.asarray(jax.vmap(lambda a: jax.vmap(lambda b: kernel(a, b))(flat))(flat)))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(values), 0.9 * values.sum())) + 1
    assert 2 < kept < count

    def eigenfunctions(x):
        return count**0.5 / values[:kept] * (vectors[:, :kept].T @ jax.vmap(lambda s: kernel(x, s))(flat))

    beta = -jnp.mean(jax.vmap(jax.jacobian(eigenfunctions))(flat), axis=0)
    found = estimators.spectral(PLANE, mass=0.9, bandwidth=width)
    assert int(found.kept) == kept
    wanted = jax.vmap(eigenfunctions)(NEW.reshape(3, -1)) @ beta
    np.testing.assert_allclose(found(NEW).reshape(3, -1), wanted, atol=1e-4)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_samples_that_are_moved_and_scaled_have_the_score_of_the_scaled_law(name):
    fit = jax.jit(lambda s, x: (ESTIMATORS[name](s).at_samples, ESTIMATORS[name](s)(x)))
    for found, other in zip(fit(PLANE, NEW), fit(3.0 * PLANE + 50.0, 3.0 * NEW + 50.0), strict=True):
        np.testing.assert_allclose(other, found / 3.0, atol=5e-3)


def test_every_batch_of_samples_keeps_its_own_number_of_eigenfunctions():
    """Within one compiled program, as with one program each."""
    batches = jnp.stack([PLANE, 0.1 * PLANE])
    together = jax.jit(jax.vmap(lambda s: estimators.spectral(s, mass=0.9, bandwidth=1.0)))(batches)
    again = jax.jit(jax.vmap(lambda s: estimators.spectral(s, mass=0.9, bandwidth=1.0)))(batches[::-1])
    assert again.kept.tolist() == together.kept.tolist()[::-1]
    assert together.kept[0] > together.kept[1] == 1


def test_the_surrogate_has_the_gradient_of_minus_the_entropy_of_a_gaussian():
    """`x = A eps`: the entropy is `log |det A|` and a constant, its gradient `A^-T`; also `-E[s(x) eps^T] = A^-T`."""
    matrix = jnp.asarray([[1.2, 0.3], [-0.4, 0.9]])
    noise = 2.0**0.5 * jnp.asarray([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # E[eps eps^T] = I exactly
    precision = jnp.linalg.inv(matrix @ matrix.T)
    score = lambda x: -x @ precision  # noqa: E731
    entropy = jax.grad(lambda a: jnp.linalg.slogdet(a)[1])(matrix)
    surrogate = lambda a: jnp.mean(estimators.entropy_surrogate(score, noise @ a.T))  # noqa: E731
    np.testing.assert_allclose(-jax.grad(surrogate)(matrix), entropy, atol=1e-5)
    np.testing.assert_allclose(-score(noise @ matrix.T).T @ noise / 4, jnp.linalg.inv(matrix).T, atol=1e-5)
    of_score = jax.grad(lambda p: jnp.mean(estimators.entropy_surrogate(lambda x: -x @ p, noise)))(precision)
    np.testing.assert_array_equal(of_score, 0.0)  # the score is fixed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimators.stein(PLANE[:1]), "at least two samples, got 1"),
        (lambda: estimators.stein(PLANE, ridge=0.0), "ridge of the Stein estimator must be positive, got 0"),
        (lambda: estimators.spectral(PLANE, mass=1.5), r"mass.* must lie in \(0, 1\], got 1.5"),
        (lambda: estimators.spectral(PLANE, bandwidth=-1.0), "bandwidth of a kernel must be positive, got -1"),
        (
            lambda: estimators.spectral(PLANE.at[2, 0, 1].set(jnp.nan)),
            r"samples must be finite, got nan at \[2, 0, 1\]",
        ),
        (lambda: estimators.stein(PLANE)(NEW[:, 0]), r"must have the shape \(3, 2, 2\), got \(3, 2\)"),
        (lambda: estimators.entropy_surrogate(lambda x: x[:1], NEW), "a score must return floating numbers"),
    ],
)
def test_what_no_score_can_be_estimated_from_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_samples_that_are_all_the_same_have_a_score_of_zero(name):
    at_samples, elsewhere = jax.jit(lambda s, x: (ESTIMATORS[name](s).at_samples, ESTIMATORS[name](s)(x)))(
        jnp.ones((12, 2, 2)), NEW
    )
    np.testing.assert_array_equal(at_samples, 0.0)
    assert bool(jnp.all(jnp.isfinite(elsewhere)))
