"""Cold diffusion: what its two rules make of a wrong restoration, and where they are DDIM."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import LINE, quantiles, run

import scorejax as sj
from scorejax import degradations, samplers
from scorejax.guidance import cold

RANDOM = np.random.default_rng(0)
LEVELS = np.arange(5, -1, -1)
X0, E = RANDOM.standard_normal((2, 3, 6))
WRONG = RANDOM.standard_normal((6, 3, 6))  # how far the restoration of each level is off
# repeated blurs of a circle, which keep the mean: `D_s = D_1^s`
BLUR = np.eye(6) * 0.6 + 0.2 * (np.roll(np.eye(6), 1, 1) + np.roll(np.eye(6), -1, 1))
POWERS = np.stack([np.linalg.matrix_power(BLUR, s) for s in range(6)])


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def blur(x, s):
    return x @ jnp.asarray(POWERS)[s]


def off(wrong):
    """A restoration that is off by so much at each level."""
    return lambda x, s: X0 + jnp.asarray(wrong)[s]


def test_any_restoration_undoes_a_degradation_that_is_linear_in_its_level():
    """`D(x, s) = x + s e`: the corrected rule is exact, the naive one ends at the last restoration."""
    degrade = lambda x, s: x + s * E  # noqa: E731
    found = cold(degrade, off(WRONG), jnp.asarray(X0 + 5 * E), LEVELS)
    np.testing.assert_allclose(found, X0, atol=1e-13)
    naive = cold(degrade, off(WRONG), jnp.asarray(X0 + 5 * E), LEVELS, rule="naive")
    np.testing.assert_allclose(naive, X0 + WRONG[1], atol=1e-13)


def test_the_error_of_a_linear_degradation_is_known_and_spares_what_it_never_touches():
    """`sum_s (D_{s-1} - D_s) delta_s`; a blur leaves the mean alone."""
    found = np.asarray(cold(blur, off(WRONG), blur(X0, 5), LEVELS)) - X0
    expected = sum(WRONG[s] @ (POWERS[r] - POWERS[s]) for s, r in pairwise(LEVELS))
    np.testing.assert_allclose(found, expected, atol=1e-13)
    np.testing.assert_allclose(found.mean(1), 0.0, atol=1e-14)
    assert np.abs(expected).max() > 0.1


def test_a_constant_error_comes_out_as_what_the_whole_degradation_takes_of_it():
    wrong = np.broadcast_to(WRONG[:1], WRONG.shape)
    found = cold(blur, off(wrong), blur(X0, 5), LEVELS)
    np.testing.assert_allclose(found - X0, wrong[0] @ (np.eye(6) - POWERS[5]), atol=1e-13)


@pytest.mark.parametrize("rule", ["corrected", "naive"])
def test_a_perfect_restoration_is_kept_by_both_rules(rule):
    np.testing.assert_allclose(cold(blur, off(0 * WRONG), blur(X0, 5), LEVELS, rule=rule), X0, atol=1e-13)
    once = cold(blur, off(WRONG), blur(X0, 5), [5, 0], rule=rule)
    np.testing.assert_allclose(once, X0 + WRONG[5] if rule == "naive" else X0 + WRONG[5] @ (np.eye(6) - POWERS[5]))


@pytest.mark.parametrize("rule", ["corrected", "naive"])
@pytest.mark.parametrize("sde", [sj.vp(), sj.ddpm("cosine", 10)], ids=["vp", "ddpm"])
def test_on_a_gaussian_process_both_rules_are_ddim(sde, rule):
    """`x_s = alpha_s y + sigma_s (x_t - alpha_t y) / sigma_t`, and a chain ends at the data, which are predicted."""
    times, score = np.array([0.9, 0.6, 0.3]), LINE.score(sde)
    x = quantiles(sde, 0.9, 4)
    found = run(samplers.cold(rule), sde, score, x, times, compiled=False)
    np.testing.assert_allclose(found, run(samplers.ddim(), sde, score, x, times, compiled=False), rtol=1e-12)
    if sde.ends_at_data:
        data = run(samplers.cold(rule), sde, score, x, [0.9, 0.0], compiled=False)
        np.testing.assert_allclose(data, LINE.posterior_mean(sde, x, 0.9), rtol=1e-12)


def test_with_estimated_noise_a_hot_degradation_is_ddim_and_with_fixed_noise_it_keeps_that_of_the_start():
    hot, z = degradations.noise(levels=5), jnp.asarray(E)
    restore = lambda x, t: jnp.tanh(x)  # noqa: E731
    times = degradations.levels(hot, 5)
    x, y = z, z
    for t, s in pairwise(times):
        (a, b), (c, d) = ([float(v) for v in hot._shares(u, z)] for u in (t, s))
        clean = jnp.tanh(x)
        x = c * clean + d * (x - a * clean) / b
        y = y - (a - c) * jnp.tanh(y) - (b - d) * z
    for expected, estimate in ((x, True), (y, False)):
        found = samplers.sample(
            jax.random.key(0), hot.replace(estimate=estimate), jax.tree_util.Partial(restore), z.shape,
            stepper=samplers.cold(), times=times, x_init=z, denoise=False,
        )  # fmt: skip
        np.testing.assert_allclose(found.x, expected, atol=1e-12)


def test_the_stepper_keeps_the_error_law_in_the_one_driver():
    """A trajectory ends where the last restoration is of the data themselves, and counts one restoration a step."""
    images = RANDOM.standard_normal((3, 6, 5, 1))
    wrong = RANDOM.standard_normal((6, *images.shape))
    process = degradations.blur(levels=5, kernel=3, std=1.0)
    restore = jax.tree_util.Partial(lambda wrong, x, t: images + wrong[process.level(t[0])], jnp.asarray(wrong))
    x_init, times = process.degrade(images, 1.0, ()), degradations.levels(process, 5)
    found = samplers.trajectory(
        jax.random.key(0), process, restore, images.shape, stepper=samplers.cold(), times=times, x_init=x_init
    )
    error = sum(process.degrade(wrong[s], (s - 1) / 5, ()) - process.degrade(wrong[s], s / 5, ()) for s in range(1, 6))
    np.testing.assert_allclose(found.x[-1] - images, error, atol=1e-13)
    np.testing.assert_allclose(found.denoised[-1], found.x[-1])
    np.testing.assert_allclose(found.denoised[0], images + wrong[5])
    assert found.nfe == 5
    # held in the range of the data, and restored once more where the grid does not end there
    clipped = samplers.sample(
        jax.random.key(0), process, restore, images.shape, stepper=samplers.cold("naive"), times=times[:3],
        x_init=x_init, clip=(-0.1, 0.1),
    )  # fmt: skip
    np.testing.assert_allclose(clipped.x, np.clip(images + wrong[3], -0.1, 0.1))


def test_a_degradation_is_no_diffusion():
    blurred, x = degradations.blur(levels=5, kernel=3), jnp.zeros((1, 4, 4, 1))
    options = {"times": degradations.levels(blurred, 5), "x_init": x, "denoise": False}
    restore = jax.tree_util.Partial(lambda x, t: x)
    with pytest.raises(ValueError, match=r"DDIM needs a Gaussian process .*, got Blur, a degradation in levels"):
        samplers.sample(jax.random.key(0), blurred, restore, x.shape, stepper=samplers.ddim(), **options)
    with pytest.raises(ValueError, match="lies outside"):
        options["denoise"] = True
        samplers.sample(jax.random.key(0), blurred, restore, x.shape, stepper=samplers.cold(), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"levels": [0, 1]}, "decrease"), ({"levels": [1]}, "at least two"), ({"rule": "ddim"}, "corrected, naive")],
)
def test_what_does_not_fit_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        cold(blur, off(WRONG), blur(X0, 5), **({"levels": LEVELS} | options))
