"""Langevin chains have the laws that theory gives them: their variance, their transient, the weights of a mixture.

Laws of Gaussians are followed by their moments, and those of the mixture by quadrature: nothing is drawn.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from benchmarks.slides import line
from benchmarks.slides.parts import langevin as slide
from scorejax.objectives import score_matching
from scorejax.samplers import langevin_step

HALF = lambda alpha: (alpha / 2, alpha**0.5)  # noqa: E731
FULL = lambda epsilon: (epsilon, (2 * epsilon) ** 0.5)  # noqa: E731


def moments(step_size, noise_scale, precision):
    """The factor of a point and of its noise in one move on `N(0, 1 / precision)`."""
    ones, zeros = jnp.ones((1, 1)), jnp.zeros((1, 1))

    def move(x, z):
        return float(langevin_step(x, -precision * x, step_size, noise_scale, z)[0, 0])

    return move(ones, zeros), move(zeros, ones)


def stationary(step_size, noise_scale, precision=1.0):
    a, b = moments(step_size, noise_scale, precision)
    assert abs(a) < 1
    return b**2 / (1 - a**2)


@pytest.mark.parametrize(("alpha", "expected"), [(0.1, 1.02564), (0.5, 1.14286), (1.0, 1.33333), (2.0, 2.0)])
def test_the_variance_of_a_chain_of_the_half_convention(alpha, expected):
    """On N(0, 1): 1 / (1 - alpha / 4)."""
    np.testing.assert_allclose(stationary(*HALF(alpha)), expected, rtol=1e-5)


@pytest.mark.parametrize("variance", [0.3, 1.0, 4.0])
def test_the_variance_of_a_chain_on_a_gaussian(variance):
    """On N(0, v): v / (1 - alpha / (4 v)) by halves, v / (1 - epsilon / (2 v)) in full; they diverge at 4 v and 2 v."""
    alpha = 0.4 * variance
    np.testing.assert_allclose(stationary(*HALF(alpha), 1 / variance), variance / (1 - alpha / 4 / variance), rtol=1e-5)
    np.testing.assert_allclose(stationary(*FULL(alpha), 1 / variance), variance / (1 - alpha / 2 / variance), rtol=1e-5)
    np.testing.assert_allclose(stationary(*FULL(alpha / 2), 1 / variance), stationary(*HALF(alpha), 1 / variance))
    assert (
        abs(moments(*HALF(3.99 * variance), 1 / variance)[0])
        < 1
        < abs(moments(*HALF(4.01 * variance), 1 / variance)[0])
    )


def test_the_variance_on_its_way_to_the_stationary_one():
    """`v_T = a^(2 T) v_0 + (1 - a^(2 T)) v_oo`, `a = 1 - alpha / 2`: from 9 in five steps of 0.3 to 2.64011."""
    a, b = moments(*HALF(0.3), 1.0)
    variance = 9.0
    for _ in range(5):
        variance = a**2 * variance + b**2
    np.testing.assert_allclose(variance, 2.64011, rtol=1e-5)
    np.testing.assert_allclose(variance, a**10 * 9 + (1 - a**10) * stationary(*HALF(0.3)), rtol=1e-5)


@pytest.mark.parametrize(
    ("step_size", "noise_scale", "temperature"),
    [(0.3, 0.1, 0.01 / 0.6), (1.0, 0.01, 5e-5), (10.0, 0.005, 1.25e-6)],
)
def test_step_and_noise_apart_sample_at_another_temperature(step_size, noise_scale, temperature):
    """`noise^2 / (2 step)`: of a test, of JEM, of IGEBM; for a short step it is the variance of `p = 1`."""
    np.testing.assert_allclose(noise_scale**2 / (2 * step_size), temperature, rtol=1e-9)
    small = 1e-3  # both scaled so that the temperature stays: the step's own bias vanishes
    found = stationary(small * step_size, small**0.5 * noise_scale)
    np.testing.assert_allclose(found, temperature / (1 - small * step_size / 2), rtol=2e-4)
    if step_size < 1:
        np.testing.assert_allclose(stationary(step_size, noise_scale), 0.0196078, rtol=1e-5)


def test_plain_langevin_dynamics_leaves_the_weights_of_the_basins():
    """A thousand steps from a uniform square: 0.508 of 0.8, which is the share of the basin to 0.001."""
    found = slide.exact_weight([1.0], [0.1], 1000)
    assert 0.49 < found < 0.53
    np.testing.assert_allclose(found, 0.5 + 16 * np.log(4) / 10 / 256, atol=1e-3)


def test_annealed_langevin_dynamics_finds_the_weights_and_ever_better_with_more_steps():
    """The published toy: 0.782 of 0.8; with the mixture blurred as it should be 0.783, with 20 levels 0.792."""
    sigmas = np.geomspace(20.0, 1.0, 10)
    published = slide.exact_weight(list(sigmas), list(0.1 * sigmas**2), 100)
    np.testing.assert_allclose(published, 0.782, atol=1e-3)
    few, many = (
        slide.exact_weight(list((1 + s**2) ** 0.5), list(0.1 * s**2), 100) for s in (sigmas, np.geomspace(20, 1, 20))
    )
    assert 0.77 < few < many < 0.8


def test_the_law_by_quadrature_is_that_of_a_gaussian_chain():
    """From the triangle of a uniform square to N(0, 1 / (1 - alpha / 4)), mass and variance."""
    u = line.grid(20.0, 0.1)
    start = line.uniform_square(u, 4.0)
    np.testing.assert_allclose(np.sum(start * u**2) * 0.1, 16 / 3, rtol=1e-3)
    law = line.advance(u, start, lambda u, z: langevin_step(u, -u, *HALF(0.5), z * np.ones_like(u)), 60)
    np.testing.assert_allclose(np.sum(law) * 0.1, 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.sum(law * u**2) * 0.1, 1 / (1 - 0.5 / 4), rtol=1e-5)


@pytest.mark.parametrize(
    ("apart", "fisher"), [(2.0, 0.0319), (5.0, 2.31e-6), (5 * 2**0.5, 1.22e-11)], ids=["2", "5", "slides"]
)
def test_the_fisher_divergence_is_blind_to_the_weights_of_modes_far_apart(apart, fisher):
    """Modes at +-m with weights .8 against .5: the divergence vanishes as they part, the Kullback-Leibler does not."""
    with jax.enable_x64(True):
        u = jnp.linspace(-apart - 9, apart + 9, 4001)[:, None]
        one, two = (sj.analytic.mixture([w, 1 - w], [[apart], [-apart]], [1.0, 1.0]) for w in (0.8, 0.5))
        clean = sj.still()
        scores = [lambda x, law=law: law.score_at(clean, x, jnp.asarray(0.0)) for law in (one, two)]
        weight = jnp.exp(one.log_prob(u)) * (u[1] - u[0])
        divergence = jnp.sum(weight * score_matching.explicit(None, scores[1], u, truth=scores[0]))
        kullback_leibler = jnp.sum(weight * (one.log_prob(u) - two.log_prob(u)))
    np.testing.assert_allclose(divergence, fisher, rtol=5e-3)
    if apart >= 5:
        np.testing.assert_allclose(kullback_leibler, 0.8 * np.log(1.6) + 0.2 * np.log(0.4), atol=1e-5)  # 0.192745


@pytest.mark.parametrize(
    ("relative", "steps", "ratio", "expected"),
    [(0.2, 100, 100 ** (1 / 9), 10 / 9), (0.062, 5, 5000 ** (1 / 231), 1.05547)],
    ids=["NCSN", "NCSNv2"],
)
def test_the_published_step_sizes_mix_at_every_level(relative, steps, ratio, expected):
    """From the noise of the level before, data one point, the published number of steps reaches this share of sigma^2.

    NCSN: steps of `2e-5 sigma^2 / 0.01^2`, so 0.2 at every level; a move keeps 0.8 of the distance, and a hundred end
    at the stationary `1 / (1 - 0.1)`. NCSNv2 takes steps of `6.2e-6 sigma^2 / 0.01^2`, five at each of 232 levels.
    """
    np.testing.assert_allclose(relative, {100: 2e-5, 5: 6.2e-6}[steps] / 0.01**2)
    a, b = moments(*FULL(relative), 1.0)
    np.testing.assert_allclose(a, 1 - relative, rtol=1e-6)
    variance = ratio**2
    for _ in range(steps):
        variance = a**2 * variance + b**2
    np.testing.assert_allclose(variance, expected, rtol=1e-4)
    np.testing.assert_allclose(variance, sj.ncsnv2_levels.variance_after(ratio, steps, relative), rtol=1e-5)
