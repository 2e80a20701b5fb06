"""The one reader of image files: what a person sees in a viewer is what is loaded, or the file is refused by name.

A picture is turned as its file says (EXIF), brought to 8 bits for each channel, and freed of an alpha channel by the
rule `alpha`. Numbers are taken in the file's own color space: an embedded RGB or gray profile is not applied.
"""

import contextlib
import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from scorejax.data import notice
from scorejax.data.square import square

if TYPE_CHECKING:
    from PIL import Image

VERSION = 3  # of the rules of this file: what was decoded by others is decoded again
BACKGROUNDS = {"white": 255, "black": 0, "gray": 128}
Alpha: TypeAlias = Literal["white", "black", "gray", "keep"]
ALPHA = get_args(Alpha)
# Formats of Pillow that are no pictures to it (it only recognizes them), or programs that another program has to run.
_FOREIGN = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
_GRAY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_GRAY_ALPHA_16 = "LA;16B"  # of a PNG, which Pillow opens as RGBA
_KEY_UNITS = {"1": 255, "L;2": 85, "L;4": 17}  # the transparent gray of a PNG is counted in the levels of the file
_STILL = ("MPO", "PSD", "ICO", "ICNS")  # further frames are previews, layers or sizes of the one that a viewer shows


class PictureError(ValueError):
    """A file that holds no picture, or one whose look is not settled; the message names it."""

    def __init__(self, message: str) -> None:
        super().__init__(notice.readable(message))


@functools.cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in Image.ID if name not in _FOREIGN)


@functools.cache
def suffixes() -> frozenset[str]:
    """Return the suffixes of the image files that can be read, such as `.png`."""
    from PIL import Image

    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in _formats())


@contextlib.contextmanager
def opened(file: Path) -> "Iterator[Image.Image]":
    """Open a file; what a decoder says of it becomes one line with its name."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that play no part here
            with Image.open(file, formats=_formats()) as image:
                yield image
    except PictureError:
        raise
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{file} is no picture that can be read; remove it, or save it as PNG or JPEG.") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise PictureError(f"{file} has more than {most:,} pixels; store a smaller picture, or remove it.") from error
    # Decoders of some forty formats raise nearly anything on a damaged file.
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise PictureError(f"{file} is damaged or cannot be read: {said}; replace it, or remove it.") from error


def is_gray(file: Path) -> bool:
    """Return whether a picture is gray, with or without an alpha channel, by its header alone."""
    with opened(file) as image:
        return image.mode in _GRAY or stored_as(image) == _GRAY_ALPHA_16


def check_alpha(alpha: str | None) -> None:
    """Refuse a rule for transparent pixels that does not exist."""
    if alpha not in (None, *ALPHA):
        raise ValueError(f"alpha = {alpha!r}; choose one of {', '.join(ALPHA)}.")


def mention_depth(file: Path) -> None:
    """Say once for each folder how its 16-bit pictures are read, by the header of one of them."""
    with opened(file) as image:
        _mention_depth(file, image)


def read(file: Path, alpha: str | None = None, *, remedy: str = "set data.alpha to one of {}") -> "Image.Image":
    """Return the picture of a file as a viewer shows it: mode L or RGB, with the alpha of `keep` LA or RGBA.

    Args:
        file: of any format that Pillow decodes by itself.
        alpha: what becomes of pixels that are not opaque: `white`, `black` or `gray` shows through, or `keep`: alpha is
            one more channel; None: such a file is refused.
        remedy: what the message says to do about these, with `{}` for the choices.

    Raises:
        ValueError: no picture, a damaged or huge one, several in one file, or one of floating numbers, of whole numbers
            beyond 16 bits or of an unknown depth, or of colors that depend on a profile.
    """
    from PIL import ImageOps

    check_alpha(alpha)
    with opened(file) as image:
        check_frames(file, image)
        stored = stored_as(image)
        _mention_depth(file, image)
        image.load()
        if image.mode == "I" and ";16" not in stored and image.format != "PPM":  # whose header says the largest number
            _check_range(file, image)
        shown = _eight_bits(file, ImageOps.exif_transpose(image), stored)
    transparent = shown.mode in ("LA", "RGBA") and bool((np.asarray(shown.getchannel("A")) < 255).any())
    if alpha == "keep":
        return shown.convert("LA" if shown.mode in ("L", "LA") else "RGBA")
    if transparent and alpha is None:
        raise PictureError(
            f"{file} has transparent pixels, and what shows through them is not settled; "
            f"{remedy.format(', '.join(ALPHA))}."
        )
    return _over(shown, BACKGROUNDS[alpha]) if transparent and alpha else shown.convert(shown.mode.rstrip("A"))


def _mention_depth(file: Path, image: "Image.Image") -> None:
    if image.mode.startswith("I"):
        rule = "round(v * 255 / 65535)"
    elif ";16" in stored_as(image):
        rule = "the high byte of each channel"
    else:
        return
    notice.inform(f"16-bit pictures in {file.parent} are read as 8-bit ones, {rule}; data.depth=full keeps them")


def check_frames(file: Path, image: "Image.Image") -> None:
    """Refuse a file that holds several pictures."""
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format not in _STILL:
        raise PictureError(f"{file} holds {count} pictures; save each as a file of its own.")


def stored_as(image: "Image.Image") -> str:
    """Return how pixels lie in the file, such as RGB;16B, which the mode does not say; known until they are loaded."""
    tiles = getattr(image, "tile", ())
    return str(tiles[0][3]) if tiles else ""


def _eight_bits(file: Path, image: "Image.Image", stored: str) -> "Image.Image":
    """Convert any mode to L, LA, RGB or RGBA."""
    mode, key = image.mode, image.info.get("transparency")
    if mode.startswith("I"):
        return _scaled(file, image, key)
    if mode in ("F", "LAB") or (mode == "CMYK" and "icc_profile" in image.info):
        of = {"F": "floating numbers", "LAB": "Lab colors", "CMYK": "CMYK colors with a profile of their own"}[mode]
        do = "as gray of 8 or 16 bits, or set data.depth=full" if mode == "F" else "as RGB"
        raise PictureError(f"{file} holds {of}, for which there is no one way to show them; save it {do}.")
    if ";16" in stored and isinstance(key, tuple):
        image.info["transparency"] = tuple(channel >> 8 for channel in key)
    if mode in ("1", "L") and isinstance(key, int):
        gray = image.convert("L")
        return _with_alpha(gray, np.asarray(gray) != key * _KEY_UNITS.get(stored, 1))
    if mode in ("LA", "La"):
        return image.convert("LA")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if mode in ("1", "L") else "RGB")


def _check_range(file: Path, image: "Image.Image") -> None:
    """Refuse whole numbers of 32 bits that may well be the levels of 8 bits."""
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low >= 0 and 0 < high <= 255:
        raise PictureError(
            f"{file} holds whole numbers of 32 bits from {low} to {high}, which may be meant as "
            "gray of 8 bits or of 16; save it as gray of 8 or 16 bits."
        )


def _scaled(file: Path, image: "Image.Image", key: object) -> "Image.Image":
    """Bring gray of 16 bits to 8: round(v * 255 / 65535)."""
    from PIL import Image

    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise PictureError(
            f"{file} holds whole numbers from {low} to {high}; gray of 16 bits lies in 0..65535: scale it to that, or "
            "to 8 bits."
        )
    gray = Image.fromarray(np.round(values * (255 / 65535)).astype(np.uint8))
    return _with_alpha(gray, values != key) if isinstance(key, int) else gray


def _with_alpha(gray: "Image.Image", opaque: np.ndarray) -> "Image.Image":
    from PIL import Image

    return Image.merge("LA", (gray, Image.fromarray(opaque.astype(np.uint8) * 255)))


def _over(image: "Image.Image", background: int) -> "Image.Image":
    """Lay a picture on a plain background: round(a v + (1 - a) background), a in 0..1."""
    from PIL import Image

    array = np.asarray(image).astype(np.int32)
    value, alpha = array[..., :-1], array[..., -1:]
    mixed = (2 * (value * alpha + background * (255 - alpha)) + 255) // 510  # a half is rounded up
    return Image.fromarray(mixed.astype(np.uint8).squeeze(-1) if image.mode == "LA" else mixed.astype(np.uint8))


def pixels(
    file: Path, channels: int, *, size: int | None = None, crop: int | None = None, alpha: str | None = None
) -> np.ndarray:
    """Return the picture of a file as uint8 `[H, W, channels]`, cut and resized by `square`.

    One channel is gray, three are colors; one more is the alpha channel of `alpha="keep"`. Others stay as they are.
    """
    image = read(file, alpha)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(channels)
    if mode is not None and mode.endswith("A") == image.mode.endswith("A"):
        image = image.convert(mode)
    array = np.asarray(square(image, size, crop))
    return array if array.ndim == 3 else array[..., None]
