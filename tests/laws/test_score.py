import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import CONTINUOUS, TWO_MODES

import scorejax as sj
from scorejax.objectives import denoising
from scorejax.scores.predictions import (
    CHAIN_PREDICTIONS,
    PREDICTIONS,
    convert,
    edm_coefficients,
    probability_flow,
    reverse_drift,
)

T = jnp.array([0.05, 0.3, 0.8])
X0 = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2, 2)), jnp.float32)
NOISE = jnp.asarray(np.random.default_rng(1).standard_normal((3, 2, 2)), jnp.float32)


def truths(sde, t):
    """What each kind of network should predict at `x_t = alpha x_0 + sigma noise`."""
    alpha, sigma = (np.asarray(c(t)).reshape(-1, 1, 1) for c in (sde.alpha, sde.sigma))
    rate, g2 = (np.asarray(c(t)).reshape(-1, 1, 1) for c in (sde.drift_rate, sde.diffusion_squared))
    velocity = rate * (alpha * X0 + sigma * NOISE) + g2 * NOISE / (2 * sigma)
    noise_and_data = {"noise": NOISE, "data": X0, "v": alpha * NOISE - sigma * X0}
    return {**noise_and_data, "score": -NOISE / sigma, "velocity": velocity}


def test_the_velocity_of_the_flow_is_noise_less_data():
    sde, t = sj.flow(), jnp.array([0.1, 0.5, 0.9])
    x = sde.perturb(X0, t, NOISE)
    np.testing.assert_allclose(convert(sde, x, t, NOISE, "noise", "velocity"), NOISE - X0, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_every_prediction_converts_to_every_other(name):
    sde = CONTINUOUS[name]
    x, kinds = sde.perturb(X0, T, NOISE), truths(sde, T)
    for source in PREDICTIONS:
        for target in PREDICTIONS:
            got = convert(sde, x, T, jnp.asarray(kinds[source]), source, target)
            # where signal drowns in noise (or noise in signal) the conversion divides by the smaller: float32 / 50
            scale = float(jnp.abs(kinds[target]).max()) * 2e-4
            np.testing.assert_allclose(got, kinds[target], atol=scale, err_msg=f"{source} to {target}")


def test_conversions_take_a_scalar_time():
    sde, t = CONTINUOUS["vp"], 0.3
    x = sde.perturb(X0, t, NOISE)
    np.testing.assert_allclose(
        convert(sde, x, t, NOISE, "noise", "data"), convert(sde, x, jnp.full(3, t), NOISE, "noise", "data"), rtol=1e-6
    )


def test_tweedie_of_the_kernel_returns_the_data_point():
    for sde in CONTINUOUS.values():
        x = sde.perturb(X0, T, NOISE)
        score = truths(sde, T)["score"]
        # sigma / alpha <= 13 (VE) times rounding of x
        np.testing.assert_allclose(sj.tweedie(sde, x, T, score), X0, atol=2e-5)


def test_edm_preconditioning_normalises_inputs_and_targets():
    """For data of standard deviation 0.5 the input, the target and the weighted loss have variance one at any noise."""
    ratio = jnp.geomspace(0.002, 80.0, 13)
    c_skip, c_out, c_in, c_noise = edm_coefficients(ratio, 0.5)
    np.testing.assert_allclose(c_in**2 * (0.25 + ratio**2), 1.0, rtol=1e-6)
    # target (x_0 - c_skip y) / c_out with y = x_0 + ratio noise
    target = ((1 - c_skip) ** 2 * 0.25 + c_skip**2 * ratio**2) / c_out**2
    np.testing.assert_allclose(target, 1.0, rtol=3e-4)  # 1 - c_skip loses its digits at the smallest noise
    np.testing.assert_allclose((ratio**2 + 0.25) / (0.5 * ratio) ** 2 * c_out**2, 1.0, rtol=1e-6)
    np.testing.assert_allclose(c_noise, np.log(ratio) / 4, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_silent_edm_network_is_exact_for_round_gaussian_data(name):
    sde = CONTINUOUS[name]
    law = sj.analytic.gaussian([0.0, 0.0], [0.25, 0.25])
    x = jnp.array([[0.3, -1.2], [0.8, 0.1], [0.0, 2.0]])
    score = sj.make_score(sde, lambda params, x, label: jnp.zeros_like(x), {}, "edm", sigma_data=0.5)
    exact = law.score_at(sde, x, T)
    np.testing.assert_allclose(score(x, T), exact, rtol=1e-3, atol=2e-5 * float(jnp.abs(exact).max()))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_an_edm_network_that_meets_its_target_finds_the_data(name):
    """`F = (x_0 - c_skip y) / c_out` with `y = x / alpha`, for `r = sigma / alpha` and data of deviation 0.5."""
    sde = CONTINUOUS[name]
    alpha, sigma = (np.asarray(c(T)).reshape(-1, 1, 1) for c in (sde.alpha, sde.sigma))
    x, total = sde.perturb(X0, T, NOISE), (sigma / alpha) ** 2 + 0.25
    target = (X0 - 0.25 / total * x / alpha) / (0.5 * sigma / alpha / np.sqrt(total))
    score = sj.make_score(sde, lambda params, x, label: target, {}, "edm", sigma_data=0.5)
    np.testing.assert_allclose(sj.tweedie(sde, x, T, score(x, T)), X0, atol=1e-4)


def test_edm_networks_see_scaled_input_and_a_quarter_of_the_log_ratio():
    seen = {}

    def network(params, x, label):
        seen.update(x=x, label=label)
        return jnp.zeros_like(x)

    sde = sj.vp()
    x = sde.perturb(X0, T, NOISE)
    sj.make_score(sde, network, {}, "edm", sigma_data=0.5)(x, T)
    ratio = np.exp(-0.5 * np.asarray(sde.log_snr(T)))
    np.testing.assert_allclose(seen["label"], np.log(ratio) / 4, rtol=1e-5)
    expected = x / np.asarray(sde.alpha(T)).reshape(-1, 1, 1) / np.sqrt(ratio**2 + 0.25).reshape(-1, 1, 1)
    np.testing.assert_allclose(seen["x"], expected, rtol=1e-5)


@pytest.mark.parametrize("predicts", PREDICTIONS)
def test_make_score_turns_exact_predictions_into_the_exact_score(predicts):
    sde = CONTINUOUS["vp"]

    def network(params, x, label):
        t = label / 999.0  # the label asked for below
        return convert(sde, x, t, TWO_MODES.score_at(sde, x, t), "score", predicts)

    score = sj.make_score(sde, network, {}, predicts, label=sde.label)
    x = jnp.array([[0.3, -1.2], [0.8, 0.1], [0.0, 1.0]])
    np.testing.assert_allclose(score(x, T), TWO_MODES.score_at(sde, x, T), rtol=1e-3, atol=1e-3)


CHAINS = {"ddpm": sj.ddpm("cosine", n=30), "smld": sj.smld(0.05, 5.0, n=12)}


def below(sde, n, x, x0):
    """The mean of `q(x_(n - 1) | x_n, x_0)`: given the data, the regression of the level below on `x_n`."""
    alpha, sigma = (
        np.asarray(c(np.arange(1, sde.levels + 1) / sde.levels), np.float64) for c in (sde.alpha, sde.sigma)
    )
    if n == 1:
        return np.asarray(x0, np.float64)
    a, b, ratio = alpha[n - 2], alpha[n - 1], alpha[n - 1] / alpha[n - 2]
    covariance = ratio * sigma[n - 2] ** 2  # of both levels, given the data
    return a * x0 + covariance / sigma[n - 1] ** 2 * (x - b * x0)


def forward_kernel(sde, n):
    """`a` and `v` of `q(x_n | x_(n - 1)) = N(a x_(n - 1), v)`; below the first level lie the data."""
    alpha, sigma = (
        np.concatenate([[end], c(np.arange(1, sde.levels + 1) / sde.levels)])
        for end, c in ((1.0, sde.alpha), (0.0, sde.sigma))
    )
    a = alpha[n] / alpha[n - 1]
    return a, sigma[n] ** 2 - (a * sigma[n - 1]) ** 2


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("n", [1, 2, 9])
def test_the_previous_mean_is_the_regression_of_the_level_below_on_this_one(name, n):
    with jax.enable_x64(True):
        sde = CHAINS[name]
        t = jnp.full(3, n / sde.levels)
        x0, noise = X0.astype(float), NOISE.astype(float)
        x = sde.perturb(x0, t, noise)
        mean = below(sde, n, x, x0)
        np.testing.assert_allclose(convert(sde, x, t, noise, "noise", "previous_mean"), mean, rtol=1e-6, atol=1e-7)
        for target, value in {"data": x0, "noise": noise}.items():
            np.testing.assert_allclose(convert(sde, x, t, mean, "previous_mean", target), value, atol=1e-5)
        a, v = forward_kernel(sde, n)
        shift = (mean - a * np.asarray(x)) / np.sqrt(v)
        np.testing.assert_allclose(convert(sde, x, t, noise, "noise", "mean_shift"), shift, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(convert(sde, x, t, shift, "mean_shift", "previous_mean"), mean, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_an_error_of_any_prediction_costs_its_square_in_units_of_noise(name):
    """A network that predicts the truth plus `d` has the loss `k^2 d^2`, and exactly its gradient."""
    with jax.enable_x64(True):
        sde, n = CHAINS[name], np.array([1, 2, 9])
        t = jnp.asarray(n / sde.levels)
        x0 = X0.astype(float)
        alpha, sigma = (np.asarray(c(t)) for c in (sde.alpha, sde.sigma))
        # the mean below is linear in the data: its slope is its value at data one and x zero
        slope = np.array([below(sde, i, 0.0, 1.0) for i in n])
        total = alpha**2 + sigma**2
        size = {
            "noise": 1.0,
            "data": alpha / sigma,
            "score": sigma,
            "v": alpha / total,
            "previous_mean": alpha / sigma / slope,
            "mean_shift": alpha / sigma / slope * np.sqrt([forward_kernel(sde, i)[1] for i in n]),
            "sharpening": np.array([forward_kernel(sde, i)[0] for i in n]) / sigma,
            "velocity": 2.0 * sigma / np.asarray(sde.diffusion_squared(t)),
        }

        for predicts in (*PREDICTIONS, *CHAIN_PREDICTIONS):

            def loss(d, predicts=predicts):
                def network(d, x, t):
                    noise = sde.scale(1 / sde.sigma(t), t, x - sde.scale(sde.alpha(t), t, x0))
                    return convert(sde, x, t, noise, "noise", predicts) + d

                return denoising(jax.random.key(0), sde, sj.make_score(sde, network, d, predicts), x0, t=t)

            value, slope_of = jax.jit(lambda d, loss=loss: (loss(d), jax.grad(lambda d: loss(d).sum())(d)))(0.3)
            squares = np.broadcast_to(size[predicts], 3) ** 2
            np.testing.assert_allclose(value, 0.09 * squares, rtol=1e-4, err_msg=predicts)
            np.testing.assert_allclose(slope_of, 0.6 * squares.sum(), rtol=1e-4, err_msg=predicts)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_all_targets_have_one_loss_and_one_gradient(name, given_noise):
    """Of one network, `a x + b` for the noise, in the words of each target: those of `mean (a x + b - noise)^2`."""
    with jax.enable_x64(True):
        sde, levels = CHAINS[name], (1, 2, 9)
        t, x0, noise = jnp.array(levels) / sde.levels, X0.astype(float), NOISE.astype(float)
        alpha, sigma = (np.asarray(c(t)).reshape(-1, 1, 1) for c in (sde.alpha, sde.sigma))
        given_noise(lambda *_: noise)
        x = np.asarray(sde.perturb(x0, t, noise))
        error = 0.2 * x - 0.1 - np.asarray(noise)
        losses = np.mean(error**2, axis=(1, 2))
        slopes = 2.0 * np.array([np.mean(error * x, axis=(1, 2)), np.mean(error, axis=(1, 2))])
        # the mean below is linear in the point and in the data
        of_x, of_data = (np.reshape([below(sde, n, *one) for n in levels], (-1, 1, 1)) for one in ((1, 0), (0, 1)))
        a, variance = np.transpose([forward_kernel(sde, n) for n in levels]).reshape(2, -1, 1, 1)
        rate, g2 = (np.asarray(c(t)).reshape(-1, 1, 1) for c in (sde.drift_rate, sde.diffusion_squared))

        def words(x, noise):
            data = (x - sigma * noise) / alpha
            mean, v = of_x * x + of_data * data, alpha * noise - sigma * data
            forward = {"previous_mean": mean, "mean_shift": (mean - a * x) / np.sqrt(variance)}
            forward["sharpening"] = (x - sigma * noise) / a - x
            forward["velocity"] = rate * x + g2 * noise / (2.0 * sigma)
            return {"noise": noise, "data": data, "score": -noise / sigma, "v": v, **forward}

        for predicts in (*PREDICTIONS, *CHAIN_PREDICTIONS):

            def loss(p, predicts=predicts):
                def network(p, x, t):
                    return words(x, p[0] * x + p[1])[predicts]

                return denoising(jax.random.key(0), sde, sj.make_score(sde, network, p, predicts), x0, t=t)

            value, slope = jax.jit(lambda p, loss=loss: (loss(p), jax.jacobian(loss)(p)))(jnp.array([0.2, -0.1]))
            np.testing.assert_allclose(value, losses, rtol=1e-6, err_msg=predicts)
            np.testing.assert_allclose(slope.T, slopes, rtol=1e-6, atol=1e-9, err_msg=predicts)


@pytest.mark.parametrize("name", CHAINS)
def test_all_predictions_of_an_exact_network_give_one_score(name):
    sde = CHAINS[name]
    x, t = jnp.array([[0.3, -1.2], [0.8, 0.1], [0.0, 1.0]]), jnp.array([1.0, 4.0, 9.0]) / sde.levels
    exact = TWO_MODES.score_at(sde, x, t)
    for predicts in (*PREDICTIONS, *CHAIN_PREDICTIONS):

        def network(params, x, t, predicts=predicts):
            return convert(sde, x, t, TWO_MODES.score_at(sde, x, t), "score", predicts)

        got = sj.make_score(sde, network, {}, predicts)(x, t)
        np.testing.assert_allclose(got, exact, atol=2e-3 * float(jnp.abs(exact).max()), err_msg=predicts)


@pytest.mark.parametrize("predicts", CHAIN_PREDICTIONS)
def test_a_mean_one_level_below_needs_levels(predicts):
    with pytest.raises(ValueError, match=r"VP has no levels.*ddpm"):
        sj.make_score(sj.vp(), lambda params, x, label: x, {}, predicts)


def test_labels_follow_the_conventions_of_published_networks():
    t = jnp.array([0.1, 0.5])
    for name in ("vp", "subvp", "cosine", "flow"):
        np.testing.assert_allclose(CONTINUOUS[name].label(t), 999 * t)
    for name in ("ve", "edm"):
        np.testing.assert_allclose(CONTINUOUS[name].label(t), CONTINUOUS[name].sigma(t))


def test_the_score_of_an_energy_is_its_negative_gradient():
    sde = sj.vp()
    score = sj.score_from_energy(lambda x, t: -TWO_MODES.log_prob_at(sde, x, t))
    x = jnp.array([[0.3, -1.2], [0.8, 0.1], [0.0, 1.0]])
    np.testing.assert_allclose(score(x, T), TWO_MODES.score_at(sde, x, T), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "ve", "flow"])
def test_reverse_time_drifts_conserve_probability(name):
    """Fokker-Planck in 1-D: `dp/dt = -(v p)'` with the flow's drift `v`; the reverse drift is `v - g^2 score / 2`."""
    with jax.enable_x64(True):
        sde, law = CONTINUOUS[name], sj.analytic.mixture([0.3, 0.7], [[-1.0], [0.8]], [0.4, 0.5])
        score, t = law.score(sde), 0.3
        x = jnp.linspace(-3, 3, 31)[:, None]
        h = 1e-4

        def flux(x):
            return (probability_flow(sde, score)(x, jnp.full(31, t)) * jnp.exp(law.log_prob_at(sde, x, t))[:, None])[
                :, 0
            ]

        change = (jnp.exp(law.log_prob_at(sde, x, t + h)) - jnp.exp(law.log_prob_at(sde, x, t - h))) / (2 * h)
        divergence = (flux(x + h) - flux(x - h)) / (2 * h)
        np.testing.assert_allclose(change, -divergence, atol=1e-5)  # central differences, h^2 = 1e-8 times curvature
        half = sde.scale(0.5 * sde.diffusion_squared(t), t, score(x, jnp.full(31, t)))
        flow = probability_flow(sde, score)(x, jnp.full(31, t))
        np.testing.assert_allclose(reverse_drift(sde, score)(x, jnp.full(31, t)), flow - half, rtol=1e-12)
