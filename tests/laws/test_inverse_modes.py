"""Restoration in singular modes: exact marginals for a perfect denoiser, exact data where they are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import rotation

import scorejax as sj
from scorejax.guidance import operators
from scorejax.guidance.ddrm import Restoration, spectrum_of

KEY = jax.random.key(0)
# one mode measured finely, one coarsely, one not at all
MATRIX = rotation(3) @ np.diag([0.25, 0.1, 0.0]) @ rotation(3, 1).T
X0 = np.array([0.5, -1.0, 2.0])
N = 8000


@pytest.mark.parametrize("sde", [sj.edm(0.01, 1000.0), sj.vp()], ids=["edm", "vp"])
@pytest.mark.parametrize(("eta", "eta_b"), [(0.85, 1.0), (0.5, 0.3)])
def test_a_perfect_denoiser_keeps_the_law_of_every_mode_at_every_time(sde, eta, eta_b):
    # N(alpha_t x_0, sigma_t^2), also where a mode passes from one case to another
    t = sde.inverse_log_snr(jnp.float32(0.0))
    times = sj.times.log_snr(sde, 8, t_min=float(t))
    y = X0 @ MATRIX.T + 0.2 * jax.random.normal(jax.random.key(1), (N, 3))

    def perfect(x, t):
        return sde.scale(1.0 / sde.variance(t), t, sde.scale(sde.alpha(t), t, jnp.broadcast_to(X0, x.shape)) - x)

    x = sj.guidance.ddrm(
        KEY, sde, perfect, operators.dense(MATRIX, (3,)), y, 0.2, shape=(N, 3), times=times,
        eta=eta, eta_b=eta_b, denoise=False,
    ).x  # fmt: skip
    alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
    np.testing.assert_allclose(x.mean(0), alpha * X0, atol=5 * sigma / N**0.5)
    np.testing.assert_allclose(np.cov(x.T), sigma**2 * np.eye(3), atol=7 * sigma**2 / N**0.5)


def test_modes_are_found_inside_a_compiled_program_too_unless_the_operator_is_its_argument():
    made = {
        "dense": (lambda: operators.dense(MATRIX, (3,)), (3,)),
        "random": (lambda: operators.random_projection(KEY, 2, (3,)), (3,)),
        "separable": (lambda: operators.separable(MATRIX, np.eye(2)), (3, 2, 1)),
        "pool": (lambda: operators.average_pool(2), (4, 4, 1)),
        "mask": (lambda: operators.mask(np.eye(3)[..., None]), (3, 3, 1)),
    }
    for make, shape in made.values():
        found = jax.jit(lambda make=make, shape=shape: spectrum_of(make(), shape).singular)()
        np.testing.assert_array_equal(found, spectrum_of(make(), shape).singular)
    with pytest.raises(ValueError, match="argument of a compiled program; find them outside, spectrum_of"):
        jax.eval_shape(lambda operator: spectrum_of(operator, (3,)), operators.dense(MATRIX, (3,)))


def test_the_first_points_have_the_noise_of_their_time_in_every_mode():
    sde, y = sj.edm(0.01, 10.0), X0 @ MATRIX.T + 0.2 * jax.random.normal(jax.random.key(1), (N, 3))
    spectrum = spectrum_of(operators.dense(MATRIX, (3,)), (3,))
    stepper = Restoration(spectrum, spectrum.measured(y), 0.2, 0.85, 1.0)
    x = stepper.start(jax.random.split(KEY, N), sde, (N, 3), jnp.float32(1.0))
    np.testing.assert_allclose(np.cov(x.T), np.eye(3), atol=7 / N**0.5)


def test_a_measurement_as_coarse_as_the_noise_counts_as_the_finer():
    sde = sj.edm(0.01, 10.0)
    stepper = Restoration(spectrum_of(operators.dense(np.eye(2), (2,)), (2,)), jnp.ones((1, 2, 1, 1)), 0.25, 0.85, 1.0)
    x = jnp.zeros((1, 2))
    step = stepper.step(jax.random.split(KEY, 1), sde, lambda x, t: -x, x, jnp.float32(1.0), jnp.float32(0.25), ())
    np.testing.assert_allclose(jnp.abs(step.x), 1.0, atol=1e-6)


@pytest.mark.parametrize("case", [pytest.param("dense", marks=pytest.mark.slow), "separable"])
def test_an_exact_measurement_is_met_by_the_mean_of_the_last_step(case):
    if case == "dense":
        operator, shape = operators.random_projection(KEY, 4, (6,)), (2, 6)
    else:
        operator, shape = operators.separable(np.ones((1, 2)) / 2, np.eye(3)), (2, 2, 3, 1)
    sde = sj.edm(0.01, 10.0)
    y = operator.forward(jax.random.normal(KEY, shape))
    spectrum = spectrum_of(operator, shape[1:])
    stepper = Restoration(spectrum, spectrum.measured(y), 0.0, 0.85, 1.0)
    keys = jax.random.split(KEY, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scorejax.numerics.keys.normal", lambda keys, shape, *_: jnp.zeros(shape))
        step = stepper.step(
            keys, sde, lambda x, t: -x, jax.random.normal(KEY, shape), jnp.float32(0.1), jnp.float32(0.01), ()
        )
    np.testing.assert_allclose(operator.forward(step.x), y, atol=1e-5)
    found = sj.guidance.ddrm(
        KEY, sde, lambda x, t: -x / (1.0 + t.reshape(-1, *[1] * (x.ndim - 1)) ** 2), operator, y, 0.0,
        shape=shape, times=sj.times.karras(sde, 20),
    )  # fmt: skip
    np.testing.assert_allclose(operator.forward(found.x), y, atol=0.05)
    assert int(found.nfe) == 21


@pytest.mark.parametrize(
    "operator",
    [operators.gaussian_blur((6, 4), 0.5), operators.average_pool(2), operators.mask(np.eye(6, 4)[..., None])],
    ids=["blur", "means", "mask"],
)
def test_the_modes_are_those_of_the_operator(operator):
    x = jax.random.normal(KEY, (2, 6, 4, 3))
    spectrum = spectrum_of(operator, (6, 4, 3))
    np.testing.assert_allclose(spectrum.from_modes(spectrum.to_modes(x), x.shape), x, atol=1e-5)
    known = jnp.where(spectrum.singular > 0.0, spectrum.to_modes(x), 0.0)
    np.testing.assert_allclose(spectrum.measured(operator.forward(x)), known, atol=1e-3)


def test_a_mask_of_single_channels_has_no_modes_over_pixels():
    with pytest.raises(ValueError, match="same for all channels"):
        spectrum_of(operators.mask(np.eye(4, 3)), (6, 4, 3))


@pytest.mark.parametrize(
    ("operator", "sigma_y", "more", "words"),
    [
        (operators.circular_blur(np.ones((1, 1)), (2, 2)), 0.0, {}, "known singular modes, got Circular"),
        (operators.dense(MATRIX, (3,)), -1.0, {}, "sigma_y >= 0"),
        (operators.dense(MATRIX, (3,)), 0.0, {"eta": 1.5}, "eta=1.5"),
    ],
)
def test_what_does_not_fit_is_refused(operator, sigma_y, more, words):
    sde = sj.edm(0.01, 10.0)
    with pytest.raises(ValueError, match=words):
        sj.guidance.ddrm(
            KEY, sde, lambda x, t: -x, operator, jnp.zeros((1, 3)), sigma_y, shape=(1, 3),
            times=sj.times.karras(sde, 2), **more,
        )  # fmt: skip
