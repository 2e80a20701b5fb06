"""Arrays of the user's own, in one `.npz` or `.npy` file."""

from pathlib import Path

from scorejax.data.arrays import Fraction, GrayCount, HeldOut, Reading, find_keys, read_split
from scorejax.data.dataset import Dataset
from scorejax.data.missing import Missing
from scorejax.numerics import array_files
from scorejax.numerics.ranges import Positive


def npz(
    split: str,
    *,
    path: str | Path,
    axes: str | None = None,
    gray_levels: GrayCount | None = None,
    quantum: Positive | None = None,
    groups: str | None = None,
    held_out: HeldOut = "every",
    test_fraction: Fraction = 0.1,
    missing: Missing = "refuse",
) -> Dataset:
    """Read tables `[N, D]`, series `[N, L, C]`, images `[N, H, W, C]` or volumes from an `.npz` or `.npy` file.

    Numbers are of any real type. Bytes (uint8) and bools of three axes or more are gray levels, other integers are
    counted numbers, and floating numbers are densities. Labels are classes, whole numbers or texts `[N]`, or
    embeddings, floats `[N, D]` or `[N, L, D]`, of texts for instance. Several conditions at once are arrays
    `condition.NAME`.

    Keys: `train` and `test` (with `train_labels`, `test_labels`), or `x` (with `labels`). Every k-th example of
    `x`, `k = round(1 / test_fraction)`, belongs to the test split. Keys for validation, such as `val`, serve as for
    folders. An `.npy` file holds `x` alone. Large arrays that are not compressed are read from the file as they are
    needed.

    Args:
        split: "train" or "test", or a key of validation examples.
        path: the file.
        axes: order of the axes, such as `NCHW`, `NHW`, `NCL` or `NCDHW`; None: channels last, where nothing speaks for
            the other.
        gray_levels: number of gray levels of images of bytes; None: 2 if the largest value is 1, else 256.
        quantum: distance between neighboring values of floating numbers that are counted; None: they are densities.
        groups: the key of an array `[N]` next to `x`; examples of one group stay in one split.
        held_out: which of `x` is the test split: `every` k-th example or group, or the `last` ones.
        test_fraction: share of the test split where the file has none of its own.
        missing: what NaN in examples is: a mistake (refuse), or a number that is missing (nan).

    Raises:
        FileNotFoundError: no such file.
        ValueError: missing keys, a damaged file, arrays that are no examples, numbers that are not finite, or labels
            that do not fit; the message names the file and the key.
    """
    where = Path(path).expanduser()
    if where.is_file() and where.suffix.lower() not in array_files.SUFFIXES:
        raise ValueError(
            f"path = {str(where)!r} is no .npz or .npy file; data=csv, data=hdf5 and data=zarr read other files, or "
            "write it by np.savez('data.npz', x=array)."
        )
    keys = find_keys(where, list(array_files.headers(where)), groups)
    wanted = keys.read() | ({groups} if groups else set())
    stored = array_files.mapped(where, wanted)
    how = Reading(axes, gray_levels, quantum, groups, held_out, test_fraction, missing == "nan")
    return read_split(where, where.stem, split, stored, keys, how, "npz")
