"""Pillow image -> uint8 array of one size."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def square(image: "Image.Image", size: int | None, crop: int | None = None) -> "Image.Image":
    """Cut a centered square, resize it (Lanczos, antialiased) to `size` pixels.

    The square is the largest one, or `crop` pixels wide where the image is larger than that. An image is left as
    it is where both are None, and only cut where `size` is.
    """
    from PIL import Image

    if size is None and crop is None:
        return image
    side = min(*image.size, crop or max(image.size))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cut first: resize(box=...) would let the filter reach beyond the square.
    image = image.crop((left, top, left + side, top + side))
    return image if size in (None, side) else image.resize((size, size), Image.Resampling.LANCZOS)


def pixels(image: "Image.Image", size: int | None = None, crop: int | None = None, *, gray: bool = False) -> np.ndarray:
    """Return a Pillow image of any mode as uint8 `[H, W, 1]` (`gray`) or `[H, W, 3]`, through `square`."""
    array = np.asarray(square(image.convert("L" if gray else "RGB"), size, crop), np.uint8)
    return array[..., None] if gray else array


def resized(array: np.ndarray, size: int | None, crop: int | None = None) -> np.ndarray:
    """Cut and resize a uint8 array `[H, W, C]` as `square` does."""
    if crop is None and (size is None or array.shape[:2] == (size, size)):
        return array
    from PIL import Image

    gray = array.shape[-1] == 1
    return pixels(Image.fromarray(array[..., 0] if gray else array), size, crop, gray=gray)
