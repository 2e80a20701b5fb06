"""What a person sees in a viewer is what is loaded, or the file is refused by name."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from image_files import SIDES, chunk, exif, png, pnm, shown, tiff
from PIL import Image, ImageCms

import scorejax
from scorejax.data import given, load
from scorejax.data.picture import PictureError, pixels, read, suffixes
from scorejax.experiment.steering.measurement import file as mask_of_file

HIGH, WIDE = 4, 6
draw = np.random.default_rng(0).integers
DEEP = {depth: draw(0, 2**depth, (HIGH, WIDE, 4)) for depth in (1, 2, 4, 8, 16)}
for _numbers in DEEP.values():
    _numbers[0, 0], _numbers[0, 1] = 0, _numbers.max()  # the ends of the range are there
SMOOTH = np.add.outer(np.arange(16), 12 * np.arange(20)).astype(np.uint8)[..., None] + np.uint8([0, 5, 9])


def gray(depth):
    """Gray numbers, and the levels 0..255 that they stand for: round(255 v / (2^depth - 1))."""
    stored = DEEP[depth][..., 0]
    return stored, np.floor(255 * stored / (2**depth - 1) + 0.5).astype(np.uint8)[..., None]


def over(levels, alpha, background):
    """What is seen of levels `[H, W, C]` with `alpha [H, W]` in 0..1 before a plain background."""
    mixed = alpha[..., None] * levels.astype(float) + (1 - alpha[..., None]) * background
    return np.floor(mixed + 0.5).astype(np.uint8)


def saved(array, form, **how):
    out = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(out, form, **how)
    return out.getvalue()


BACKGROUNDS = {"white": 255, "black": 0, "gray": 128}
SEEN = {}  # name -> (content, what is seen [H, W, C], alpha, how far a lossy format may be from it)


def see(name, content, seen, alpha=None, within=0):
    SEEN[name] = (content, seen, alpha, within)


# ---- Depths and modes ------------------------------------------------------------------------------------------------
for depth in DEEP:
    see(f"gray-{depth}.png", png(gray(depth)[0], depth), gray(depth)[1])
for order in "<>":
    sixteen = gray(16)[0].astype(np.uint16)
    see(f"gray-16{order}.tif", tiff(sixteen, order), gray(16)[1])
    see(f"gray-32{order}.tif", tiff(sixteen.astype(np.int32), order), gray(16)[1])
    see(f"gray-8{order}.tif", tiff(gray(8)[0].astype(np.uint8), order), gray(8)[1])
COLOR = DEEP[8][..., :3].astype(np.uint8)
see("rgb-8.png", png(COLOR, 8, 2), COLOR)
see("rgb-16.png", png(DEEP[16][..., :3], 16, 2), (DEEP[16][..., :3] >> 8).astype(np.uint8))  # as the rule says
see("rgb-8.tif", tiff(COLOR), COLOR)
for order in "<>":
    deep = DEEP[16][..., :3].astype(np.uint16)
    see(f"rgb-16{order}.tif", tiff(deep, order), (deep >> 8).astype(np.uint8))
see("white-is-zero.tif", tiff(COLOR[..., 0], photometric=0), 255 - COLOR[..., :1])
see("gray-8.pgm", pnm(gray(8)[0], 255), gray(8)[1])
see("gray-16.pgm", pnm(gray(16)[0], 65535), gray(16)[1])
see("dark-16.pgm", pnm(np.minimum(gray(16)[0], 255), 65535), gray(16)[1] * 0, within=1)
see("dark-16.png", png(np.minimum(gray(16)[0], 255), 16), gray(16)[1] * 0, within=1)
see("black-32.tif", tiff(np.zeros((HIGH, WIDE), np.int32)), gray(16)[1] * 0)
see("rgb-8.ppm", pnm(COLOR, 255), COLOR)
PALETTE = draw(0, 256, (16, 3))
see(
    "palette.png", png(DEEP[4][..., 0], 4, 3, chunk(b"PLTE", bytes(PALETTE.ravel().tolist()))), PALETTE[DEEP[4][..., 0]]
)
see("bits.tif", saved(Image.fromarray(DEEP[1][..., 0].astype(bool)), "TIFF"), 255 * DEEP[1][..., :1])
for form in ("BMP", "TGA", "PCX", "JPEG2000"):
    see(f"rgb.{form}", saved(COLOR, form), COLOR)
see("rgb.webp", saved(COLOR, "WEBP", lossless=True), COLOR)
see("rgb.jpg", saved(SMOOTH, "JPEG", quality=100, subsampling=0), SMOOTH, within=3)
see("gray.jpg", saved(SMOOTH[..., 0], "JPEG", quality=100), SMOOTH[..., :1], within=3)
INK = DEEP[8].astype(np.uint8)
PRINTED = (255 - INK[..., :3].astype(float)) * (255 - INK[..., 3:]) / 255
see("cmyk.tif", saved(Image.fromarray(INK, "CMYK"), "TIFF"), PRINTED.astype(np.uint8), within=1)
see("ycbcr.tif", saved(Image.fromarray(SMOOTH).convert("YCbCr"), "TIFF"), SMOOTH, within=3)

# ---- Orientations ----------------------------------------------------------------------------------------------------
for o in SIDES:
    turned = shown(COLOR, o)
    see(f"turned-{o}.png", png(COLOR, 8, 2, chunk(b"eXIf", exif(o))), turned)
    see(f"turned-{o}-16.png", png(gray(16)[0], 16, 0, chunk(b"eXIf", exif(o, ">"))), shown(gray(16)[1], o))
    see(f"turned-{o}.tif", tiff(COLOR, orientation=o), turned)
    see(f"turned-{o}.webp", saved(COLOR, "WEBP", lossless=True, exif=exif(o)), turned)
    jpeg = saved(SMOOTH, "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0" + exif(o))
    see(f"turned-{o}.jpg", jpeg, shown(SMOOTH, o), within=3)

# ---- Alpha -----------------------------------------------------------------------------------------------------------
for name, background in BACKGROUNDS.items():
    for depth, right in ((8, 0), (16, 8)):
        eight = (DEEP[depth] >> right).astype(np.uint8)
        share = eight[..., 3] / 255
        see(f"rgba-{depth}-{name}.png", png(DEEP[depth], depth, 6), over(eight[..., :3], share, background), name)
        both = DEEP[depth][..., [0, 3]]
        see(f"la-{depth}-{name}.png", png(both, depth, 4), over(eight[..., :1], share, background), name)
    for depth in DEEP:
        stored, levels = gray(depth)
        key = chunk(b"tRNS", struct.pack(">H", int(stored[2, 2])))
        opaque = (stored != stored[2, 2]).astype(float)
        see(f"key-{depth}-{name}.png", png(stored, depth, 0, key), over(levels, opaque, background), name)
    key = chunk(b"tRNS", struct.pack(">HHH", *COLOR[1, 1].tolist()))
    opaque = (COLOR[1, 1] != COLOR).any(axis=-1).astype(float)
    see(f"key-rgb-{name}.png", png(COLOR, 8, 2, key), over(COLOR, opaque, background), name)
    shares = draw(0, 256, 16)
    chunks = chunk(b"PLTE", bytes(PALETTE.ravel().tolist())), chunk(b"tRNS", bytes(shares.tolist()))
    index = DEEP[4][..., 0]
    seen = over(PALETTE[index], shares[index] / 255, background)
    see(f"palette-alpha-{name}.png", png(index, 4, 3, *chunks), seen, name)
    rgba = DEEP[8].astype(np.uint8)
    seen = over(rgba[..., :3], rgba[..., 3] / 255, background)
    see(f"rgba-{name}.tif", tiff(rgba, extra=2), seen, name)
    gray_alpha = over(rgba[..., :1], rgba[..., 3] / 255, background)
    see(f"la-{name}.tif", tiff(rgba[..., [0, 3]], extra=2), gray_alpha, name)
    see(f"rgba-{name}.tga", saved(rgba, "TGA"), seen, name)
    see(f"rgba-{name}.webp", saved(rgba, "WEBP", lossless=True, exact=True), seen, name)
    holes = Image.fromarray(index.astype(np.uint8), "P")
    holes.putpalette(PALETTE.astype(np.uint8).tobytes())
    opaque = (index != 3).astype(float)
    see(f"gif-{name}.gif", saved(holes, "GIF", transparency=3), over(PALETTE[index], opaque, background), name)
OPAQUE = np.dstack([COLOR, np.full((HIGH, WIDE), 255, np.uint8)])
see("opaque.png", png(OPAQUE, 8, 6), COLOR)
see("opaque-white.png", png(OPAQUE, 8, 6), COLOR, "white")
see("keep-rgba.png", png(DEEP[8], 8, 6), DEEP[8].astype(np.uint8), "keep")
see("keep-la.png", png(DEEP[8][..., :2], 8, 4), DEEP[8][..., :2].astype(np.uint8), "keep")
see("keep-rgb.png", png(COLOR, 8, 2), OPAQUE, "keep")


def write(folder, name, content):
    file = folder / name
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("name", SEEN)
def test_what_a_person_sees_is_what_is_loaded(name, tmp_path):
    content, seen, alpha, within = SEEN[name]
    found = pixels(write(tmp_path, name, content), seen.shape[-1], alpha=alpha)
    assert found.dtype == np.uint8 and found.shape == seen.shape
    assert np.abs(found.astype(int) - seen).max() <= within


def several(form):
    return saved(COLOR, form, save_all=True, append_images=[Image.fromarray(255 - COLOR)])


def with_profile():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return saved(Image.fromarray(INK, "CMYK"), "JPEG", icc_profile=profile)


HUGE = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 6, 0, 0, 0))
REFUSED = {
    "float.tif": (tiff(np.float32(DEEP[8][..., 0])), "holds floating numbers"),
    "beyond.tif": (tiff(np.int32(65536 + DEEP[8][..., 0])), r"whole numbers from 65536 to .* in 0\.\.65535"),
    "negative.tif": (tiff(np.int32(DEEP[8][..., 0] - 300)), "whole numbers from -300"),
    **{
        f"dark-{kind}{order}.tif": (
            tiff(DEEP[8][..., 0].astype(kind), order),
            "holds whole numbers of 32 bits from 0 to 255, .* save it as gray of 8 or 16 bits",
        )
        for order, kind in (("<", "int32"), (">", "int32"), ("<", "uint32"))
    },
    "lab.tif": (saved(Image.new("LAB", (4, 4)), "TIFF"), "Lab colors"),
    "cmyk.jpg": (with_profile(), "CMYK colors with a profile of their own"),
    "five.tif": (tiff(draw(0, 256, (4, 4, 5)).astype(np.uint8), photometric=1), "no picture that can be read"),
    "transparent.png": (png(DEEP[8], 8, 6), "set data.alpha to one of white, black, gray, keep"),
    "key.png": (png(COLOR, 8, 2, chunk(b"tRNS", struct.pack(">HHH", *COLOR[0, 0].tolist()))), "data.alpha"),
    "several.gif": (several("GIF"), "holds 2 pictures; save each as a file of its own"),
    "several.png": (several("PNG"), "holds 2 pictures"),
    "several.tif": (several("TIFF"), "holds 2 pictures"),
    "several.webp": (several("WEBP"), "holds 2 pictures"),
    "huge.png": (HUGE + chunk(b"IEND", b""), "more than [0-9,]+ pixels"),
    "empty.png": (b"", "no picture"),
    "document.png": (b"%PDF-1.4\n", "no picture"),
    "drawing.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
    "text.jpg": (b"hello", "no picture"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_seen_in_one_way_is_refused_by_name(name, tmp_path):
    content, words = REFUSED[name]
    file = write(tmp_path, name, content)
    with pytest.raises(PictureError, match=words) as error:
        read(file)
    assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)


WHOLE = (
    "gray-16.png",
    "rgb-8.png",
    "palette.png",
    "rgb-8.tif",
    "rgb.jpg",
    "rgb.webp",
    "rgb.BMP",
    "gray-16.pgm",
    "rgb.TGA",
)


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_off_file_is_refused_by_name(name, tmp_path):
    content = SEEN[name][0]
    for cut in (1, 10, len(content) // 2, 2 * len(content) // 3):
        with pytest.raises(PictureError, match=f"{name} is "):
            read(write(tmp_path, name, content[:cut]))


@pytest.mark.parametrize("name", [*WHOLE, "gif-white.gif", "rgb.JPEG2000", "rgb.PCX", "turned-6.jpg", "rgba-white.tif"])
def test_a_damaged_file_is_read_or_refused_by_name(name, tmp_path):
    content, rng = SEEN[name][0], np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            read(write(tmp_path, name, bytes(damaged)), "white")
        except PictureError as error:
            assert name in str(error) and "\n" not in str(error)


def test_large_pictures_are_cut_and_resized_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15)
    file = write(tmp_path, "a.png", SEEN["rgb-8.png"][0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(pixels(file, 3, size=HIGH), COLOR[:, 1:5])
        assert pixels(file, 3, size=2).shape == (2, 2, 3)


def test_every_door_for_pictures_leads_through_the_reader(tmp_path, monkeypatch):
    """A folder of data, given images, a mask: each is upright and of the right depth."""
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        write(tmp_path / split, "a.png", SEEN["turned-6-16.png"][0])
    seen = SEEN["turned-6-16.png"][1]
    np.testing.assert_array_equal(load("folder", path=tmp_path, cache_dir=tmp_path / "c").examples[0], seen)
    np.testing.assert_array_equal(given(tmp_path / "test", seen.shape, 256, resize=False)[[0]][0], seen)
    transparent = tmp_path / "transparent"
    transparent.mkdir()
    write(transparent, "a.png", SEEN["rgba-8-black.png"][0])
    seen_on_black = given(transparent, (HIGH, WIDE, 3), 256, alpha="black", resize=False)[[0]][0]
    np.testing.assert_array_equal(seen_on_black, SEEN["rgba-8-black.png"][1])
    anew = mask_of_file(seen.shape, None, path=str(tmp_path / "test" / "a.png"))
    np.testing.assert_array_equal(anew, seen[..., 0] > 127)
    monkeypatch.setenv("HOME", str(tmp_path))
    np.testing.assert_array_equal(mask_of_file(seen.shape, None, path="~/test/a.png"), anew)
    with pytest.raises(ValueError, match=r"mask .*m\.png.* save it without transparency"):
        mask_of_file((HIGH, WIDE), None, path=str(write(tmp_path, "m.png", png(DEEP[8], 8, 6))))


def test_no_other_file_of_the_package_opens_pictures():
    root = Path(scorejax.__file__).parent
    opening = {f.relative_to(root).as_posix() for f in root.rglob("*.py") if "Image.open" in f.read_text()}
    assert opening == {"data/picture.py", "pictures/images.py"}  # the second reads the signature of its own pages


def test_programs_and_documents_are_no_pictures():
    assert not suffixes() & {".eps", ".ps", ".pdf", ".h5", ".hdf", ".mpg", ".wmf"}
    assert {".png", ".jpg", ".tif", ".webp", ".gif", ".bmp"} <= suffixes()


def test_unknown_rules_for_alpha_list_the_choices(tmp_path):
    with pytest.raises(ValueError, match="alpha = 'pink'; choose one of white, black, gray, keep"):
        read(write(tmp_path, "a.png", png(COLOR, 8, 2)), "pink")
