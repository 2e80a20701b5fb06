"""Pictures with their numbers as they are stored: 8 or 16 bits or floating, with any number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scorejax.data import picture
from scorejax.data.cache import Allocate
from scorejax.data.notice import readable
from scorejax.data.optional import needed
from scorejax.data.picture import PictureError

_TIFF = (".tif", ".tiff")
# How rows and columns of a stored picture become those of the one that is shown, by its EXIF orientation.
_TURNED = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x[:, ::-1].swapaxes(0, 1),
}
_ORIENTATION = 0x0112


def numbers(file: Path, alpha: str | None = None) -> np.ndarray:
    """Return the picture of a file `[H, W, C]`, uint8, uint16 or float32, turned as its EXIF tag says.

    Pictures of 8 bits are read by `picture.read`; of others alpha is a channel like any.

    Raises:
        ValueError: a file that cannot be read at full depth, by its name.
    """
    if file.suffix.lower() in _TIFF and _is_deep_tiff(file):
        found, orientation = _tiff(file)
    else:
        with picture.opened(file) as image:
            mode, stored = image.mode, picture.stored_as(image)
            if ";16" not in stored and not mode.startswith(("I", "F")):
                shown = np.asarray(picture.read(file, alpha))
                return shown if shown.ndim == 3 else shown[..., None]
            if not mode.startswith(("I", "F")):
                raise PictureError(
                    f"{file} holds colors of 16 bits, of which only TIFF files are read in full; save it so."
                )
            picture.check_frames(file, image)
            found, orientation = np.asarray(image), image.getexif().get(_ORIENTATION, 1)
    turn = _TURNED.get(orientation)
    found = found if found.ndim == 3 else found[..., None]
    return _typed(file, found if turn is None else turn(found))


def _is_deep_tiff(file: Path) -> bool:
    """Whether a TIFF holds what Pillow does not read in full: several channels of 16 bits, or more than four."""
    try:
        with picture.opened(file) as image:
            samples = int(getattr(image, "tag_v2", {}).get(277, len(image.getbands())))
            return samples > 4 or (samples > 1 and ";16" in picture.stored_as(image))
    except PictureError:  # of which Pillow makes nothing
        return True


def read_all(
    allocate: Allocate,
    files: Sequence[Path],
    of_one_kind: Sequence[Path],
    size: int | None,
    crop: int | None,
    alpha: str | None,
    where: Path,
) -> None:
    """Read pictures of one size, type and number of channels into a new array `[N, H, W, C]`.

    Raises:
        ValueError: two that differ, by their names, or a size to which they would have to be resized.
    """
    out, first = None, files[0]
    for i, file in enumerate(files):
        array = _cut(numbers(file, alpha), crop)
        if size is not None and array.shape[:2] != (size, size):
            raise ValueError(
                f"{file} is {array.shape[0]}x{array.shape[1]}; pictures of full depth are cut by data.crop, but not "
                f"resized: bring them to {size}x{size}, or set data.depth=8."
            )
        out = allocate((len(files), *array.shape), array.dtype) if out is None else out
        if (array.shape, array.dtype) != (out.shape[1:], out.dtype):
            shown = [f"{'x'.join(map(str, a.shape[-3:]))} of {a.dtype}" for a in (out, array)]
            raise ValueError(
                f"the pictures under {where} differ: {readable(first.name)} is {shown[0]} (height, width, channels), "
                f"{readable(file.name)} is {shown[1]}; bring them to one size, depth and number of channels."
            )
        out[i] = array


def _tiff(file: Path) -> tuple[np.ndarray, int]:
    """The one picture of a TIFF, and its orientation."""
    library = needed("tifffile", f"{file} (16 bits or more than 4 channels)", "tiff")
    try:
        with library.TiffFile(file) as tiff:
            count, page = len(tiff.pages), tiff.pages[0]
            found, tag = np.asarray(page.asarray()), page.tags.get(_ORIENTATION)
    except Exception as error:  # decoders raise errors of all kinds
        raise PictureError(f"{file} is damaged or cannot be read: {' '.join(str(error).split())}.") from error
    if count > 1 or found.ndim not in (2, 3):
        raise PictureError(f"{file} holds {count} pictures, the first of shape {found.shape}; one [H, W, C] is wanted.")
    if found.ndim == 3 and getattr(page, "planarconfig", 1) == 2:  # channels one after the other
        found = np.moveaxis(found, 0, -1)
    return found, 1 if tag is None else int(tag.value)


def _typed(file: Path, array: np.ndarray) -> np.ndarray:
    """The array as uint8, uint16 or float32."""
    kind = array.dtype
    if kind.kind == "f":
        return array.astype(np.float32)
    if kind in (np.uint8, np.uint16):
        return array.astype(kind.newbyteorder("="))
    low, high = int(array.min()), int(array.max())
    if 0 <= low <= high < 2**16:
        return array.astype(np.uint16)
    raise PictureError(f"{file} holds whole numbers from {low} to {high}; 0..65535 are read, or floating numbers.")


def _cut(array: np.ndarray, crop: int | None) -> np.ndarray:
    """The centered square of so many pixels, where the picture is larger."""
    if crop is None:
        return array
    side = min(*array.shape[:2], crop)
    top, left = ((length - side) // 2 for length in array.shape[:2])
    return array[top : top + side, left : left + side]
