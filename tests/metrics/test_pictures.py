import numpy as np
import pytest
from PIL import Image

from scorejax.pictures import grid, save_grid, save_scatter, save_trajectory


def test_a_grid_shows_every_image_once_and_unchanged():
    images = np.random.default_rng(0).integers(0, 200, (7, 4, 6, 3), np.uint8)
    page = grid(images, columns=3, scale=2)
    margin = 1
    assert page.shape == (3 * (8 + margin) + margin, 3 * (12 + margin) + margin, 3)
    for i, image in enumerate(images):
        top, left = margin + i // 3 * (8 + margin), margin + i % 3 * (12 + margin)
        np.testing.assert_array_equal(page[top : top + 8 : 2, left : left + 12 : 2], image)
        np.testing.assert_array_equal(page[top + 1 : top + 8 : 2, left + 1 : left + 12 : 2], image)
    assert np.sum(page < 255) == 7 * 8 * 12 * 3


def test_tiny_images_are_enlarged_and_large_ones_are_not():
    for side, shown in ((8, 64), (28, 56), (32, 64), (256, 256)):
        margin = shown // 16
        assert grid(np.zeros((1, side, side, 1), np.uint8)).shape[0] == shown + 2 * margin


def test_png_files_hold_the_page(tmp_path):
    for channels in (1, 3):
        images = np.random.default_rng(0).integers(0, 256, (4, 5, 5, channels), np.uint8)
        save_grid(tmp_path / "new" / "a.png", images)
        read = np.asarray(Image.open(tmp_path / "new" / "a.png")).reshape(grid(images).shape)
        np.testing.assert_array_equal(read, grid(images))


def test_a_trajectory_has_a_row_per_sample_and_a_column_per_level(tmp_path):
    frames = np.arange(3 * 2, dtype=np.uint8).reshape(3, 2, 1, 1, 1) * np.ones((1, 1, 2, 2, 1), np.uint8)
    save_trajectory(tmp_path / "t.png", frames, scale=1)
    page = np.asarray(Image.open(tmp_path / "t.png"))
    np.testing.assert_array_equal(page[1::3, 1::3], [[0, 2, 4], [1, 3, 5]])


def test_a_scatter_plot_shows_both_sets_on_the_axes_of_the_data(tmp_path):
    data = np.random.default_rng(0).standard_normal((500, 2))
    samples = np.concatenate([data[:50], [[1e6, 0.0], [np.nan, 0.0]]])
    save_scatter(tmp_path / "s.png", data, samples, size=120)
    page = np.asarray(Image.open(tmp_path / "s.png")).astype(int)
    assert page.shape == (120 + 28 + 22, 2 * 120 + 42, 3)
    blue, orange = page[..., 2] - page[..., 0] > 30, page[..., 0] - page[..., 2] > 30
    assert blue[:, :148].any()
    assert orange[:, 148:].any()
    assert not blue[:, 148:].any()
    assert not orange[:, :148].any()


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 4, 4, 1)), np.zeros((4, 4, 1), np.uint8), np.zeros((1, 4, 4, 2), np.uint8)]
)
def test_arrays_that_are_not_images_are_refused_with_the_reason(tmp_path, bad):
    with pytest.raises(ValueError, match="to_levels, then to_bytes"):
        save_grid(tmp_path / "a.png", bad)
    with pytest.raises(ValueError, match="D >= 2"):
        save_scatter(tmp_path / "a.png", np.zeros((5, 1)), np.zeros((5, 2)))
