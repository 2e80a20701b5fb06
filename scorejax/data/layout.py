"""Arrays of the user's own as examples with the channels last, and of which kind they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scorejax.data import notice
from scorejax.data.dataset import RANKS
from scorejax.data.lazy import Converted, Examples

_SPACE = {"": "NC", "L": "NLC", "HW": "NHWC", "DHW": "NDHWC"}
"""The order in which examples are held, by their axes of space."""
_CHANNELS = (1, 2, 3, 4)  # as many an image may have; another length of an axis is one of pixels
_MOST_CHANNELS = 8  # of a series, a field or a volume whose axes are guessed
_BITS = "biuf"


def examples_of(where: Path | str, key: str, array: Examples, axes: str | None) -> Examples:
    """Return an array as examples: `[N, D]`, `[N, L, C]`, `[N, H, W, C]` or `[N, D, H, W, C]`, a view where it can be.

    What is bool becomes uint8. Without `axes`, three axes are those of a series `NLC`, and of uint8, uint16 or bool
    those of images `NHW`.

    Args:
        where: the file, for messages.
        key: the name of the array in it.
        array: the array.
        axes: the order of its axes, such as `NCHW` or `NHW`; None: guessed where there is but one reading.

    Raises:
        ValueError: no such array, or axes that can be read in two ways; the message says what to do.
    """
    _check(where, key, array)
    order = checked(axes, f"{where}: {key!r} of shape {tuple(array.shape)}", len(array.shape))
    order = _guess(where, key, array) if order is None else order
    space = "".join(axis for axis in order if axis not in "NC")
    held = _SPACE["".join(sorted(space, key="DHWL".index))]
    added = "C" not in order
    perm = tuple((order + "C" * added).index(axis) for axis in held)

    def view(block: np.ndarray) -> np.ndarray:
        block = block.view(np.uint8) if block.dtype == bool else block
        block = block if block.dtype.isnative else block.astype(block.dtype.newbyteorder("="))
        return (block[..., None] if added else block).transpose(perm)

    plain = not added and perm == tuple(range(len(perm))) and array.dtype != bool and array.dtype.isnative
    if plain:
        return array
    moved = perm[0] != 0
    if isinstance(array, np.ndarray):
        return view(array)
    if moved:
        raise ValueError(f"{where}: {key!r} is read row by row, so that its axes begin with N, got data.axes={axes}.")
    return Converted(array, view)


def checked(axes: str | None, what: str, rank: int | None = None) -> str | None:
    """Return the axes in capitals.

    Raises:
        ValueError: no axes of examples, or another number of them than an array has.
    """
    if axes is None:
        return None
    order = axes.upper()
    space = "".join(sorted(order.replace("N", "").replace("C", ""), key="DHWL".find))
    names = {each: order.count(each) for each in order}
    if set(names.values()) != {1} or "N" not in names or space not in _SPACE or (not space and "C" not in names):
        raise ValueError(
            f"axes = {axes!r}; write N for examples, C for channels, and L, HW or DHW for space in their order, such "
            "as NHWC, NCHW, NHW, NLC, NCL, NDHWC, NCDHW or NC."
        )
    if rank is not None and len(order) != rank:
        raise ValueError(f"{what} has {rank} axes, data.axes={axes} names {len(order)}; name each of them.")
    return order


def _check(where: Path | str, key: str, array: Examples) -> None:
    """Refuse what holds no examples of real numbers."""
    kind, shape = array.dtype.kind, tuple(array.shape)
    got = f"{where}: {key!r} is {array.dtype} of shape {shape}"
    if kind not in _BITS:
        do = {
            "c": "store its real and its imaginary part as two channels, by np.stack([x.real, x.imag], -1)",
            "M": "store times as numbers since a beginning",
            "m": "store durations as numbers",
            "O": "store numbers, by np.asarray(x, np.float32)",
        }.get(kind, "texts are no examples, though they may be labels; store numbers")
        raise ValueError(f"{got}; examples are real numbers: {do}.")
    if shape and not shape[0]:
        raise ValueError(f"{where}: {key!r} has shape {shape}, no example at all.")
    if array.dtype.itemsize > 8:
        raise ValueError(f"{got}; store x.astype(np.float64).")
    if not 2 <= len(shape) <= 5 or 0 in shape:
        do = {1: "; store x[:, None] for a table of one column", 0: "; store an array of examples"}.get(
            len(shape), "; give fewer axes, for instance by x.reshape" if 0 not in shape else ""
        )
        raise ValueError(f"{got}; wanted {RANKS}{do}.")


def _guess(where: Path | str, key: str, array: Examples) -> str:
    """The axes of an array that says nothing of them."""
    rank, shape = len(array.shape), tuple(array.shape)
    counted = array.dtype in (np.uint8, np.uint16, np.bool_)
    if rank == 3 and counted:
        if array.dtype == np.uint16:
            notice.inform(f"{where}: {key!r} is read as images of one channel (NHW); a series is data.axes=NLC")
        return "NHW"
    order = {2: "NC", 3: "NLC", 4: "NHWC", 5: "NDHWC"}[rank]
    if rank == 2:
        return order
    first, last = shape[1], shape[-1]
    if rank == 4 and array.dtype in (np.uint8, np.bool_):
        doubtful, likelier = first in _CHANNELS, last not in _CHANNELS
    else:
        # Channels are few, and places many: the other way round is worth a question.
        doubtful = first <= _MOST_CHANNELS and first < last
        likelier = last > _MOST_CHANNELS
    if not doubtful:
        return order
    other = f"NC{order[1:-1]}"
    raise ValueError(
        f"{where}: {key!r} has shape {shape}: {_reading(shape, order)} ({order}) or {_reading(shape, other)} ({other})"
        f"{', which is likelier' if likelier else ''}; set data.axes to {order} or {other}."
    )


def _reading(shape: tuple[int, ...], order: str) -> str:
    """An example of this shape in words."""
    sides = "x".join(str(shape[order.index(axis)]) for axis in order if axis not in "NC")
    what = {3: "steps", 4: "pixels", 5: "voxels"}[len(order)]
    return f"{sides} {what} of {shape[order.index('C')]} channels"
