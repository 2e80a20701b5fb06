"""Every measurement operator is linear, and its adjoint and pseudo-inverse are what they claim to be."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax.guidance import operators

KEY = jax.random.key(0)
IMAGE = (6, 4, 3)
KERNEL = np.array([[0.0, 0.1, 0.0], [0.2, 0.5, 0.1], [0.0, 0.1, 0.0]])  # not symmetric: its adjoint is another filter
HALF = np.arange(6)[:, None, None] < 3
OPERATORS = {
    "mask": operators.mask(HALF),
    "separable": operators.separable(np.random.default_rng(1).random((2, 6)), np.random.default_rng(2).random((5, 4))),
    "blur, zero outside": operators.gaussian_blur(IMAGE[:2], 0.6, boundary="zero"),
    "circular blur": operators.circular_blur(KERNEL, IMAGE[:2]),
    "average pool": operators.average_pool(2),
    "gray": operators.gray(),
    "random projection": operators.random_projection(KEY, 10, IMAGE),
    "composition": operators.compose(operators.average_pool(2), operators.gaussian_blur(IMAGE[:2], 0.5)),
    "any function": operators.linear(lambda x: jnp.diff(x, axis=1), IMAGE),
    **{f"{name}, by name": make(IMAGE, KEY) for name, make in operators.OPERATORS.items()},
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_passes_its_own_check(name):
    OPERATORS[name].check(KEY, (2, *IMAGE))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Broken(operators.Operator):
    """A shift whose pieces can be made wrong one at a time."""

    wrong: str = field(metadata={"static": True})

    def forward(self, x):
        y = jnp.roll(x, 1, axis=1)
        return y**2 if self.wrong == "linear" else y

    def adjoint(self, y):
        return y if self.wrong == "adjoint" else jnp.roll(y, -1, axis=1)

    def pinv(self, y):
        return 0.5 * y if self.wrong == "pseudo-inverse" else jnp.roll(y, -1, axis=1)


@pytest.mark.parametrize("wrong", ["linear", "adjoint", "pseudo-inverse"])
def test_an_operator_that_breaks_a_law_is_named_with_it(wrong):
    Broken("nothing").check(KEY, (2, 8))
    with pytest.raises(ValueError, match=f"Broken breaks the law '{wrong}"):
        Broken(wrong).check(KEY, (2, 8))


def test_the_two_blurs_agree_away_from_the_boundary():
    image = jnp.zeros((1, 15, 15, 1)).at[0, 7, 7, 0].set(1.0)
    blur = operators.gaussian_blur((15, 15), 0.8)
    kernel = blur.forward(image)[0, 3:12, 3:12, 0]  # an impulse shows the kernel
    np.testing.assert_allclose(operators.circular_blur(kernel, (15, 15)).forward(image), blur.forward(image), atol=1e-6)
    assert float(jnp.sum(kernel)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("boundary", "pad"), [("reflect", "symmetric"), ("zero", "constant")])
def test_a_blur_sees_beyond_the_edge_what_its_boundary_says(boundary, pad):
    sigma, x = 0.6, np.random.default_rng(0).random((5, 6))
    weights = np.exp(-0.5 * (np.arange(-3, 4) / sigma) ** 2)
    weights /= weights.sum()
    whole = np.pad(x, 3, mode=pad)
    for axis in (0, 1):
        whole = np.apply_along_axis(np.convolve, axis, whole, weights, mode="same")
    found = operators.gaussian_blur((5, 6), sigma, boundary=boundary).forward(jnp.asarray(x)[None, ..., None])
    np.testing.assert_allclose(found[0, ..., 0], whole[3:-3, 3:-3], atol=1e-5)


def test_average_pooling_of_colors_keeps_the_means():
    x = jax.random.normal(KEY, (2, *IMAGE))
    np.testing.assert_allclose(operators.average_pool(2).forward(x).mean((1, 2)), x.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(operators.gray().forward(x)[..., 0], x.mean(-1), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: operators.mask(np.ones((5, 5))).forward(jnp.zeros((2, 4, 4))), r"mask of shape \(5, 5\).*\(4, 4\)"),
        (lambda: operators.average_pool(4).forward(jnp.zeros((1, 6, 4, 1))), "6x4 do not divide"),
        (lambda: operators.average_pool(0), "at least 1"),
        (lambda: operators.gaussian_blur((4, 4), -1.0), "positive"),
        (lambda: operators.gaussian_blur((4, 4), 1.0, boundary="wrap"), "choose one of reflect, zero"),
        (lambda: operators.circular_blur(np.ones((5, 5)), (4, 4)), "not larger"),
        (lambda: operators.dense(np.ones((2, 3)), (4,)), r"\[M, 4\]"),
        (lambda: operators.separable(np.ones(3), np.ones((3, 3))), "two matrices"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_an_operator_is_an_argument_of_a_compiled_function():
    calls = []

    @jax.jit
    def forward(operator, x):
        calls.append(1)
        return operator.forward(x)

    x = jnp.ones((1, *IMAGE))
    first, second = (forward(sj.guidance.operators.mask(m), x) for m in (HALF, ~HALF))
    assert len(calls) == 1
    np.testing.assert_array_equal(first + second, x)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda named: named["superresolution"]((6, 5, 3), KEY), "6x5 do not divide into squares of 2x2"),
        (lambda named: named["gray"]((6, 4, 1), KEY), "color images are needed"),
        (lambda named: named["random"](IMAGE, KEY, share=1.0), "between 0 and 1, got 1.0"),
        (lambda named: named["blur"](IMAGE, KEY, std=0.0), "must be positive"),
    ],
)
def test_a_measurement_that_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make(operators.OPERATORS)
