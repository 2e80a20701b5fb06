import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import CONTINUOUS, TWO_MODES

import scorejax as sj
from scorejax.score import PREDICTIONS, convert, edm_coefficients, probability_flow, reverse_drift

T = jnp.array([0.05, 0.3, 0.8])
X0 = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2, 2)), jnp.float32)
NOISE = jnp.asarray(np.random.default_rng(1).standard_normal((3, 2, 2)), jnp.float32)


def truths(sde, t):
    """What each kind of network should predict at `x_t = alpha x_0 + sigma noise`."""
    alpha, sigma = (np.asarray(c(t)).reshape(-1, 1, 1) for c in (sde.alpha, sde.sigma))
    return {"noise": NOISE, "data": X0, "score": -NOISE / sigma, "v": alpha * NOISE - sigma * X0}


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
