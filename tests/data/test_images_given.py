"""Images that somebody hands over in a file: read like data, or refused with what was wanted."""

import numpy as np
import pytest

from scorejax.data import given

N = 40
draw = np.random.default_rng(0)
COLORS = draw.integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)
IMAGES, VECTORS = COLORS[..., 0], draw.normal(size=(N, 2))

GIVEN = {  # name -> (arrays, images)
    "x": ({"x": COLORS, "test": COLORS[:3]}, COLORS),
    "test": ({"test": COLORS[:3], "train": COLORS}, COLORS[:3]),
    "validation": ({"train": COLORS, "val": COLORS[:5]}, COLORS[:5]),
    "testing": ({"Testing": COLORS[:5]}, COLORS[:5]),
    "train alone": ({"train": COLORS}, COLORS),
    "channels first": ({"x": COLORS.transpose(0, 3, 1, 2)}, COLORS),
}


@pytest.mark.parametrize("name", GIVEN)
def test_images_are_handed_over_as_data_are_stored(name, tmp_path):
    stored, images = GIVEN[name]
    np.savez(tmp_path / "a.npz", **stored)
    (tmp_path / "a.npz").rename(tmp_path / "A.NPZ")
    np.testing.assert_array_equal(given(tmp_path / "A.NPZ", (6, 5, 3), 256), images)


def test_bits_are_handed_over_as_black_and_white(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES > 127)
    for levels in (2, 17, 256):
        found = given(tmp_path / "a.npz", (6, 5, 1), levels)[..., 0]
        np.testing.assert_array_equal(found, np.where(IMAGES > 127, levels - 1, 0))


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"x": IMAGES}, r"'x' is uint8 of shape \(40, 6, 5, 1\); wanted uint8 images of shape 6x5x3"),
        ({"x": COLORS / 255}, r"'x' is float64 of shape .*; wanted uint8 images of shape 6x5x3"),
        ({"x": VECTORS}, r"'x' is float64 of shape \(40, 2\); wanted uint8 images of shape 6x5x3"),
        ({"x": COLORS[:0]}, "no example at all"),
        ({"a": COLORS, "b": COLORS}, r"holds \['a', 'b'\]; wanted 'x', the images"),
        ({"x": COLORS[..., ::-1] // 8}, "a pixel is 31; with 17 gray levels the largest is 16"),
    ],
)
def test_arrays_that_do_not_fit_are_not_handed_over(stored, words, tmp_path):
    np.savez(tmp_path / "a.npz", **stored)
    with pytest.raises(ValueError, match=words):
        given(tmp_path / "a.npz", (6, 5, 3), 17)
