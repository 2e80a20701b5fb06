"""What augmentation does to examples is what its labels say, and zeros say nothing was done."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.data.augment import AUGMENTATIONS, Affine, Rolls

SHAPES = [(9, 2), (6, 8, 2), (4, 5, 6, 1)]


def changed(augmentation, x, seed=0):
    """The examples with their labels."""
    keys = jax.random.split(jax.random.key(seed), len(x))
    return jax.tree.map(np.asarray, jax.jit(augmentation)(keys, x))


def coordinates(sides):
    """Every pixel's place from the middle, counted from the last side, as channels of an image."""
    grid = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), axis=-1)[..., ::-1]
    return (grid - (np.array(sides[::-1]) - 1) / 2).astype(np.float32)


def turn(c, s):
    return np.array([[c, -s], [s, c]])


def by_quaternion(w, x, y, z):
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def said(labels, sides):
    """The matrix and the shift that labels speak of: where what lay at a place from the middle lies now."""
    d = len(sides)
    mirror, z, rest = np.diag(1 - 2 * labels[:d]), labels[d], labels[d + 1 : -d]
    matrix = 2.0 ** (0.2 * z) * mirror
    if d == 2:
        size = np.hypot(*rest[2:])
        along = turn(*(rest[2:] / size))
        # The direction and the sign of the stretch are known but for both at once.
        stretches = [along @ np.diag([2.0**e, 2.0**-e]) @ along.T for e in (0.2 * size, -0.2 * size)]
        return [stretch @ turn(rest[0] + 1, rest[1]) @ matrix for stretch in stretches], labels[-d:]
    if d == 3:
        matrix = by_quaternion(rest[0] + 1, *rest[1:]) @ matrix
    return [matrix], labels[-d:]


@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_move_to_where_the_labels_say(shape):
    """An image of its own coordinates shows where every number came from; between pixels it is linear."""
    sides = shape[:-1]
    places = coordinates(sides)
    x = np.broadcast_to(places, (20, *places.shape))
    found, labels = changed(Affine(probability=1.0), x)
    assert labels.shape == (20, Affine().count(shape)) and np.all(labels[:, len(sides) :] != 0)
    shift, ends, seen = 0.125 * np.array(sides[::-1]), (np.array(sides[::-1]) - 1) / 2, 0
    for came_from, label in zip(found, labels, strict=True):
        matrices, moved = said(label, sides)
        misses = []
        for matrix in matrices:
            wanted = (places - moved * shift) @ np.linalg.inv(matrix).T
            inside = np.all(np.abs(wanted) <= ends, axis=-1)
            misses.append(np.abs(came_from - wanted)[inside].max(initial=0.0))
        seen += inside.sum()
        assert min(misses) < 1e-4, label
    assert seen > 50


@pytest.mark.parametrize("shape", SHAPES)
def test_zeros_say_that_nothing_was_done_and_mirrors_keep_every_number(shape):
    x = np.random.default_rng(0).standard_normal((40, *shape)).astype(np.float32)
    found, labels = changed(Affine(probability=0.05), x)
    d = len(shape) - 1
    still = np.all(labels[:, d:] == 0, axis=1)
    assert still.sum() > 20 and 5 < np.all(labels[still] == 0, axis=1).sum() < 30
    for before, after, label in zip(x[still], found[still], labels[still], strict=True):
        flipped = np.flip(before, [d - 1 - i for i in range(d) if label[i]])
        assert np.array_equal(after, flipped)
    assert all(not np.array_equal(a, b) for a, b in zip(x[~still], found[~still], strict=True))


def test_every_change_has_its_probability():
    _, labels = changed(Affine(), jnp.zeros((4000, 2, 2, 1)))
    shares = np.mean(labels != 0, axis=0)
    np.testing.assert_allclose(shares, [0.5, 0.06, *[0.12] * 7], atol=0.025)


@pytest.mark.parametrize("axes", [None, (1,)])
def test_rolls_are_those_that_the_labels_say(axes):
    x = np.random.default_rng(0).standard_normal((12, 4, 6, 1)).astype(np.float32)
    rolls = Rolls(axes=axes, labeled=True)
    found, labels = changed(rolls, x)
    over = (0, 1) if axes is None else axes
    assert labels.shape == (12, rolls.count((4, 6, 1))) == (12, 2 * len(over))
    pairs = labels.reshape(12, len(over), 2) + np.array([1.0, 0.0])
    by = np.rint(np.arctan2(pairs[..., 1], pairs[..., 0]) / (2 * np.pi) * np.array([4, 6])[list(over)]).astype(int)
    assert np.ptp(by) > 2
    for before, after, how in zip(x, found, by, strict=True):
        assert np.array_equal(after, np.roll(before, tuple(how), over))


def test_what_has_no_sides_is_refused_and_without_labels_a_network_is_given_none():
    assert AUGMENTATIONS["none"]() is None
    assert Affine(labeled=False).count((4, 4, 1)) == 0 == Rolls().count((4, 4, 1))
    for augmentation in (Affine(), Affine(labeled=False), Rolls(), Rolls(axes=(2,))):
        with pytest.raises(ValueError, match="sides"):
            augmentation.count((4, 4, 1) if isinstance(augmentation, Rolls) and augmentation.axes else (5,))
