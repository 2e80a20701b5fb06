import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_chains import LINEAR, TWO_HUMPS, exact_gamma, gamma_of, nodes
from jax.tree_util import Partial

import scorejax as sj
from scorejax import reverse, samplers
from scorejax.likelihood.elbo import kl_term
from scorejax.objectives import variance_head
from scorejax.reverse import variance
from scorejax.reverse.gamma import estimate

T = 0.167


def residual(law, sde, x, t):
    """Var(noise | x_t), by the second-order Tweedie formula."""
    curvature = jax.jvp(lambda y: law.score_at(sde, y, t), (x,), (jnp.ones_like(x),))[1]
    return 1.0 + sde.variance(t)[:, None] * curvature


@pytest.mark.parametrize("target", ["noise_residual", "squared_noise", "score_curvature"])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_each_target_is_minimised_by_its_expectation(target, bias, given_noise):
    """With noise off by `b` the residual target finds Var + b^2, the others do not see the bias."""
    with jax.enable_x64(True):
        x0, noise, weights = nodes(TWO_HUMPS, 64)
        sde, law = LINEAR, TWO_HUMPS
        given_noise(lambda *_: jnp.asarray(noise))
        t = jnp.full(len(x0), T)

        def score(x, t):
            return law.score_at(sde, x, t) - bias / sde.sigma(t)[:, None]

        def exact(x, t):
            var, mean = residual(law, sde, x, t), -sde.sigma(t)[:, None] * law.score_at(sde, x, t)
            return {"noise_residual": var + bias**2, "squared_noise": var + mean**2, "score_curvature": var - 1.0}[
                target
            ]

        @jax.jit
        @jax.grad
        def slope(p):
            def head(x, t):
                return (1 + p[0]) * exact(x, t) + p[1] + p[2] * x

            key = jax.random.key(0)
            return weights @ variance_head(key, sde, score, jnp.asarray(x0), head=head, target=target, t=t)

        np.testing.assert_allclose(slope(jnp.zeros(3)), 0.0, atol=2e-5)
        assert np.all(np.abs(slope(jnp.array([0.1, 0.1, 0.1]))) > 1e-2)


PAIR = np.array([0.223, 0.112])  # one step of ten even ones


HEADS = {
    "noise_residual": (variance.NoiseResidual, 0.349136),
    "squared_noise": (variance.SquaredNoise, 0.169136),
    "score_curvature": (variance.ScoreCurvature, 0.259136),
}


@pytest.mark.slow
@pytest.mark.parametrize("target", HEADS)
def test_what_a_head_finds_on_average_with_a_biased_network_is_known(target, given_noise):
    """With noise off by b = 0.3: `E Var + b^2`, `E Var - b^2` and `E Var`, of the best head without any input."""
    with jax.enable_x64(True):
        x0, noise, weights = nodes(TWO_HUMPS, 64)
        sde, law = LINEAR, TWO_HUMPS
        given_noise(lambda *_: jnp.asarray(noise))
        x, t = sde.perturb(x0, PAIR[0], noise), jnp.full(len(x0), PAIR[0])

        def score(x, t):
            return law.score_at(sde, x, t) - 0.3 / sde.sigma(t)[:, None]

        def loss(c):
            args = jax.random.key(0), sde, score, jnp.asarray(x0)
            return weights @ variance_head(*args, head=Partial(constant, c), target=target, t=t)

        best = -0.5 * jax.grad(loss)(0.0)  # of a parabola `(c - best)^2 + ...`
        kind, expected = HEADS[target]
        found = kind(Partial(constant, best))(x, t, -sde.sigma(PAIR[0]) * score(x, t))
        np.testing.assert_allclose(weights @ found, expected, atol=2e-6)


def test_the_statistic_of_a_biased_network_is_off_by_the_square_of_its_bias(given_noise):
    """`1 - E |noise(x_t)|^2 = E Var - b^2`, the exact one `E Var`; noise off by b = 0.3."""
    with jax.enable_x64(True):
        x0, noise, weights = nodes(TWO_HUMPS, 64)
        sde, law = LINEAR, TWO_HUMPS
        given_noise(lambda *_: jnp.asarray(noise))
        for bias, expected in ((0.0, 0.259136), (0.3, 0.169136)):

            def score(x, t, bias=bias):
                return law.score_at(sde, x, t) - bias / sde.sigma(t)[:, None]

            squares = estimate(jax.random.key(0), sde, score, jnp.asarray(x0), PAIR[:1])
            np.testing.assert_allclose(1.0 - weights @ squares, expected, atol=2e-6)


@pytest.mark.slow
def test_a_biased_network_is_served_by_the_noise_residual_and_ruined_by_the_squared_noise():
    """Expected KL in nats of one step, noise off by `b`; the order explains published likelihoods."""
    with jax.enable_x64(True):
        x0, noise, weights = nodes(TWO_HUMPS, 64)
        truth = exact_gamma(LINEAR, TWO_HUMPS, PAIR)

        def kl(how, b):
            def score(x, t):
                return TWO_HUMPS.score_at(LINEAR, x, t) - b / LINEAR.sigma(t)[:, None]

            chain = reverse.chain(LINEAR, PAIR, variance=how, data_range=(-1, 1))
            return weights @ kl_term(chain, chain.step(0), LINEAR, score, x0, LINEAR.perturb(x0, PAIR[0], noise))

        def table(b):
            def scalar(shift):
                return gamma_of(LINEAR, truth.times, truth.mean_square + shift)

            def second_moment(x, t):
                return (
                    residual(TWO_HUMPS, LINEAR, x, t)
                    + (LINEAR.sigma(t)[:, None] * TWO_HUMPS.score_at(LINEAR, x, t)) ** 2
                )

            return [
                kl(how, b)
                for how in (
                    variance.NoiseResidual(lambda x, t: residual(TWO_HUMPS, LINEAR, x, t) + b**2),
                    scalar(-(b**2)),
                    truth,
                    "forward",
                    scalar(b**2),
                    variance.SquaredNoise(second_moment),
                    "posterior",
                )
            ]

        found = table(0.3)
        assert np.all(np.diff(found) > 0)
        published = [0.40701, 0.41233, 0.41878, 0.43755, 0.44518, 0.48636, 0.64056]
        # clipping puts a kink into the squared-noise term, which quadrature does not see
        np.testing.assert_allclose(np.delete(found, 5), np.delete(published, 5), atol=6e-6)
        np.testing.assert_allclose(found[5], published[5], atol=5e-5)
        np.testing.assert_allclose(table(0.0)[:3], [0.326739, 0.334139, 0.334139], atol=2e-6)


def test_the_probes_of_the_curvature_find_its_diagonal():
    law = sj.analytic.gaussian([0.0, 0.0], [[0.5, 0.3], [0.3, 0.4]])
    n, t = 4000, jnp.full(4000, T)

    def loss(c):
        def head(x, t):
            return jnp.broadcast_to(c, x.shape)

        args = jax.random.key(0), LINEAR, law.score(LINEAR), jnp.ones((n, 2))
        return variance_head(*args, head=head, target="score_curvature", t=t).mean()

    alpha2, noise = np.asarray(LINEAR.alpha(T) ** 2), np.asarray(LINEAR.variance(jnp.asarray(T)))
    expected = -noise * np.diag(np.linalg.inv(alpha2 * np.asarray(law.covariance()) + noise * np.eye(2)))
    found = -0.5 * np.asarray(jax.jit(jax.grad(loss))(jnp.zeros(2)))  # the loss is a parabola about the mean target
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_however_times_are_drawn_a_head_has_the_same_expected_loss():
    """Of a constant head 0.3 and the squared noise: `E (0.3 - z^2)^2 = 2 + 0.7^2` at every time."""
    sde, n = sj.vp(), 20_000
    for times in ("uniform", "importance"):
        args = jax.random.key(0), sde, lambda x, t: -x, jnp.ones((n, 2))
        loss = variance_head(*args, head=Partial(constant, 0.3), target="squared_noise", time_sampling=times)
        # standard deviation over root n, the weights 1 / p of importance being up to five
        np.testing.assert_allclose(loss.mean(), 2 * 2.49, atol=5 * float(loss.std()) / n**0.5)
        assert loss.std() < 20


def test_only_the_head_is_trained():
    def loss(a, b):
        def score(x, t):
            return a * x

        def head(x, t):
            return b * x

        return variance_head(jax.random.key(0), LINEAR, score, jnp.ones((8, 2)), head=head).sum()

    frozen, trained = jax.jit(jax.grad(loss, argnums=(0, 1)))(-1.0, 0.5)
    assert frozen == 0.0
    assert trained != 0.0


def constant(value, x, t):
    return jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape)


def test_a_head_sets_the_variance_of_every_coordinate_or_of_their_mean():
    """Of each example by itself: what its neighbours are told does not matter."""
    times, x = [0.334, 0.223, 0.112], jnp.array([[0.2, 0.4], [0.6, 0.1], [0.3, 0.3]])
    noise = jnp.array([[0.5, 0.1], [0.2, 0.3], [0.4, 0.6]])
    heads = {
        variance.NoiseResidual: x,
        variance.SquaredNoise: x - noise**2,
        variance.ScoreCurvature: x + 1.0,
    }
    for kind, share in heads.items():
        for average in (False, True):
            chain = reverse.chain(LINEAR, times, variance=kind(Partial(lambda x, t: x), average=average))
            step = chain.step(1)
            gain = step.data**2 * (step.sigma / step.alpha) ** 2
            wanted = np.maximum(np.mean(share, axis=1, keepdims=True) if average else share, 0.0)
            found = chain.variance(LINEAR, step, x, noise)
            np.testing.assert_allclose(found, np.broadcast_to(step.posterior + gain * wanted, (3, 2)), rtol=1e-5)


def test_no_head_leaves_the_bounds_of_the_optimal_variance():
    x = jnp.ones((3, 2))
    for value, edge in ((-5.0, "posterior"), (1e9, "range")):
        head = variance.NoiseResidual(Partial(constant, value))
        chain = reverse.chain(LINEAR, [0.3, 0.1], variance=head, data_range=(-1, 1))
        step = chain.step(0)
        bound = step.posterior + (step.data**2 if edge == "range" else 0.0)
        np.testing.assert_allclose(chain.variance(LINEAR, step, x, 0 * x), np.full((3, 2), bound), rtol=1e-6)


def test_a_sampler_with_an_exact_head_is_the_one_with_the_exact_statistic():
    """For normal data the variance does not depend on x: a head and a Gamma must agree, sample by sample."""
    law = sj.analytic.gaussian([0.1], [0.25])
    times = np.array([1.0, 0.6, 0.3, 0.1])
    gamma = exact_gamma(LINEAR, law, times)

    def head(sde, x, t):
        signal = 0.25 * sde.alpha(t) ** 2
        return jnp.broadcast_to((signal / (signal + sde.variance(t)))[:, None], x.shape)

    draws = [
        sj.sample(
            jax.random.key(0), LINEAR, law.score(LINEAR), (5, 1),
            stepper=samplers.reverse_chain(reverse.chain(LINEAR, times, variance=v)), times=times,
        ).x
        for v in (gamma, variance.NoiseResidual(Partial(head, LINEAR)))
    ]  # fmt: skip
    np.testing.assert_allclose(*draws, atol=1e-4)


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="unknown target"):
        variance_head(jax.random.key(0), LINEAR, TWO_HUMPS.score(LINEAR), jnp.ones((2, 1)), head=constant, target="sn")
