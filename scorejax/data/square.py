"""Images cut to a centered square and resized."""

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def check_sizes(size: int | None, crop: int | None) -> None:
    """Refuse sizes of squares that have no pixel."""
    for name, value in (("size", size), ("crop", crop)):
        if value is not None and value < 1:
            raise ValueError(f"{name} = {value}; it is a number of pixels, at least 1.")


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it is in memory already
        image = image.crop((left, top, left + side, top + side))
    return image if size in (None, side) else image.resize((size, size), Image.Resampling.LANCZOS)


def resized(array: np.ndarray, size: int | None, crop: int | None = None) -> np.ndarray:
    """Cut and resize a uint8 array `[H, W, C]` as `square` does."""
    if crop is None and (size is None or array.shape[:2] == (size, size)):
        return array
    from PIL import Image

    changed = np.asarray(square(Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array), size, crop))
    return changed if changed.ndim == 3 else changed[..., None]
