"""Arrays of the user's own as examples: gray levels `[N, H, W, C]`, or vectors `[N, D]`."""

from pathlib import Path

import numpy as np

AXES = ("NHWC", "NCHW")
_CHANNELS = (1, 2, 3, 4)  # as many an image may have; another length of an axis is one of pixels


def examples_of(where: Path, key: str, array: np.ndarray, axes: str | None) -> np.ndarray:
    """Return an array as uint8 images `[N, H, W, C]` or float32 vectors `[N, D]`.

    Raises:
        ValueError: neither of these, or images whose axes can be read in two ways; the message says what to do.
    """
    if axes not in (None, *AXES):
        raise ValueError(f"axes = {axes!r}; choose {' or '.join(AXES)}.")
    if array.dtype == bool and array.ndim in (3, 4):
        array = array.astype(np.uint8)
    if array.ndim and not len(array):
        raise ValueError(f"{where}: {key!r} has shape {array.shape}, no example at all.")
    if array.dtype == np.uint8 and array.ndim == 3:
        return array[..., None]
    if array.dtype == np.uint8 and array.ndim == 4:
        return array.transpose(0, 2, 3, 1) if (axes or _guess(where, key, array.shape)) == "NCHW" else array
    if array.dtype.kind == "f" and array.ndim == 2:
        with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and refused as such
            return array.astype(np.float32)
    raise ValueError(
        f"{where}: {key!r} is {array.dtype} of shape {array.shape}; wanted uint8 images [N, H, W] or [N, H, W, C], or "
        f"float vectors [N, D]{_hint(array)}."
    )


def _guess(where: Path, key: str, shape: tuple[int, ...]) -> str:
    """`NHWC`, unless the channels seem to come first, or may as well do so."""
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if not first:
        return "NHWC"
    _, a, b, c = shape
    readings = f"{a}x{b} pixels of {c} channels (NHWC) or {b}x{c} pixels of {a} channels (NCHW)"
    raise ValueError(
        f"{where}: {key!r} has shape {shape}: {readings}{'' if last else ', which is likelier'}; set data.axes to "
        f"{' or '.join(AXES)}."
    )


def _hint(array: np.ndarray) -> str:
    """What to do with an array that is of another kind."""
    kind, rank = array.dtype.kind, array.ndim
    if kind == "f":
        return {
            1: "; store x[:, None] for vectors of one number",
            4: "; images of floats become gray levels by np.round(255 * x).astype(np.uint8), if they lie in 0..1",
        }.get(rank, "")
    if kind in "iu" and rank == 2:
        return "; store x.astype(np.float32) for vectors, or x.reshape(len(x), H, W) as uint8 for images"
    if kind in "iu" and rank in (3, 4):
        return "; gray levels become uint8 by np.round(x * (255 / x.max())).astype(np.uint8)"
    return ""
