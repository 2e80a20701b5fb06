"""Transformers of patches: published counts, patches that come back, and nothing said before training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.models import DiT, UViT
from scorejax.models.patches import patchify, positions, unpatchify

SMALL = {"features": 12, "depth": 2, "heads": 2}
RNG = np.random.default_rng(4)


def count(model, shape, condition=None):
    """Numbers of a deep network, counted in two shallow ones: pairs of blocks are alike."""
    given = (jnp.zeros((1, *shape)), jnp.ones(1), *(() if condition is None else (jnp.zeros(1, int),)))

    def of(depth):
        shapes = jax.eval_shape(model.clone(depth=depth).init, jax.random.key(0), *given)
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    least = 2 + model.depth % 2
    return of(least) + (model.depth - least) // 2 * (of(least + 2) - of(least))


def of_dit(depth, h, patch, channels, out, classes, dim=2):
    pixels = patch**dim
    table = 0 if classes is None else (classes + 1) * h
    return depth * (18 * h**2 + 15 * h) + 3 * h**2 + 261 * h + channels * pixels * h + (h + 1) * pixels * out + table


DITS = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}
LATENTS = {
    "S": (32_865_056, 32_920_448, 33_142_016),
    "B": (130_315_808, 130_426_496, 130_869_248),
    "L": (457_840_672, 457_988_224, 458_578_432),
    "XL": (674_834_720, 675_000_704, 675_664_640),
}
"""Four channels in, eight out, 1,000 classes, patches of 2, 4 and 8."""


@pytest.mark.parametrize("name", DITS)
def test_dit_has_the_published_number_of_parameters(name):
    depth, h, heads = DITS[name]
    model = DiT(features=h, depth=depth, heads=heads, num_classes=1000, learned_range=True)
    assert count(model, (32, 32, 4), 0) == LATENTS[name][0]
    for patch, expected in zip((2, 4, 8), LATENTS[name], strict=True):
        assert of_dit(depth, h, patch, 4, 8, 1000) == expected


@pytest.mark.parametrize(("dim", "expected"), [(1, 32_465_284), (2, 32_474_512), (3, 32_511_424)])
def test_dit_in_every_dimension(dim, expected):
    assert count(DiT(patch=4), (8,) * dim + (1,)) == of_dit(12, 384, 4, 1, 1, None, dim) == expected


@pytest.mark.parametrize(
    ("model", "shape", "classes", "expected"),
    [
        (UViT(), (32, 32, 3), None, 44_255_328),
        (UViT(features=768, depth=16, heads=12, patch=4, num_classes=999), (64, 64, 3), 0, 130_940_292),
        (UViT(features=1024, depth=20, heads=16, patch=4, num_classes=999), (64, 64, 3), 0, 286_827_652),
        (
            UViT(features=1152, depth=28, heads=16, num_classes=1000, last_conv=False), (32, 32, 4), 0, 500_832_016
        ),
    ],
)  # fmt: skip
def test_uvit_has_the_published_number_of_parameters(model, shape, classes, expected):
    assert count(model, shape, classes) == expected


@pytest.mark.parametrize(("sides", "patch"), [((8,), 4), ((4, 6), 2), ((2, 4, 6), 2)])
def test_patches_come_back(sides, patch):
    x = RNG.standard_normal((2, *sides, 3))
    tokens = patchify(jnp.asarray(x), patch)
    np.testing.assert_allclose(unpatchify(tokens, sides, patch), x, rtol=1e-6)
    corner = x[(0, *(slice(0, patch) for _ in sides))].reshape(-1)
    np.testing.assert_allclose(tokens[0, 0], corner, rtol=1e-6)


def test_every_place_has_a_position_of_its_own_and_the_last_side_comes_first():
    for grid, width in (((16,), 12), ((5, 7), 13), ((3, 4, 5), 25)):
        table = positions(grid, width)
        gaps = np.abs(table[:, None] - table[None]).max(-1) + np.eye(len(table))
        assert table.shape == (np.prod(grid), width) and gaps.min() > 1e-3
    table = positions((2, 3), 8).reshape(2, 3, 8)
    np.testing.assert_allclose(table[0, :, 4:], table[0, :1, 4:].repeat(3, 0))
    np.testing.assert_allclose(table[1, 2, :4], [np.sin(2), np.sin(0.02), np.cos(2), np.cos(0.02)], rtol=1e-6)


@pytest.mark.parametrize("sides", [(8,), (4, 6), (2, 2, 4)])
@pytest.mark.parametrize("kind", [DiT, UViT])
def test_networks_of_every_dimension(make_params, kind, sides):
    """Rows do not know of each other; a class changes its own row; a DiT says nothing before training."""
    model, shape = kind(**SMALL, num_classes=2), (3, *sides, 2)
    x, classes = RNG.standard_normal(shape).astype(np.float32), np.array([0, 1, 2])
    params = make_params(model, shape, condition=classes)

    @jax.jit
    def run(params, x, classes):
        return model.apply({"params": params}, x, jnp.full(3, 300.0), classes)

    out = run(params, x, classes)
    other = run(params, x * np.array([1, 0, 1]).reshape(3, *[1] * len(sides), 1).astype(np.float32), classes)
    np.testing.assert_allclose(out[::2], other[::2], atol=1e-5)
    assert out.shape == shape and np.isfinite(out).all()
    moved = run(params, x, np.array([1, 1, 2]))
    assert np.abs(moved[0] - out[0]).max() > 1e-3
    np.testing.assert_allclose(moved[1:], out[1:], atol=1e-5)


@pytest.mark.slow
def test_a_dit_starts_at_nothing():
    model, x = DiT(**SMALL), jnp.ones((1, 4, 4, 1))
    out, given = jax.jit(lambda key: model.init_with_output(key, x, jnp.ones(1)))(jax.random.key(0))
    assert not np.any(out)
    # the modulations add to a scale of one: what the last map sees are tokens of size one
    last = given["params"]["patches_out"]["kernel"]
    kernel = RNG.standard_normal(last.shape).astype(np.float32) / len(last) ** 0.5
    given = {"params": {**given["params"], "patches_out": {**given["params"]["patches_out"], "kernel": kernel}}}
    assert 0.3 < np.std(jax.jit(model.apply)(given, x, jnp.ones(1))) < 3


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        (DiT(**SMALL, patch=4), (8, 10, 1), "axis 1 has 10 pixels, .* side of 8 or 12, or another patch, such as 2"),
        (UViT(**SMALL), (5, 1), "axis 0 has 5 pixels"),
        (DiT(features=10, heads=3), (4, 4, 1), "multiple of heads, got 10 and 3"),
        (UViT(features=12, heads=2, depth=3), (4, 4, 1), "depth must be even"),
        (DiT(**SMALL), (5,), "takes images .* got an array of shape"),
        (DiT(**SMALL, condition="sequence", condition_dim=3), (4, 4, 1), "no attention to a sequence"),
    ],
)
def test_what_does_not_fit_is_named(model, shape, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)), jnp.ones(1))
