"""Score matching without kernels: the identities that tie it to denoising, and its projections."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import PerMode, rotation

import scorejax as sj
from scorejax.objectives import WEIGHTINGS, denoising, implicit, sliced
from scorejax.sdes import Rotation

N = 40_000


def hyvarinen(sde, t):
    """The weighting that leaves `E[tr J + |score|^2 / 2]` (with `half_sum`)."""
    return 1.0 / sde.variance(t)


def wild(x, t):
    """A score of nothing in particular, whose Jacobian is neither symmetric nor constant."""
    mixing = jnp.array([[0.5, -1.0, 0.3], [0.2, 0.1, 0.9], [-0.4, 0.7, 0.2]])
    return jnp.tanh(x @ mixing) * (1.0 + t)[:, None] - 0.3 * x


def compiled(objective, sde, score, **options):
    """`(x0, t) -> loss [B]`; one program, where op by op there would be hundreds."""
    return jax.jit(lambda x0, t: objective(jax.random.key(1), sde, score, x0, t=t, **options))


def gap(sde, score, x0, t, sliced_options=None, **options):
    """Mean of `denoising - sliced` over many draws at time `t`, and five standard errors of it."""
    programs = (
        compiled(denoising, sde, score, **options),
        compiled(sliced, sde, score, **options, **(sliced_options or {})),
    )
    losses = [np.asarray(program(x0, jnp.full(len(x0), t))) for program in programs]
    error = sum(np.var(loss) / len(loss) for loss in losses) ** 0.5
    return losses[0].mean() - losses[1].mean(), 5 * error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "smld"])
def test_denoising_less_sliced_is_the_weight_for_any_score(name):
    sde, t = (sj.vp(), 0.3) if name == "vp" else (sj.smld(0.1, 2.0, 10), 0.8)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (N, 3))
    x0 = jnp.asarray(signs + 0.4 * np.random.default_rng(1).standard_normal((N, 3)), jnp.float32)
    for weighting, reduction, factor in (("simple", "mean", 1.0), ("data", "sum", 3.0)):
        weight = float(WEIGHTINGS[weighting](sde, jnp.float32(t)))
        found, error = gap(sde, wild, x0, t, weighting=weighting, reduction=reduction)
        assert abs(found - weight * factor) < error < 0.15 * weight * factor


def test_the_gap_in_hyvarinens_units_is_half_the_precision_of_the_noise():
    """`DSM - SSM = D / (2 sigma^2)`; s = -tanh, sigma = 0.7: 1.0204."""
    x0 = jnp.asarray(np.random.default_rng(0).standard_normal((N, 1)), jnp.float32)
    score = lambda x, t: -jnp.tanh(x)  # noqa: E731
    found, error = gap(sj.edm(0.1, 1.0), score, x0, 0.7, weighting=hyvarinen, reduction="half_sum")
    assert abs(found - 1.0204) < error < 0.05


def test_the_minima_for_gaussian_data_are_known():
    """VP, data variance 2, t = 0.1: SSM -1 / (2 v_t) = -0.26367, DSM (1 / sigma^2 - 1 / v_t) / 2 = 4.5571."""
    sde, n = sj.vp(), 100_000
    score = sj.analytic.gaussian([0.0], [2.0]).score(sde)
    x0 = jnp.asarray(np.random.default_rng(0).normal(0, 2**0.5, (n, 1)), jnp.float32)
    for objective, expected in ((sliced, -0.26367), (implicit, -0.26367), (denoising, 4.5571)):
        loss = compiled(objective, sde, score, weighting=hyvarinen, reduction="half_sum")(x0, jnp.full(n, 0.1))
        np.testing.assert_allclose(loss.mean(), expected, atol=5 * np.std(loss) / n**0.5, err_msg=objective.__name__)


@pytest.mark.parametrize("objective", [sliced, implicit])
def test_the_minimiser_is_the_true_score(objective):
    """Among linear scores, where the loss is a parabola: one Newton step lands on it."""
    covariance, sde, t, n = np.array([[0.5, 0.2], [0.2, 0.3]]), sj.vp(), 0.2, 20_000
    x0 = jnp.asarray(np.random.default_rng(0).multivariate_normal([0.5, -0.5], covariance, n), jnp.float32)

    def loss(flat):
        weights, bias = flat[:4].reshape(2, 2), flat[4:]
        return objective(jax.random.key(1), sde, lambda x, t: x @ weights + bias, x0, t=jnp.full(n, t)).mean()

    found = jax.jit(lambda w: w - jnp.linalg.solve(jax.hessian(loss)(w), jax.grad(loss)(w)))(jnp.zeros(6))
    signal = sde.alpha(t) ** 2 * covariance
    precision = np.linalg.inv(signal + sde.variance(jnp.float32(t)) * np.eye(2))
    mean = sde.alpha(t) * np.array([0.5, -0.5])
    np.testing.assert_allclose(found[:4].reshape(2, 2), -precision, atol=0.1)  # entries to 1.6, errors 1 / sqrt(n)
    np.testing.assert_allclose(found[4:], precision @ mean, atol=0.1)


@pytest.mark.parametrize("variance_reduced", [True, False])
@pytest.mark.parametrize("projection", ["rademacher", "gaussian", "sphere"])
def test_projections_agree_in_the_mean_and_have_the_stated_variances(projection, variance_reduced):
    """At a fixed x: `2 (|A|^2 - sum a_ii^2)`, `2 |A|^2`, `2 D / (D + 2) (|A|^2 - tr(A)^2 / D)`; without variance
    reduction `A` is `sym(J) + s s^T / 2`."""
    jacobian = np.array([[-1.0, 0.8, 0.0], [0.2, -0.5, 0.6], [-0.3, 0.1, 0.4]])
    x = np.array([0.7, -0.4, 1.1])
    value, n, dims = jacobian @ x, 40_000, 3
    program = compiled(
        sliced, sj.edm(), lambda x, t: x @ jnp.asarray(jacobian.T, jnp.float32), diffuse=lambda keys, x0, t: x0,
        projection=projection, variance_reduced=variance_reduced, weighting=hyvarinen, reduction="half_sum",
    )  # fmt: skip
    loss = program(jnp.tile(jnp.asarray(x, jnp.float32), (n, 1)), jnp.full(n, 2.0))
    a = 0.5 * (jacobian + jacobian.T) + (0.0 if variance_reduced else 0.5 * np.outer(value, value))
    square = np.sum(a**2)
    variance = {
        "rademacher": 2 * (square - np.sum(np.diag(a) ** 2)),
        "gaussian": 2 * square,
        "sphere": 2 * dims / (dims + 2) * (square - np.trace(a) ** 2 / dims),
    }[projection]
    np.testing.assert_allclose(loss.mean(), np.trace(jacobian) + 0.5 * value @ value, atol=5 * (variance / n) ** 0.5)
    np.testing.assert_allclose(np.var(loss), variance, rtol=0.08)  # a Gaussian quadratic form has kurtosis up to 15


def test_more_probes_are_an_average_and_all_of_them_are_the_trace():
    sde, x0, n, t = sj.vp(), jnp.ones((2000, 3)), 2000, jnp.full(2000, 0.3)
    diffuse = lambda keys, x0, t: x0  # noqa: E731
    exact = compiled(implicit, sde, wild, diffuse=diffuse)(x0, t)
    at_one = lambda x: wild(x[None], t[:1])[0]  # noqa: E731
    square, trace = jax.jit(lambda x: (jnp.sum(at_one(x) ** 2), jnp.trace(jax.jacfwd(at_one)(x))))(x0[0])
    np.testing.assert_allclose(exact, sde.variance(t[0]) * (square + 2 * trace) / 3, rtol=1e-5)
    spread = []
    for probes in (1, 8):
        loss = np.asarray(compiled(sliced, sde, wild, probes=probes, diffuse=diffuse)(x0, t))
        np.testing.assert_allclose(loss.mean(), exact[0], atol=5 * np.std(loss) / n**0.5)
        spread.append(np.var(loss))
    np.testing.assert_allclose(spread[0] / spread[1], 8.0, rtol=0.2)


@pytest.mark.parametrize("variance_reduced", [True, False])
def test_a_process_with_a_basis_weights_every_mode_by_its_own_variance(variance_reduced):
    sde = PerMode(rates=np.array([1.0, 4.0, 9.0]), basis=Rotation(rotation(3)), t_min=1e-3, t_max=1.0)
    x0 = jnp.asarray(np.random.default_rng(0).standard_normal((N, 3)), jnp.float32)
    found, error = gap(sde, wild, x0, 0.3, {"variance_reduced": variance_reduced}, reduction="sum")
    assert abs(found - 3.0) < error < 0.3


@pytest.mark.slow
def test_only_samples_of_the_process_are_needed():
    """A process simulated step by step, its kernel unused, trains as the kernel does: equal in distribution."""
    sde, n = sj.vp(), 20_000
    x0 = jnp.asarray(np.random.default_rng(0).normal([0.5, -0.5], 0.5, (n, 2)), jnp.float32)

    def simulate(keys, x0, t):
        def step(i, x):
            time = (i + 0.5) / 50 * t
            noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, i), (2,)))(keys)
            h = t / 50
            return x + h[:, None] * sde.drift(x, time) + jnp.sqrt(h)[:, None] * sde.diffusion(time)[:, None] * noise

        return jax.lax.fori_loop(0, 50, step, x0)

    score = lambda x, t: -jnp.tanh(x)  # noqa: E731
    losses = [compiled(sliced, sde, score, diffuse=diffuse)(x0, jnp.full(n, 0.3)) for diffuse in (None, simulate)]
    error = sum(np.var(loss) / n for loss in losses) ** 0.5
    assert abs(losses[0].mean() - losses[1].mean()) < 5 * error < 0.05


def test_an_example_with_its_own_key_does_not_notice_its_batch_mates():
    keys = jax.random.split(jax.random.key(0), 8)
    x0 = jnp.asarray(np.random.default_rng(0).standard_normal((8, 3)), jnp.float32)

    @jax.jit
    def loss(keys, x0):
        return sliced(keys, sj.vp(), lambda x, t: -x * t[:, None], x0, probes=2)

    whole = loss(keys, x0)
    np.testing.assert_array_equal(loss(keys[2:5], x0[2:5]), whole[2:5])
    np.testing.assert_array_equal(loss(keys[::-1], x0[::-1])[::-1], whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection": "cube"}, "rademacher, gaussian, sphere"),
        ({"probes": 0}, "at least one probe"),
        ({"weighting": "p3"}, "likelihood"),
        ({"reduction": "max"}, "half_sum"),
        ({"time_sampling": "sobol"}, "stratified"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        sliced(jax.random.key(0), sj.vp(), lambda x, t: -x, jnp.ones((2, 3)), **options)
