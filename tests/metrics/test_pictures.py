import numpy as np
import pytest
from PIL import Image

from scorejax.pictures import grid, save_examples, save_grid, save_scatter, save_trajectory


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


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_other_channels_are_shown_in_gray_next_to_each_other(tmp_path, channels):
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, channels), np.uint8)
    apart = np.concatenate([images[..., [c]] for c in range(channels)], axis=2)
    np.testing.assert_array_equal(grid(images, scale=1), grid(apart, scale=1))
    save_trajectory(tmp_path / "t.png", images[None])
    assert Image.open(tmp_path / "t.png").mode == "L"


def colored(page, width):
    """How many blue and how many orange pixels the left and the right two fifths of a page have."""
    page = page[..., :3].astype(int)
    masks = page[..., 2] - page[..., 0] > 30, page[..., 0] - page[..., 2] > 30
    return [
        [int(mask[:, half].sum()) for half in (slice(0, 2 * width // 5), slice(3 * width // 5, None))] for mask in masks
    ]


SHIFT = np.random.default_rng(1).standard_normal((300, 4)) * [1e4, 1e-5, 1.0, 0.0] + [0, 5, 1000, 3]


@pytest.mark.parametrize(("numbers", "rows"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_vectors_are_pictured_with_data_on_the_left_and_samples_on_the_right(tmp_path, numbers, rows):
    """In any units, and if a column is constant or samples are not finite."""
    data = SHIFT[:, :numbers]
    samples = np.concatenate([data[:50], np.full((1, numbers), 1e9), np.full((1, numbers), np.nan)])
    save_scatter(tmp_path / "s.png", data, samples, size=200)
    page = np.asarray(Image.open(tmp_path / "s.png"))
    assert page.shape[:2] == (rows * 200, 400)
    (blue, stray), (none, orange) = colored(page, 400)
    assert min(blue, orange) > 20 and max(stray, none) == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("columns", [[3], [0, 3], [3, 3], [3, 0, 1]])
def test_a_constant_column_lies_in_the_middle_of_its_axis(tmp_path, columns):
    save_scatter(tmp_path / "s.png", SHIFT[:, columns], SHIFT[:40, columns], size=200)
    (blue, _), (_, orange) = colored(np.asarray(Image.open(tmp_path / "s.png")), 400)
    assert min(blue, orange) > 5


def test_axes_have_names_numbers_and_counts(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    data = SHIFT[:, :3]
    save_scatter(tmp_path / "s.png", data, np.concatenate([data[:50], [[np.nan, 0, 0]]]))
    panels = drawn[0].axes
    assert [axes.get_xlabel() for axes in panels] == [f"column {i}" for i in (0, 0, 0, 0, 1, 1)]
    assert [axes.get_ylabel() for axes in panels[::2]] == [f"column {i}" for i in (1, 2, 2)]
    assert panels[0].get_title() == "data, 300 points" and "51 points,\n1 of them outside" in panels[1].get_title()
    for left, right in zip(panels[::2], panels[1::2], strict=True):
        assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
        assert len(left.get_xticks()) > 2
    low, high = panels[0].get_ylim()
    assert low < np.quantile(data[:, 1], 0.01) and high > np.quantile(data[:, 1], 0.99)
    assert high - low < 3 * np.ptp(data[:, 1])  # the unit of one column does not flatten another


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 4, 4, 1)), np.zeros((4, 4, 1), np.uint8), np.zeros((0, 4, 4, 2), np.uint8)]
)
def test_arrays_that_are_not_images_are_refused_with_the_reason(tmp_path, bad):
    with pytest.raises(ValueError, match="to_levels, then to_bytes"):
        save_grid(tmp_path / "a.png", bad)
    with pytest.raises(ValueError, match="D the same for both"):
        save_scatter(tmp_path / "a.png", np.zeros((5, 1)), np.zeros((5, 2)))


KINDS = [(9,), (1, 1), (30, 2), (1, 30, 2), (4, 4, 9), (2, 1, 6, 2)]


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", KINDS, ids=str)
def test_every_kind_of_example_has_a_picture(tmp_path, shape):
    """Whole numbers, a single sample, values that are not finite: nothing is raised after a long training."""
    data = np.random.default_rng(0).integers(0, 1000, (5, *shape))
    wild = data[:2].astype(float)
    wild.flat[0], wild.flat[-1] = np.nan, np.inf
    # a table of NaN alone has no window
    for x, y in ((data, data[:1]), (data if len(shape) == 1 else np.full_like(wild, np.nan), wild)):
        save_examples(tmp_path / "a.png", x, y)
        with Image.open(tmp_path / "a.png") as picture:
            assert min(picture.size) > 50
    with pytest.raises(ValueError, match="of one shape"):
        save_examples(tmp_path / "a.png", data, data[..., None])
