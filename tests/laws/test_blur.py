"""Processes with a noise level for every mode: blur, blurring, dissipation of heat, colored noise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from stepping import moments
from worlds import MODAL

import scorejax as sj
from scorejax import samplers, variance
from scorejax.reverse.gamma import Gamma
from scorejax.sdes.blur import growing

BY_NAME = pytest.mark.parametrize("name", MODAL)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


# ---- The blur of the paper: figures of its first sections ---------------------------------------------------------


def deaths(**settings):
    """The levels at which less than a tenth of the signal is left, from the first mode to the last."""
    sde = sj.blur(shape=(64, 64, 1), **settings)
    alpha = np.exp(-np.asarray(jax.jit(jax.vmap(lambda t: -sde.log_alpha(t)))(np.arange(1, 1001) / 1000)))
    level = np.sum(alpha.reshape(1000, -1) >= 0.1, axis=0) + 1
    order = np.argsort(np.broadcast_to(np.asarray(sde.rate), (64, 64, 1)).ravel()) if np.ndim(sde.rate) else [0]
    return level.min(), level.max(), level[order]


def test_the_blur_of_a_step_has_the_published_strength():
    assert growing("quartic", 0.0, 0.140625, 1000).sum() == pytest.approx(28.2, abs=0.05)
    assert growing("log", 0.0, 0.6, 1000).sum() == pytest.approx(513.5, abs=0.05)
    for growth in ("linear", "quadratic", "cubic", "quartic", "log"):
        f = growing(growth, 0.01, 0.3, 1000)
        assert np.all(np.diff(f) > 0) and f[-1] == pytest.approx(0.3) and f[0] == pytest.approx(0.01, abs=3e-9)
    f = growing("triangular", 0.0, 0.3, 1001)
    np.testing.assert_allclose([f[0], f[500], f[-1]], [0.0, 0.3, 0.0], atol=1e-12)


def test_the_eigenvalues_of_the_blur_are_those_of_its_kernel():
    """Standard deviation 0.4 at whole pixels: taps (0.0404, 0.9192, 0.0404), a variance of 0.0808 square pixels."""
    zero, reflect, circular = (
        np.exp(-sj.blur(shape=(64, 64, 1), boundary=b).rate) for b in ("zero", "reflect", "circular")
    )
    np.testing.assert_allclose([zero.min(), zero.max()], [0.7032, 0.99981], atol=5e-5)
    assert reflect.max() == circular.max() == 1.0  # nothing is lost over the edge
    heat = np.exp(-sj.blur(shape=(64,), boundary="circular", kernel="heat").rate)
    sampled = np.exp(-sj.blur(shape=(64,), boundary="circular").rate)
    np.testing.assert_allclose([sampled.min(), heat.min()], [0.8385, 0.454], atol=5e-4)
    np.testing.assert_allclose(np.abs(sampled - heat).max(), 0.384, atol=0.012)
    wide = [np.exp(-sj.blur(shape=(64,), boundary="circular", std=2.0, kernel=k).rate) for k in ("sampled", "heat")]
    np.testing.assert_allclose(*wide, atol=3e-9)


def test_fine_modes_die_first_and_in_the_mirrored_order_last():
    first, last, ranked = deaths(growth="quartic")
    assert (first, last) == (575, 674) and np.all(np.diff(ranked) <= 0)
    assert deaths(growth="log", most=0.6)[0] == 31
    assert deaths(growth="none")[:2] == (674, 674)
    assert deaths(order="fine_to_coarse_mirrored")[:2] == (575, 674)
    assert deaths(order="fine_to_coarse")[:2] == (367, 498)  # no mirror image: everything dies earlier
    coarse, mirrored = sj.blur(shape=(8, 8, 1)), sj.blur(shape=(8, 8, 1), order="fine_to_coarse_mirrored")
    ranks = np.argsort(coarse.rate, axis=None, kind="stable"), np.argsort(-mirrored.rate, axis=None, kind="stable")
    np.testing.assert_allclose(coarse.rate.ravel()[ranks[0]], mirrored.rate.ravel()[ranks[1]][::-1], atol=1e-12)


@pytest.mark.slow
def test_without_blur_it_is_the_plain_chain_to_the_last_bit():
    """With no growth, or with one mode of which all are alike; samples of the same key too."""
    plain, t = sj.ddpm(), jnp.linspace(1e-3, 1.0, 40)
    for sde in (sj.blur(shape=(2,), growth="none"), sj.blur(shape=(1, 1, 3), boundary="reflect")):
        for name in ("alpha", "variance", "drift_rate", "diffusion_squared", "log_snr", "inverse_log_snr"):
            of = t if name != "inverse_log_snr" else plain.log_snr(t)
            np.testing.assert_array_equal(getattr(sde, name)(of), getattr(plain, name)(of), err_msg=name)
        law = sj.analytic.gaussian([0.3, -0.2], [[0.5, 0.2], [0.2, 0.3]])
        for stepper in (samplers.ancestral(), samplers.reverse_chain(), samplers.dpm_solver(2)):
            drawn = [
                sj.sample(
                    jax.random.key(3), p, law.score(p), (4, 2), stepper=stepper, times=np.linspace(1.0, 0.01, 12)
                ).x
                for p in (sde, plain)
            ]
            np.testing.assert_array_equal(*drawn)


def test_the_score_of_the_kernel_has_the_exponent_minus_one_half():
    """`-U (1 - A)^(-1/2) U^T noise`; the exponents of two misprints, -1 and +1, are off by a sixth and a third."""
    sde = sj.blur(shape=(8, 8, 1), growth="log", most=0.6)
    x0, noise = jax.random.normal(jax.random.key(0), (2, 1, 8, 8, 1))
    t, variance_t = 0.05, sde.variance(jnp.asarray(0.05))
    mean = sde.scale(sde.alpha(t), t, x0)
    x = sde.perturb(x0, t, noise)
    exact = -sde.scale(1.0 / variance_t, t, x - mean)
    for power, off in ((-0.5, 0.0), (-1.0, 0.1), (1.0, 0.1)):
        found = -sde.scale(variance_t**power, t, noise)
        error = float(jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact))
        assert error < 1e-12 if off == 0.0 else error > off


def test_the_published_reverse_step_is_reverse_diffusion():
    """`2 x - U sqrt(A) U^T x + U B U^T score + U sqrt(B) U^T z`."""
    sde, s, t = sj.blur(shape=(4, 4, 1), growth="log", most=0.6), 0.419, 0.42
    x, score, z = jax.random.normal(jax.random.key(1), (3, 2, 4, 4, 1))
    a, b = sde.transition(s, t)
    np.testing.assert_allclose(b, 1.0 - a**2, rtol=1e-9)
    expected = 2.0 * x - sde.scale(a, t, x) + sde.scale(b, t, score) + sde.scale(jnp.sqrt(b), t, z)
    step = partial(samplers.reverse_diffusion().step, jax.random.split(jax.random.key(0), 2), sde)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sj.numerics.keys, "normal", lambda keys, shape, dtype=float: z)
        found = step(lambda x, t: score, x, jnp.asarray(t), jnp.asarray(s), ()).x
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# ---- Every process of modes, with every stepper -------------------------------------------------------------------


def law(sde, dim=2):
    """A Gaussian of which each mode is independent of the others, and its moments at a time."""
    spread = np.linspace(0.2, 0.7, dim)
    turn = np.asarray(jax.vmap(sde.basis.from_modes)(jnp.eye(dim)[:, None])[:, 0]).T
    mean = np.linspace(0.3, -0.2, dim)

    def at(t):
        alpha, noise = (np.broadcast_to(f(jnp.asarray(t)), dim) for f in (sde.alpha, sde.variance))
        return turn @ (alpha * (turn.T @ mean)), turn @ np.diag(alpha**2 * spread + noise) @ turn.T

    return sj.analytic.gaussian(mean, turn @ np.diag(spread) @ turn.T), at


def exact_statistic(sde, times, at):
    """`sigma^2 E score^2` of every mode, for the Gaussian whose moments are `at`."""
    squares = []
    for t in times:
        modes = sde.basis.to_modes(sde.basis.to_modes(jnp.asarray(at(t)[1])).T)
        squares.append(np.asarray(sde.variance(jnp.asarray(t))) / np.diag(modes))
    return Gamma.of(sde, times, np.stack(squares)[None])


def left(sde, score_at, squared, x, t):
    """The variance of the noise of a mode given `x_t`, or with `squared = 1` its second moment."""
    h = jax.vmap(jax.jacfwd(lambda y, u: score_at(y[None], u[None])[0]))(x, t)
    modes = jax.vmap(lambda j: jnp.diag(sde.basis.to_modes(sde.basis.to_modes(j).T)))(h)
    noise = -sde.own_modes(sde.scale(sde.sigma(t), t, score_at(x, t)))
    return 1.0 + sde.variance(t) * modes + squared * noise**2


def steppers(sde, score, statistic):
    heads = {
        "npr": variance.NoiseResidual(Partial(left, sde, score, 0.0)),
        "sn": variance.SquaredNoise(Partial(left, sde, score, 1.0)),
    }
    return {
        "ancestral": (samplers.ancestral(), 0.2),
        "analytic": (samplers.reverse_chain(statistic), 1e-7),
        "ddim": (samplers.ddim(), 0.12),
        "dpm_solver": (samplers.dpm_solver(2), 5e-3),
        "dpm_solver noise": (samplers.dpm_solver(3, "singlestep_fixed", "noise"), 5e-3),
        "edm euler": (samplers.euler(), 0.12),
        "edm heun": (samplers.heun(), 0.02),
        "edm churn": (samplers.heun(20.0), 0.1),
        "euler_maruyama": (samplers.euler_maruyama(), 0.2),
        "npr": (samplers.npr(fitted=heads.get), 1e-7),
        "probability_flow": (samplers.probability_flow("rk4"), 0.01),  # the slope of a table has corners
        "reverse_diffusion": (samplers.reverse_diffusion(), 0.2),
        "sn": (samplers.sn(fitted=heads.get), 1e-7),
        "unipc": (samplers.unipc(3), 5e-3),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", [n if n == "blur" else pytest.param(n, marks=pytest.mark.slow) for n in MODAL])
def test_every_family_of_samplers_reaches_gaussian_data_mode_by_mode(name, given_noise):
    """The whole run is an affine map. With the optimal variance of every mode it is exact in any number of steps."""
    given_noise(lambda noise, _: noise)
    sde = MODAL[name]
    data, at = law(sde)
    times = np.asarray(sj.times.log_snr(sde, 80))
    score = Partial(lambda x, t: data.score_at(sde, x, t))
    for which, (stepper, error) in steppers(sde, score, exact_statistic(sde, times[::-1], at)).items():
        mean, covariance = moments(stepper, sde, score, times, *at(times[0]), compiled=True)
        wanted = at(times[-1])
        spread = wanted[1].max()
        np.testing.assert_allclose(mean, wanted[0], atol=error * spread**0.5 + 1e-9, err_msg=which)
        np.testing.assert_allclose(covariance, wanted[1], atol=error * spread + 1e-9, err_msg=which)


def test_the_range_of_the_data_bounds_no_variance_of_a_mode():
    """The first mode of four pixels, half their sum, may vary by more than a pixel."""
    sde, times = sj.blur(shape=(4,), n=100), np.array([1.0, 0.9, 0.8])
    found = Gamma.of(sde, times[::-1], np.full((1, 3, 4), 0.01))
    free, bounded = (sj.reverse.chain(sde, times, variance=found, data_range=r).steps for r in (None, (-1.0, 1.0)))
    np.testing.assert_array_equal(free.variance, bounded.variance)
    assert np.any(free.variance > free.posterior + free.data**2)  # by which a pixel would be bounded


@pytest.mark.slow
@BY_NAME
def test_a_step_with_fresh_noise_has_the_signal_of_the_predicted_data(name, given_noise):
    """`alpha_s^2 Var(E[x_0 | x_t]) + noise^2 sigma_s^2` in every mode, narrower than the data."""
    given_noise(lambda noise, _: noise)
    sde, noise = MODAL[name], 1.3
    data, at = law(sde)
    t, s = np.asarray(sj.times.log_snr(sde, 4))[[1, 2]]
    mean, covariance = moments(
        samplers.renoise(noise), sde, lambda x, t: data.score_at(sde, x, t), np.array([t, s]), *at(t)
    )
    turn = np.asarray(sde.basis.from_modes(jnp.eye(2)))
    spread, alpha = np.linspace(0.2, 0.7, 2), np.asarray(sde.alpha(np.array([t, s])))
    first, last = (np.asarray(sde.variance(jnp.asarray(u))) for u in (t, s))
    known = (alpha[0] * spread) ** 2 / (alpha[0] ** 2 * spread + first)
    wanted = turn.T @ np.diag(alpha[1] ** 2 * known + noise**2 * last) @ turn
    np.testing.assert_allclose(covariance, wanted, atol=1e-9)
    np.testing.assert_allclose(mean, at(s)[0], atol=1e-9)


@pytest.mark.slow
def test_the_variance_of_ancestral_steps_is_short_and_that_of_reverse_diffusion_long(given_noise):
    """Modes of data variance 1/4 in 100 steps: 0.2192 and 0.2644, and 0.25 with the optimum of every mode.

    The last step of reverse diffusion adds its noise here, which the figures of a recursion by hand leave out.
    """
    given_noise(lambda noise, _: noise)
    sde, times = sj.blur(shape=(2,), n=100), np.arange(100, -1, -1) / 100
    data = sj.analytic.gaussian([0.0, 0.0], 0.25 * np.eye(2))
    score = Partial(lambda x, t: data.score_at(sde, x, t))

    def at(t):
        modes = 0.25 * np.asarray(sde.alpha(t)) ** 2 + np.asarray(sde.variance(jnp.asarray(t)))
        turn = np.asarray(sde.basis.from_modes(jnp.eye(2)))
        return np.zeros(2), turn.T @ np.diag(modes) @ turn

    def reached(stepper, times):
        return np.linalg.eigvalsh(moments(stepper, sde, score, times, *at(1.0), compiled=True)[1])

    last = np.asarray(sde.transition(0.0, 0.01)[1])
    np.testing.assert_allclose(reached(samplers.ancestral(), times), 0.21923, atol=5e-5)
    np.testing.assert_allclose(reached(samplers.reverse_diffusion(), times) - last, 0.26443, atol=2e-4)
    optimal = samplers.reverse_chain(exact_statistic(sde, times[:-1][::-1], at))
    np.testing.assert_allclose(reached(optimal, times[:-1]), np.linalg.eigvalsh(at(0.01)[1]), atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("control", ["sample", "batch"])
def test_the_adaptive_solver_follows_the_flow_of_every_mode(control):
    """`x` keeps its number of standard deviations from the mean, mode by mode."""
    sde = MODAL["blur"]
    data, at = law(sde)
    stepper, times = samplers.dpm_solver_adaptive(3, rtol=1e-4, atol=1e-4, control=control), np.array([0.6, 0.05])
    x = jax.random.normal(jax.random.key(0), (3, 2))
    found = sj.sample(
        jax.random.key(1), sde, data.score(sde), x.shape, stepper=stepper, times=times, x_init=x, denoise=False
    )
    (mean, covariance), (end, spread) = at(0.6), at(0.05)
    turn = np.asarray(sde.basis.from_modes(jnp.eye(2)))
    gain = np.sqrt(np.diag(turn @ spread @ turn.T) / np.diag(turn @ covariance @ turn.T))
    wanted = end + (np.asarray(x) - mean) @ turn.T * gain @ turn
    np.testing.assert_allclose(found.x, wanted, atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "less"), [("noise_residual", 0.0), ("score_curvature", 1.0)])
def test_a_variance_head_is_fitted_to_the_variance_of_every_mode(target, less):
    """For Gaussian data it is one number for each mode, where the gradient of the objective vanishes."""
    sde, t = MODAL["blur"], jnp.full(4000, 0.1)
    data, _ = law(sde)
    score = jax.tree_util.Partial(lambda x, t: data.score_at(sde, x, t))
    x = data.sample(jax.random.key(0), len(t))
    exact = left(sde, score, 0.0, x[:1], t[:1])[0] - less

    def loss(value, x0):
        head = lambda x, t: jnp.broadcast_to(value, x.shape)  # noqa: E731
        return sj.objectives.variance_head(jax.random.key(1), sde, score, x0, head=head, target=target, t=t)

    slopes = jax.jacfwd(loss)(exact, x)
    error = np.std(slopes, axis=0) / len(t) ** 0.5
    assert np.all(np.abs(slopes.mean(0)) < 5 * error + 1e-9)
    assert np.abs(exact[0] - exact[1]) > 0.02  # the modes differ


@pytest.mark.slow
@BY_NAME
def test_the_exact_likelihood_is_that_of_the_gaussian_in_every_mode(name):
    sde = MODAL[name]
    data, _ = law(sde)
    x = data.sample(jax.random.key(0), 4)
    prior = Partial(lambda x: data.log_prob_at(sde, x, sde.t_max))
    score = data.score(sde)
    found = sj.log_prob(jax.random.key(1), sde, score, x, divergence="exact", prior_logp=prior, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(found.value, data.log_prob_at(sde, x, sde.t_min), atol=1e-4)
    latents = sj.encode(sde, score, x).x
    alpha, noise = (np.stack([np.asarray(f(t)) for t in (sde.t_min, sde.t_max)]) for f in (sde.alpha, sde.variance))
    turn = sde.basis.to_modes
    spread, mean = np.linspace(0.2, 0.7, 2), np.asarray(turn(jnp.asarray([[0.3, -0.2]])))[0]
    total = alpha**2 * spread + np.broadcast_to(noise, alpha.shape)
    wanted = alpha[1] * mean + (np.asarray(turn(x)) - alpha[0] * mean) * np.sqrt(total[1] / total[0])
    np.testing.assert_allclose(turn(latents), wanted, atol=2e-3)


@pytest.mark.slow
@BY_NAME
def test_the_bounds_of_an_exact_score_hold(name):
    """The drawn bound lies above the density of the data, and touches it where the first noise is small."""
    sde = MODAL[name]
    data, at = law(sde)
    x = data.sample(jax.random.key(0), 64)
    prior = Partial(lambda x: data.log_prob_at(sde, x, sde.t_max))
    bound = sj.likelihood.likelihood_bound(jax.random.key(1), sde, data.score(sde), x, samples=100, prior_logp=prior)
    exact = float(-data.log_prob(x).mean())
    gap = float(np.mean(bound.value)) - exact
    error = 5 * float(np.sqrt(np.sum(np.square(bound.stderr)))) / len(x)
    assert -error < gap < (error + 0.02 if float(jnp.max(sde.variance(sde.t_min))) < 1e-3 else 1.0)
    times = np.asarray(sj.times.uniform(sde, 60))
    if sde.prior_is_noise and sde.asks_for_data is False:
        chain = sj.reverse.chain(sde, times, variance=exact_statistic(sde, times[::-1], at))
        nats = sj.elbo(jax.random.key(2), sde, data.score(sde), x, chain).total * 2 * np.log(2)
        assert float(nats.mean()) > exact - 5 * float(np.std(nats)) / len(x) ** 0.5
