"""Images that somebody hands over: all of a folder or of an `.npz` file, in the shape and gray levels of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scorejax.data import notice
from scorejax.data.batch import from_bytes
from scorejax.data.cache import fingerprint
from scorejax.data.layout import examples_of
from scorejax.data.picture import pixels
from scorejax.data.walk import TEST, images_in, splits_of
from scorejax.numerics import array_files


class Files:
    """Image files as an array `[N, H, W, C]` of gray levels, each read when it is asked for.

    Attributes:
        shape: of the array.
        names: of the files, relative to their folder.
    """

    def __init__(
        self,
        root: Path,
        shape: tuple[int, ...],
        gray_levels: int,
        crop: int | None,
        resize: bool,
        alpha: str | None = None,
    ) -> None:
        files = images_in(root)
        if not files:
            raise FileNotFoundError(f"no image that can be read lies under {root}.")
        # like the data: the largest centered square, or the one asked for, resized
        self._fit = {"size": shape[1] if shape[0] == shape[1] else None, "crop": crop} if resize else {}
        self._files, self._gray_levels, self._alpha = files, gray_levels, alpha
        self.shape = (len(files), *shape)
        self.names = [notice.readable(file.relative_to(root).as_posix()) for file in files]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray:
        return np.stack([self._read(self._files[i]) for i in np.asarray(index)])

    def _read(self, file: Path) -> np.ndarray:
        array = pixels(file, self.shape[-1], **self._fit, alpha=self._alpha)
        if array.shape != self.shape[1:]:
            got, wanted = ("x".join(map(str, shape)) for shape in (array.shape, self.shape[1:]))
            raise ValueError(f"{file} is {got} (height, width, channels); images of {wanted} are needed here.")
        return from_bytes(array, self._gray_levels)


def given(
    path: str | Path,
    shape: tuple[int, ...],
    gray_levels: int,
    *,
    crop: int | None = None,
    alpha: str | None = None,
    resize: bool = True,
) -> Files | np.ndarray:
    """Return the images at a path, as gray levels `[N, H, W, C]`.

    Args:
        path: a folder, whose images are all read in the order of their names; or an `.npz` file, whose `x`
            (or `test`, or only array) holds gray levels in this very shape, or with channels first.
        shape: `(H, W, C)` of the model's images; those of a folder are cut to a square and resized to it, made gray or
            colored.
        gray_levels: the model's number of gray levels.
        crop: side of the centered square to cut first, as for data.
        alpha: what becomes of pixels that are not opaque, as for data.
        resize: whether files of another size are cut and resized; if not, they are refused.

    Raises:
        FileNotFoundError: nothing there, or no image.
        ValueError: arrays of another shape, type or range; on reading, files of another size that may not be resized,
            or that would not become a square.
    """
    where = Path(path).expanduser()
    if where.is_dir():
        return Files(where, shape, gray_levels, crop, resize, alpha)
    if where.suffix.lower() not in array_files.SUFFIXES or not where.is_file():
        raise FileNotFoundError(f"{str(where)!r} is neither a folder of images nor an .npz or .npy file.")
    key = _key(where, list(array_files.headers(where)))
    stored = array_files.read(where, (key,))[key]
    high, wide, channels = shape
    first = stored.shape[1:] == (channels, high, wide) and stored.shape[1:] != tuple(shape)
    x = np.asarray(examples_of(where, key, stored, ("NCHW" if first else "NHWC") if stored.ndim == 4 else None))
    if x.shape[1:] != tuple(shape) or x.dtype != np.uint8:
        raise ValueError(
            f"{where}: {key!r} is {x.dtype} of shape {x.shape}; wanted uint8 images of shape {high}x{wide}x{channels}."
        )
    if stored.dtype == bool:  # black and white
        x = x * np.uint8(gray_levels - 1)
    if x.max() >= gray_levels:
        raise ValueError(
            f"{where}: a pixel is {x.max()}; with {gray_levels} gray levels the largest is {gray_levels - 1}."
        )
    return x


def _key(where: Path, names: Sequence[str]) -> str:
    """The key of the images: `x`, the test split, or the only one there."""
    key = "x" if "x" in names else splits_of(names).get("test")
    key = key or next((name for name in names if name.lower() in TEST), None)
    if key is None and len(names) != 1:
        raise ValueError(f"{where} holds {sorted(names)}; wanted 'x', the images.")
    return key or names[0]


def stamp(path: str | Path) -> str:
    """Return sixteen hexadecimal digits that change when a file at or under the path does."""
    where = Path(path).expanduser()
    return fingerprint(sorted(p for p in where.rglob("*") if p.is_file()) if where.is_dir() else [where], ())
