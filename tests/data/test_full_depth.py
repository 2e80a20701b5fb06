"""Pictures with their numbers as they are stored."""

import numpy as np
import pytest
from PIL import Image

from scorejax.data import Levels, load
from scorejax.data.full_depth import numbers

RAMP = (np.arange(16 * 12) * 341).astype(np.uint16).reshape(16, 12)  # 0 to 65131


def folder(tmp_path, **settings):
    return load("folder", path=tmp_path, depth="full", cache_dir=tmp_path.parent / "cache", **settings)


def test_a_ramp_of_16_bits_keeps_each_of_its_values(tmp_path):
    for i in range(20):
        Image.fromarray(RAMP).save(tmp_path / f"{i}.{('png', 'tif')[i % 2]}")
    found = folder(tmp_path)
    assert found.examples.dtype == np.uint16 and found.gray_levels is None and found.levels == Levels(0.0, 65536)
    np.testing.assert_array_equal(found.examples[0][..., 0], RAMP)
    assert folder(tmp_path, crop=4).shape == (4, 4, 1)
    np.testing.assert_array_equal(folder(tmp_path, crop=4).examples[0][..., 0], RAMP[6:10, 4:8])
    with pytest.raises(ValueError, match=r"is 16x12; pictures of full depth are cut by data\.crop, but not resized"):
        folder(tmp_path, size=8)


def test_floating_pictures_are_floating_numbers_and_those_of_8_bits_gray_levels(tmp_path):
    heights = np.float32(RAMP) / 7 - 1000
    Image.fromarray(heights).save(tmp_path / "a.tif")
    found = numbers(tmp_path / "a.tif")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[..., 0], heights)
    Image.fromarray(np.int32(RAMP) * 9).save(tmp_path / "b.tif")
    with pytest.raises(ValueError, match=r"b\.tif holds whole numbers from 0 to 586179; 0\.\.65535 are read"):
        numbers(tmp_path / "b.tif")
    colors = np.uint8(RAMP[..., None] // [256, 300, 400])
    Image.fromarray(colors).save(tmp_path / "c.png")
    np.testing.assert_array_equal(numbers(tmp_path / "c.png"), colors)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_of_16_bits_are_turned_as_those_of_8_bits_are(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(np.uint8(RAMP >> 8)).save(tmp_path / "b.png", exif=exif)
    deep, shown = numbers(tmp_path / "a.png"), numbers(tmp_path / "b.png")
    np.testing.assert_array_equal(deep >> 8, shown)


def test_colors_of_16_bits_and_many_channels_are_read_from_tiff_files(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    many = RAMP[..., None] // np.arange(1, 6, dtype=np.uint16)
    for name, array in (("five", many), ("rgb", many[..., :3]), ("bytes", np.uint8(many >> 8))):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, photometric="rgb", planarconfig="contig")
        found = numbers(tmp_path / f"{name}.tif")
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_pictures_that_differ_are_refused_by_both_names(tmp_path):
    for i in range(20):
        Image.fromarray(RAMP if i else RAMP[:9]).save(tmp_path / f"{i:02d}.png")
    with pytest.raises(ValueError, match=r"\d\d\.png is \d+x12x1 of uint16 .*, \d\d\.png is \d+x12x1 of uint16; bring"):
        folder(tmp_path, test_fraction=0.0)
    Image.fromarray(np.uint8(RAMP >> 8)).save(tmp_path / "00.png")
    with pytest.raises(ValueError, match=r"of uint8 .*is 16x12x1 of uint16"):
        folder(tmp_path, test_fraction=0.0)


def test_a_missing_library_is_named_with_the_file(tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", RAMP[..., None].repeat(3, -1), photometric="rgb")
    from scorejax.data import optional

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"a\.tif .* needs tifffile, which is not installed: pip install tifffile"):
        numbers(tmp_path / "a.tif")
