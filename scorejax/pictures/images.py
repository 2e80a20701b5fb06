"""PNG files of image grids and of sampling trajectories, with Pillow alone.

Images of one channel are gray, those of three are colors; of any other number of channels, each is shown in gray, one
to the right of the other.
"""

from pathlib import Path

import numpy as np

_PAPER = 255  # white margins
_SIGNATURE = "scorejax"  # key of a text in a PNG file
_TARGET = 64  # tiny images are enlarged to about this many pixels


def _check(images: np.ndarray, rank: int, shape: str) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != rank or not images.size:
        raise ValueError(
            f"images are {images.dtype} of shape {images.shape}; wanted a non-empty uint8 {shape} "
            "(scorejax.data.to_levels, then to_bytes, turn model space into these)."
        )
    if images.shape[-1] in (1, 3):
        return images
    return np.concatenate(np.split(images, images.shape[-1], axis=-1), axis=-2)


def grid(images: np.ndarray, columns: int | None = None, scale: int | None = None) -> np.ndarray:
    """Lay images out in rows on white paper.

    Args:
        images: uint8 `[N, H, W, C]` in 0..255.
        columns: images per row; None: about as many as rows.
        scale: each pixel becomes a square of this side; None: whole number that brings images to about 64 pixels.

    Returns:
        uint8 `[height, width, 1 or 3]`.
    """
    images = _check(images, 4, "[N, H, W, C]")
    count, high, wide, channels = images.shape
    across = min(count, columns or int(np.ceil(np.sqrt(count))))
    scale = scale or max(1, round(_TARGET / max(high, wide)))
    rows = -(-count // across)
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    margin = max(1, high * scale // 16)
    cell = (high * scale + margin, wide * scale + margin)
    page = np.full((rows * cell[0] + margin, across * cell[1] + margin, channels), _PAPER, np.uint8)
    for i, image in enumerate(large):
        top, left = margin + i // across * cell[0], margin + i % across * cell[1]
        page[top : top + high * scale, left : left + wide * scale] = image
    return page


def write_png(path: str | Path, page: np.ndarray) -> None:
    """Write uint8 `[H, W, 1]` or `[H, W, 3]` as PNG, making the folder if need be."""
    from PIL import Image

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(page[..., 0] if page.shape[-1] == 1 else page)
    picture.save(path, "png")


def sign(path: str | Path, text: str) -> None:
    """Write a text into a PNG file, such as the settings that it was drawn with; pictures look as before."""
    from PIL import Image, PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(_SIGNATURE, text)
    with Image.open(path) as picture:
        picture.load()
        picture.save(path, "png", pnginfo=chunks)


def signature(path: str | Path) -> str | None:
    """The text that `sign` wrote into a PNG file; None if there is none, or it is no picture."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.info.get(_SIGNATURE)
    except (OSError, ValueError, SyntaxError):
        return None


def save_grid(path: str | Path, images: np.ndarray, columns: int | None = None, scale: int | None = None) -> None:
    """Write a `grid` of images as PNG."""
    write_png(path, grid(images, columns, scale))


def save_trajectory(path: str | Path, frames: np.ndarray, scale: int | None = None) -> None:
    """Write a PNG of samples on their way from noise to data: a row for each sample, a column for each noise level.

    Args:
        path: file to write.
        frames: uint8 `[T, B, H, W, C]` in 0..255.
        scale: as in `grid`.
    """
    frames = _check(frames, 5, "[T, B, H, W, C]")
    rows = np.swapaxes(frames, 0, 1).reshape(-1, *frames.shape[2:])
    save_grid(path, rows, columns=len(frames), scale=scale)
