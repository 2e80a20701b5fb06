"""What every degradation keeps to: level 0 is the data, one draw for all levels, linear where it says so."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import degradations, samplers
from scorejax.degradations import DEGRADATIONS

HAT = np.random.default_rng(0)
SHAPE = (3, 8, 6, 3)
X, Y = HAT.uniform(-1, 1, (2, *SHAPE))
OTHERS = np.float32(HAT.uniform(-1, 1, (40, *SHAPE[1:])))
KEYS = jax.random.split(jax.random.key(3), SHAPE[0])
MEANS = degradations.ChannelMeans.fit(HAT.normal(size=(50, 3)), 2)
SMALL = {  # with settings that suit the images of this file
    "blur": [
        {"levels": 4, "kernel": 5, "std": 1.0, "growth": growth, "rate": 0.1, "boundary": boundary, "last": last}
        for growth, boundary, last in (
            ("constant", "circular", "blur"), ("linear", "symmetric", "mean"), ("exponential", "reflect", "mean")
        )
    ],
    "inpaint": [
        {"levels": 5, "width": 0.6, "center": "random"}, {"levels": 5, "width": 0.4, "center": "image", "fill": "color"}
    ],
    "pixelate": [{"levels": 2}, {"levels": 2, "method": "mean"}],
    "decolor": [{"levels": 4}],
    "snow": [{"levels": 4, "brightness": 0.4}],
    "animorph": [{"levels": 5}],
    "noise": [{"levels": 5}, {"levels": 5, "estimate": False}],
}  # fmt: skip
CASES = [(name, i) for name, every in SMALL.items() for i in range(len(every))]


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def made(name, i=0):
    process = DEGRADATIONS[name](**SMALL[name][i])
    return process.fitted(process.fit(OTHERS)) if process.asks_for_data else process


def test_every_degradation_has_its_cases():
    assert set(SMALL) == set(DEGRADATIONS)


def named(case):
    return f"{case[0]}-{case[1]}"


def some(*quick):
    """All cases; those that are not quick to compile only in the long run of the tests."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize("case", some(*((name, 0) for name in SMALL if name != "snow")), ids=named)
def test_the_contract_of_degradations(case):
    process = made(*case)
    assert process.t_max == 1.0 and process.t_min * process.levels == pytest.approx(1.0)
    drawn = process.draw(KEYS, SHAPE)
    levels, degrade = np.arange(process.levels + 1) / process.levels, jax.jit(process.degrade)
    found = np.stack([degrade(X, np.full(3, t), drawn) for t in levels])
    assert found.shape == (len(levels), *SHAPE) and np.isfinite(found).all()
    np.testing.assert_allclose(found[0], X, atol=1e-14)
    assert all(np.abs(after - before).max() > 1e-3 for before, after in itertools.pairwise(found))
    # a level for each example, and what is drawn follows the example, not its batch
    each = np.asarray([levels[-1], levels[1], levels[0]])
    mixed = degrade(X, each, drawn)
    np.testing.assert_allclose(mixed, np.stack([found[-1][0], found[1][1], X[2]]), atol=1e-14)
    turned = degrade(X[::-1], each[::-1].copy(), process.draw(KEYS[::-1], SHAPE))
    np.testing.assert_allclose(turned, mixed[::-1], atol=1e-14)
    # held, nothing is drawn anew
    held = process.held(drawn)
    assert all(map(np.array_equal, jax.tree.leaves(held.draw(KEYS[:1], SHAPE)), jax.tree.leaves(drawn)))
    if process.linear:
        both = degrade(2.0 * X - 3.0 * Y, each, drawn)
        np.testing.assert_allclose(both, 2.0 * mixed - 3.0 * degrade(Y, each, drawn), atol=1e-13)
    np.testing.assert_array_equal(process.label(jnp.asarray(levels)), np.arange(process.levels + 1) - 1.0)
    np.testing.assert_allclose(process.time_of(jnp.asarray([0.0, 0.999])), [levels[1], 1.0])


@pytest.mark.parametrize("case", some(("decolor", 0), ("noise", 1)), ids=named)
def test_a_perfect_restoration_comes_back_by_both_rules_and_directly(case):
    process = made(*case)
    drawn = process.draw(KEYS, SHAPE)
    worst = process.corrupt(KEYS, X, 1.0)
    for rule, steps in (("corrected", process.levels), ("naive", process.levels), ("naive", 1)):
        found = samplers.sample(
            KEYS, process.held(drawn), jax.tree_util.Partial(lambda x, t: jnp.asarray(X)), SHAPE,
            stepper=samplers.cold(rule), times=degradations.levels(process, steps), x_init=worst, denoise=False,
        )  # fmt: skip
        np.testing.assert_allclose(found.x, X, atol=1e-12)
        assert found.nfe == steps


# ---- What each of them is --------------------------------------------------------------------------------------------


def direct_blur(x, std, boundary):
    """One blur of every channel, pixel by pixel."""
    offsets = np.arange(-2, 3)
    weights = np.exp(-0.5 * (offsets / std) ** 2)
    mode = {"circular": "wrap", "symmetric": "symmetric", "reflect": "reflect"}[boundary]
    wide = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode=mode)
    rows = sum(w * wide[:, 2 + o : 2 + o + x.shape[1]] for o, w in zip(offsets, weights, strict=True))
    return sum(w * rows[:, :, 2 + o : 2 + o + x.shape[2]] for o, w in zip(offsets, weights, strict=True)) / (
        weights.sum() ** 2
    )


@pytest.mark.parametrize("i", [0, pytest.param(1, marks=pytest.mark.slow), 2])
def test_blurs_are_put_one_after_the_other_and_keep_the_mean(i):
    process, expected = made("blur", i), X
    for s, std in enumerate(process.stds[:3]):
        expected = direct_blur(expected, std, process.boundary)
        np.testing.assert_allclose(process.degrade(X, (s + 1) / 4, ()), expected, atol=1e-13)
    if process.boundary != "reflect":
        np.testing.assert_allclose(process.degrade(X, 1.0, ()).mean((1, 2)), X.mean((1, 2)), atol=1e-14)
    if process.last == "mean":
        np.testing.assert_allclose(process.degrade(X, 1.0, ()), np.broadcast_to(X.mean((1, 2), keepdims=True), SHAPE))


def test_masks_are_a_product_of_holes_that_grow_around_their_pixel():
    process = made("inpaint")
    drawn = process.draw(KEYS, SHAPE)
    rows, columns = np.arange(8)[:, None], np.arange(6)[None]
    for b, (i, j) in enumerate(np.asarray(drawn.center)):
        r2 = (rows - i) ** 2 + (columns - j) ** 2
        mask = np.prod([1 - np.exp(-r2 / (2 * (0.6 * k) ** 2)) for k in (1, 2, 3)], axis=0)
        np.testing.assert_allclose(process.degrade(X, 3 / 5, drawn)[b], mask[..., None] * X[b], atol=1e-14)
        assert mask[i, j] == 0
    shown = process.begin(KEYS, process.degrade(X, 1.0, drawn))
    np.testing.assert_array_equal(shown.center, drawn.center)  # seen from the images alone
    colored = made("inpaint", 1)
    color = colored.begin(KEYS, colored.prior_sample(KEYS, SHAPE)).color
    np.testing.assert_allclose(color, colored.draw(KEYS, SHAPE).color, atol=1e-14)


def test_pixels_are_means_or_cubic_and_means_are_a_semigroup():
    means = made("pixelate", 1)
    blocks = X.reshape(3, 4, 2, 3, 2, 3).mean((2, 4))
    once = means.degrade(X, 0.5, ())
    np.testing.assert_allclose(once, blocks.repeat(2, 1).repeat(2, 2), atol=1e-14)
    np.testing.assert_allclose(means.degrade(once, 1.0, ())[:, :, :4], means.degrade(X, 1.0, ())[:, :, :4], atol=0.5)
    # cubic convolution of a ramp is the ramp, away from the edges
    ramp = np.broadcast_to(np.arange(8.0)[None, :, None, None], (1, 8, 6, 1))
    np.testing.assert_allclose(made("pixelate").degrade(ramp, 0.5, ())[0, 2:6, 0, 0], [2.5, 2.5, 4.5, 4.5], atol=1e-12)


def test_color_fades_evenly_and_gray_stays():
    process = made("decolor")
    gray = X.mean(-1, keepdims=True)
    for s in range(5):
        np.testing.assert_allclose(process.degrade(X, s / 4, ()) - gray, (1 - s / 4) * (X - gray), atol=1e-14)


def test_snow_makes_brighter_and_stays_in_the_range():
    process = made("snow")
    drawn = process.draw(KEYS, SHAPE)
    means = [process.degrade(X, s / 4, drawn).mean() for s in range(5)]
    assert np.all(np.diff(means) > 0)
    assert np.abs(process.degrade(X, 1.0, drawn)).max() <= 1.0


def test_mixtures_keep_the_variance_and_end_in_the_other():
    for name in ("noise", "animorph"):
        process = made(name)
        z = process.draw(KEYS, SHAPE)
        np.testing.assert_allclose(process.degrade(X, 1.0, z), z)
        kept, mixed = process._shares(0.4, X)
        np.testing.assert_allclose(kept**2 + mixed**2, 1.0, atol=1e-14)
        angle = (0.4 + 0.008) / 1.008 * np.pi / 2
        np.testing.assert_allclose(kept, np.cos(angle) / np.cos(0.008 / 1.008 * np.pi / 2), atol=1e-14)
    drawn = np.asarray(made("animorph").draw(KEYS, SHAPE))
    assert all(any(np.array_equal(one, other) for other in OTHERS) for one in drawn)
    np.testing.assert_allclose(made("noise").infer(process.degrade(X, 0.4, z), X, 0.4, None), z, atol=1e-12)


def test_generation_begins_with_mean_colors_of_the_data():
    process = made("blur", 1).replace(means=MEANS, symmetry_noise=0.01)
    assert not process.asks_for_data and process.replace(means=None).asks_for_data and not made("blur").asks_for_data
    keys = jax.random.split(jax.random.key(0), 4000)
    start = np.asarray(jax.jit(lambda keys: process.prior_sample(keys, (4000, 4, 4, 3)))(keys))
    colors = start.mean((1, 2))
    expected = MEANS.weights @ MEANS.means
    np.testing.assert_allclose(colors.mean(0), expected, atol=0.06)
    np.testing.assert_allclose((start - colors[:, None, None]).std(), 0.01 * np.sqrt(15 / 16), rtol=0.02)
    one = degradations.ChannelMeans(**made("blur", 1).fit(OTHERS))
    np.testing.assert_allclose(one.means[0], OTHERS.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(one.factors[0] @ one.factors[0].T, np.cov(OTHERS.mean((1, 2)).T, bias=True), atol=2e-6)


# ---- What does not fit -----------------------------------------------------------------------------------------------

REFUSED = {
    "levels": (lambda: degradations.decolor(levels=0), "at least 1, got 0"),
    "an even kernel": (lambda: degradations.blur(kernel=4), "odd"),
    "a word": (lambda: degradations.blur(boundary="torus"), "circular, symmetric, reflect"),
    "a large kernel": (lambda: degradations.blur().degrade(X, 1.0, ()), "11 pixels is larger .* 8x6; .* at most 5"),
    "many halvings": (lambda: degradations.pixelate().degrade(X, 1.0, ()), "leave no pixel of images of 8x6; .* 2"),
    "gray": (lambda: degradations.decolor().degrade(X[..., :1], 1.0, ()), "no color to lose"),
    "vectors": (lambda: degradations.inpaint().corrupt(jax.random.key(0), X[:, :, 0, 0], 1.0), "of images"),
    "no others": (lambda: degradations.animorph().draw(KEYS, SHAPE), r"process.fit.others"),
    "other others": (lambda: made("animorph").draw(KEYS, (3, 4, 4, 3)), "others have shape"),
    "another draw": (lambda: made("noise").degrade(X, 1.0, jnp.zeros((3, 4))), "mixed in has shape"),
    "no start": (lambda: made("pixelate").prior_sample(KEYS, SHAPE), "restores but does not generate"),
    "a time": (lambda: made("decolor").corrupt(jax.random.key(0), X, 1.5), "1.5"),
    "a grid": (lambda: degradations.levels(made("decolor"), 9), "has 4 levels"),
    "a grid of a diffusion": (lambda: degradations.levels(sj.vp(), 9), "levels of a degradation"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_the_reason(case):
    call, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        call()
