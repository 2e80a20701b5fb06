"""Inpainting, color, resampling and editing: what is known stays known, and the rest follows the model."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conditionals import given
from exact_chains import gamma_of
from worlds import PerMode, rotation

import scorejax as sj
from scorejax import reverse
from scorejax.guidance.editing import GRAY_AND_CHROMA
from scorejax.guidance.replacement import ChannelRotation
from scorejax.samplers import Step, Stepper

# Bits and tight tolerances: rounding differs between optimized programs and others.
SDE = sj.vp(t_min=1e-3)
PAIR = sj.analytic.gaussian([0.0, 0.0], [[1.0, 0.9], [0.9, 1.0]])
SCORE = PAIR.score(SDE)
KEY = jax.random.key(0)
MASK = np.array([True, False])
STEPPER = sj.samplers.ancestral()
N, STEPS = 2000, 100  # the same everywhere, so that few programs are compiled
TIMES = sj.times.log_snr(SDE, STEPS)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Still(Stepper):
    """A step that goes nowhere."""

    def step(self, keys, sde, score, x, t, s, memory):
        return Step(x)


def fill(y, mask=MASK, score=SCORE, **more):
    return sj.guidance.inpaint(KEY, SDE, score, y, mask, stepper=STEPPER, times=TIMES, **more)


@pytest.fixture(scope="module")
def filled():
    """Many samples whose first coordinate is 1.5."""
    return fill(jnp.tile(jnp.array([1.5, jnp.nan]), (N, 1)))


@pytest.mark.slow
def test_known_pixels_end_exactly_as_they_are_and_nan_elsewhere_changes_nothing(filled):
    assert jnp.isfinite(filled.x).all()
    np.testing.assert_array_equal(filled.x[:, 0], 1.5)
    np.testing.assert_array_equal(fill(jnp.tile(jnp.array([1.5, 7.0]), (N, 1))).x, filled.x)


def test_the_known_part_follows_its_own_law_at_the_time_reached():
    sde, n, t, s = sj.vp(), 4000, jnp.float32(0.5), jnp.float32(0.3)
    part = sj.guidance.known(jnp.array([[1.5, jnp.nan]]), MASK)
    x, keys = jnp.full((n, 2), 5.0), jax.random.split(KEY, n)
    for corrector, reached in ((False, s), (True, t)):
        wrapped = sj.guidance.replacement(Still(), part, corrector=corrector)
        step = wrapped.step(keys, sde, SCORE, x, t, s, ())
        alpha, sigma = float(sde.alpha(reached)), float(sde.sigma(reached))
        assert float(jnp.mean(step.x[:, 0])) == pytest.approx(1.5 * alpha, abs=5 * sigma / n**0.5)
        assert float(jnp.std(step.x[:, 0])) == pytest.approx(sigma, rel=5 / n**0.5)
        np.testing.assert_array_equal(step.x[:, 1], 5.0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Swap(Stepper):
    """A step that shows in the unknown coordinate what the known one was."""

    def step(self, keys, sde, score, x, t, s, memory):
        return Step(x[:, ::-1])


@pytest.mark.slow
def test_the_known_part_starts_with_the_law_of_the_first_time():
    sde = sj.vp(t_max=0.4)
    first = sj.guidance.inpaint(
        KEY, sde, SCORE, jnp.full((N, 2), 1.5), MASK, stepper=Swap(), times=jnp.array([0.4, 0.1]), denoise=False
    ).x[:, 1]
    sigma = float(sde.sigma(0.4))
    assert float(jnp.mean(first)) == pytest.approx(1.5 * float(sde.alpha(0.4)), abs=5 * sigma / N**0.5)
    assert float(jnp.std(first)) == pytest.approx(sigma, rel=5 / N**0.5)


def test_a_process_that_mixes_what_is_known_with_what_is_not_is_refused():
    basis = sj.sdes.basis.Rotation(rotation(2))
    sde = PerMode(basis=basis, rates=np.array([1.0, 9.0]), t_min=1e-3, t_max=1.0)
    part = sj.guidance.known(jnp.array([[1.5, jnp.nan]]), MASK)
    with pytest.raises(ValueError, match="moment_matching"):
        part.diffuse(jax.random.split(KEY, 3), sde, jnp.zeros((3, 2)), 0.5)


@pytest.mark.parametrize("jump", [1, 2])
def test_between_two_rounds_the_points_follow_the_transition(jump):
    times = jnp.array([0.5, 0.3, 0.2])
    twice = sj.guidance.resampling(Still(), 2, jump)
    x = jnp.full((N, 2), 3.0)
    memory = twice.init(SDE, x, times)._replace(done=jnp.int32(1))  # as at the last step
    x = twice.step(jax.random.split(KEY, N), SDE, SCORE, x, times[1], times[2], memory).x
    a, v = map(float, SDE.transition(times[2], times[2 - jump]))
    assert float(jnp.mean(x)) == pytest.approx(3.0 * a, abs=5 * (v / N / 2) ** 0.5)
    assert float(jnp.var(x)) == pytest.approx(v, rel=5 * (1 / N) ** 0.5)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tally(Stepper):
    """A step that leaves a mark at its place in the grid."""

    def init(self, sde, x, times):
        return times

    def step(self, keys, sde, score, x, t, s, memory):
        score(x, t)
        return Step(x + (memory[:-1] == t) * (memory[1:] == s), memory)


@pytest.mark.parametrize(("steps", "rounds", "jump", "once"), [(249, 10, 10, 9), (7, 3, 1, 0), (7, 3, 9, 7)])
def test_every_step_is_taken_in_every_round_but_those_before_the_first_whole_jump(
    steps, rounds, jump, once, given_noise
):
    """249 steps in jumps of 10, ten rounds: the published grid of 250 levels, 2,410 evaluations with the last one."""
    given_noise(lambda keys, shape: jnp.zeros(shape))
    sde = sj.edm()  # on the way up nothing but noise is added
    found = sj.sample(
        KEY, sde, lambda x, t: 0.0 * x, (1, steps), stepper=sj.guidance.resampling(Tally(), rounds, jump),
        times=sj.times.log_snr(sde, steps), x_init=jnp.zeros((1, steps)),
    )  # fmt: skip
    np.testing.assert_array_equal(found.x[0], [1] * once + [rounds] * (steps - once))
    assert int(found.nfe) == once + rounds * (steps - once) + 1


@pytest.mark.slow
def test_replacement_sees_the_published_biased_score():
    # correlation 0.9, y = 1.5, noise 1: slope -0.6270 and intercept 0.423, exact -0.8403 and 1.134
    sde, n = sj.edm(1e-3, 100.0), 20000
    part = sj.guidance.known(jnp.array([[1.5, 0.0]]), MASK)
    wrapped = sj.guidance.replacement(Still(), part)
    one = jnp.float32(1.0)

    def mean_score(u):
        x = wrapped.step(jax.random.split(KEY, n), sde, SCORE, jnp.full((n, 2), u), 2 * one, one, ()).x
        return float(jnp.mean(PAIR.score_at(sde, x, one)[:, 1]))

    intercept, slope = mean_score(0.0), mean_score(1.0) - mean_score(0.0)
    assert slope == pytest.approx(-0.6270, abs=1e-3)
    assert intercept == pytest.approx(0.423, abs=5 * 0.9 / 3.19 / n**0.5)
    exact = given(PAIR, [[1.0, 0.0]], [1.5], 1e-3)
    values = [float(exact.score_at(sde, jnp.array([[1.5, u]]), one)[0, 1]) for u in (0.0, 1.0)]
    assert (values[1] - values[0], values[0]) == (pytest.approx(-0.8403, abs=1e-3), pytest.approx(1.134, abs=1e-3))


@pytest.mark.slow
@pytest.mark.parametrize("jump", [1, 10])
def test_resampling_lessens_the_bias_of_replacement(filled, jump):
    better = fill(jnp.tile(jnp.array([1.5, 0.0]), (N, 1)), rounds=8, jump=jump)
    truth = 0.9 * 1.5
    bias, left = (abs(float(jnp.mean(found.x[:, 1])) - truth) for found in (filled, better))
    assert left < 0.5 * bias and bias > 0.1
    assert int(better.nfe) == 8 * STEPS + 1 and int(filled.nfe) == STEPS + 1


@pytest.mark.slow
def test_a_part_independent_of_what_is_known_keeps_its_law():
    law = sj.analytic.gaussian([0.0, 0.5], [[1.0, 0.0], [0.0, 0.25]])
    found = fill(jnp.full((N, 2), 3.0), score=law.score(SDE), corrector=sj.samplers.ald(0.1)).x[:, 1]
    assert float(jnp.mean(found)) == pytest.approx(0.5, abs=5 * 0.5 / N**0.5)
    assert float(jnp.var(found)) == pytest.approx(0.25, rel=0.1 + 7 / N**0.5)


@pytest.mark.slow
def test_one_round_and_nothing_known_change_no_bit():
    def draw(stepper):
        return sj.sample(KEY, SDE, SCORE, (N, 2), stepper=stepper, times=TIMES).x

    plain = draw(STEPPER)
    nothing = sj.guidance.replacement(STEPPER, sj.guidance.known(jnp.zeros((1, 2)), np.zeros(2)))
    np.testing.assert_array_equal(draw(nothing), plain)
    np.testing.assert_array_equal(draw(sj.guidance.resampling(STEPPER, 1)), plain)


@pytest.mark.slow
def test_a_filled_image_does_not_depend_on_its_batch(filled):
    alone = fill(jnp.array([[1.5, 0.0]]), start=3)
    np.testing.assert_allclose(alone.x[0], filled.x[3], rtol=1e-4, atol=1e-5)


def test_gray_is_one_direction_of_an_orthonormal_basis():
    np.testing.assert_allclose(GRAY_AND_CHROMA.T @ GRAY_AND_CHROMA, np.eye(3), atol=1e-15)
    basis = ChannelRotation(jnp.asarray(GRAY_AND_CHROMA))
    x = jax.random.normal(KEY, (2, 3, 3, 3))
    np.testing.assert_allclose(basis.from_modes(basis.to_modes(x)), x, atol=1e-6)
    np.testing.assert_allclose(basis.to_modes(x)[..., 0], x.mean(-1) * 3**0.5, atol=1e-6)
    np.testing.assert_allclose(basis.to_modes(jnp.repeat(x[..., :1], 3, -1))[..., 1:], 0.0, atol=1e-6)


def normal_image(x, t):
    """Pixels of variance 1 in gray and 1/4 in chroma, under VP."""
    flat = x.reshape(-1, 3)
    law = sj.analytic.gaussian(np.zeros(3), GRAY_AND_CHROMA @ np.diag([1.0, 0.25, 0.25]) @ GRAY_AND_CHROMA.T)
    return law.score_at(SDE, flat, jnp.repeat(t, flat.shape[0] // t.shape[0])).reshape(x.shape)


@pytest.mark.slow
def test_color_is_added_without_touching_gray_and_follows_its_law():
    gray = jax.random.normal(KEY, (100, 3, 2, 1))
    found = sj.guidance.colorize(KEY, SDE, normal_image, gray, stepper=STEPPER, times=TIMES).x
    assert found.shape == (100, 3, 2, 3)
    np.testing.assert_allclose(found.mean(-1, keepdims=True), gray, atol=1e-6)
    chroma = ChannelRotation(jnp.asarray(GRAY_AND_CHROMA)).to_modes(found)[..., 1:]
    assert float(jnp.var(chroma)) == pytest.approx(0.25, rel=0.1 + 5 * (2 / 1200) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("t0", "repeats"), [(0.1, 1), (0.3, 2), (0.5, 1), (0.999, 1)])
def test_editing_gaussian_data_ends_at_the_closed_form(t0, repeats):
    """With `k = sqrt(a) v / (a v + 1 - a)`, each time anew from the last:

    mean `m + k sqrt(a) (x_g - m)`, variance `k^2 (a var + 1 - a) + v (1 - a) / (a v + 1 - a)`, at first `var = 0`. The
    chain with the optimal variance has no error in five steps, so that what is left is that of 2e5 draws.
    """
    m, v, shape = 0.5, 0.3, (4000, 50)
    law = sj.analytic.gaussian(np.full(50, m), np.full(50, v))
    times = sj.times.log_snr(SDE.replace(t_max=t0), 5)
    square = SDE.variance(times) / (v * SDE.alpha(times) ** 2 + SDE.variance(times))
    chain = reverse.chain(SDE, times, variance=gamma_of(SDE, times, square))
    x = sj.guidance.sdedit(
        KEY, SDE, law.score(SDE), jnp.full(shape, 2.0), t0,
        stepper=sj.samplers.reverse_chain(chain), steps=5, repeats=repeats,
    ).x  # fmt: skip
    a = float(SDE.alpha(t0)) ** 2
    k = np.sqrt(a) * v / (a * v + 1 - a)
    mean, variance = 2.0, 0.0
    for _ in range(repeats):
        mean = m + k * np.sqrt(a) * (mean - m)
        variance = k**2 * (a * variance + 1 - a) + v * (1 - a) / (a * v + 1 - a)
    error = (variance / x.size) ** 0.5
    assert float(jnp.mean(x)) == pytest.approx(mean, abs=5 * error)
    assert float(jnp.var(x)) == pytest.approx(variance, rel=5 * (2 / x.size) ** 0.5)


GUIDE = jnp.tile(jnp.array([1.0, -1.0]), (N, 1))


def edit(t0=0.5, score=SCORE, x0=GUIDE, **more):
    return sj.guidance.sdedit(KEY, SDE, score, x0, t0, stepper=STEPPER, steps=STEPS, **more)


@pytest.mark.slow
def test_little_noise_returns_the_guide_and_more_noise_leaves_it_further():
    distance = [float(jnp.mean(jnp.sum((edit(t0).x - GUIDE) ** 2, 1))) for t0 in (0.002, 0.05, 0.2, 0.4)]
    assert distance[0] < 0.01
    assert distance == sorted(distance)


@pytest.mark.slow
def test_repeats_go_on_from_the_last_result_and_are_counted():
    once, thrice = edit(0.2), edit(0.2, repeats=3)
    assert int(thrice.nfe) == 3 * int(once.nfe) == 3 * (STEPS + 1)
    # each repeat pulls the pair, a point of no likelihood, towards the line of the data
    gap = [float(jnp.mean(jnp.abs(found.x[:, 0] - found.x[:, 1]))) for found in (once, thrice)]
    assert gap[1] < 0.9 * gap[0]


@pytest.mark.slow
def test_a_masked_edit_leaves_the_rest_as_it_was():
    found = edit(mask=~MASK, corrector=sj.samplers.ald(0.1)).x
    np.testing.assert_array_equal(found[:, 0], 1.0)
    assert float(jnp.std(found[:, 1])) > 0.1
    np.testing.assert_array_equal(edit(mask=np.zeros(2)).x, GUIDE)
    np.testing.assert_array_equal(edit(mask=np.ones(2)).x, edit().x)


def low_pass(x):
    return jnp.broadcast_to(jnp.mean(x, axis=1, keepdims=True), x.shape)


def features(x, t):
    return jnp.stack([x, x**2 + t[:, None] + 0.5], axis=-1)


@pytest.mark.slow
def test_energies_of_no_weight_are_editing_bit_for_bit_and_faithfulness_keeps_the_low_frequencies():
    x0 = jnp.tile(jnp.array([2.0, 1.0]), (N, 1))
    energies = [
        sj.guidance.realistic(SDE, features, x0, jax.random.normal(KEY, x0.shape)),
        sj.guidance.faithful(SDE, low_pass, x0),
    ]
    silent = edit(score=sj.guidance.experts(SCORE, energies, [jnp.float32(0.0)] * 2), x0=x0).x
    np.testing.assert_array_equal(silent, edit(x0=x0).x)
    held = edit(score=sj.guidance.experts(SCORE, energies, [jnp.float32(0.0), jnp.float32(2.0)]), x0=x0).x
    drift = [float(jnp.mean(jnp.abs(low_pass(x - x0)))) for x in (silent, held)]
    assert drift[1] < 0.7 * drift[0]


@pytest.mark.slow
def test_the_gradients_of_the_two_energies():
    t = jnp.linspace(0.2, 0.8, 4)
    x, source = (jax.random.normal(jax.random.key(i), (4, 2)) for i in (1, 2))

    def gradient(energy, x):
        return jax.grad(lambda y: jnp.sum(energy(y, t)))(x)

    # 2 P^T P (x - alpha source)
    expected = 2.0 * low_pass(x - SDE.scale(SDE.alpha(t), t, source))
    np.testing.assert_allclose(gradient(sj.guidance.faithful(SDE, low_pass, source), x), expected, atol=1e-5)
    # a cosine does not change with the length of the features: its gradient is orthogonal to them
    cosine = sj.guidance.realistic(SDE, lambda x, t: x, source, jnp.zeros((4, 2)))
    np.testing.assert_allclose(jnp.sum(gradient(cosine, x) * x, 1), 0.0, atol=1e-5)
    np.testing.assert_allclose(cosine(SDE.scale(SDE.alpha(t), t, source), t), 1.0, rtol=1e-5)
    assert jnp.isfinite(gradient(cosine, jnp.zeros((4, 2)))).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fill(jnp.zeros((3, 2)), np.ones(3)), r"mask of shape \(3,\) does not fit.*\(3, 2\)"),
        (lambda: fill(jnp.zeros((3, 2)), rounds=0), "at least one round"),
        (lambda: fill(jnp.zeros((3, 2)), rounds=2, jump=0), "at least one step"),
        (lambda: edit(0.0), "t0=0.0 lies outside"),
        (lambda: edit(1.5), "t0=1.5 lies outside"),
        (lambda: edit(repeats=0), "at least one repeat"),
        (lambda: edit(mask=np.ones(3)), r"mask of shape \(3,\)"),
        (
            lambda: sj.guidance.colorize(KEY, SDE, SCORE, jnp.zeros((1, 4, 4, 3)), stepper=STEPPER, times=TIMES),
            r"gray image \[B, H, W, 1\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
