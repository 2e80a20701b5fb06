"""Arrays of the user's own, in one `.npz` or `.npy` file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from scorejax.data import notice
from scorejax.data.dataset import Dataset, check_split
from scorejax.data.finite import not_finite
from scorejax.data.labels import Labels, read_labels
from scorejax.data.layout import examples_of
from scorejax.data.rounding import lost
from scorejax.data.walk import TEST, splits_of
from scorejax.numerics import array_files


def npz(
    split: str,
    *,
    path: str | Path,
    gray_levels: Annotated[int, Interval(ge=2, le=256)] | None = None,
    axes: Literal["NHWC", "NCHW"] | None = None,
    test_fraction: Annotated[float, Interval(gt=0, le=0.5)] = 0.1,
) -> Dataset:
    """Read uint8 images `[N, H, W]` or `[N, H, W, C]`, or float vectors `[N, D]`, from an `.npz` or `.npy` file.

    Labels are classes, whole numbers or texts `[N]`, or embeddings, floats `[N, D]` or `[N, L, D]`, of texts for
    instance.

    Keys: `train` and `test` (with `train_labels`, `test_labels`), or `x` (with `labels`). Every k-th example of
    `x`, `k = round(1 / test_fraction)`, belongs to the test split. Keys for validation, such as `val`, serve as for
    folders. An `.npy` file holds `x` alone.

    Args:
        split: "train" or "test", or a key of validation examples.
        path: the file.
        gray_levels: number of gray levels of its images, which vectors have none of; None: 2 if the largest value is
            1, else 256.
        axes: order of the axes of images with channels, `NHWC` or `NCHW`; None: `NHWC`, where nothing speaks for the
            other.
        test_fraction: share of the test split where the file has none of its own.

    Raises:
        FileNotFoundError: no such file.
        ValueError: missing keys, a damaged file, arrays that are neither images nor vectors, numbers that are not
            finite or that float32 cannot tell apart, or labels that do not fit; the message names the file and the key.
    """
    where = Path(path).expanduser()
    if where.is_file() and where.suffix.lower() not in array_files.SUFFIXES:
        raise ValueError(
            f"path = {str(where)!r} is no .npz or .npy file; read it into a numpy array by a library for such files, "
            "and write it by np.savez('data.npz', x=array)."
        )
    keys, label_keys = _keys(where, list(array_files.headers(where)))
    check_split("npz", split, tuple(keys))
    own_splits = len(set(keys.values())) > 1
    stored = array_files.read(where, {*keys.values(), *label_keys.values()})
    examples = {key: examples_of(where, key, stored[key], axes) for key in dict.fromkeys(keys.values())}
    in_test = None if own_splits else _in_test(where, len(examples["x"]), test_fraction)
    rows = slice(None) if in_test is None else in_test == (split == "test")
    for key, array in examples.items():
        if bad := not_finite(array):
            part = "" if in_test is None else f" ({'test' if in_test[bad[0]] else 'train'} split)"
            raise ValueError(f"{where}: row {bad[0]} of {key!r}{part}, {bad[1]}; remove such rows, or fill them in.")
        if array.dtype == np.float32 and (said := lost(stored[key], array)):
            raise ValueError(f"{where}: {said[0]} of {key!r}: {said[1]}.")
    chosen = examples[keys[split]][rows]
    images = [array for array in examples.values() if array.dtype == np.uint8]
    levels = _gray_levels(where, images, gray_levels) if chosen.dtype == np.uint8 else None
    if not label_keys:
        return Dataset(where.stem, chosen, gray_levels=levels)
    labels = _labels(where, stored, keys, label_keys)
    return Dataset(
        where.stem,
        chosen,
        labels.arrays[label_keys[split]][rows],
        gray_levels=levels,
        num_classes=labels.num_classes,
        label_names=labels.names,
    )


def _keys(where: Path, names: Sequence[str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The keys of examples and of labels by split; those of labels are empty without."""
    keys = splits_of(names)
    if not keys and "x" not in names:
        raise ValueError(
            f"{where} holds {sorted(names)}; wanted 'x' (with 'labels' if any), or 'train' and 'test' "
            f"(with 'train_labels' and 'test_labels' if any)."
        )
    own = bool(keys)
    keys = keys or {"train": "x", "test": "x"}
    wanted = {split: f"{key}_labels" if own else "labels" for split, key in keys.items()}
    labels = {split: key for split, key in wanted.items() if key in names}
    if labels and len(labels) < len(keys):
        missing = sorted(set(wanted.values()) - set(labels.values()))
        raise ValueError(
            f"{where} holds {', '.join(map(repr, sorted(set(labels.values()))))}, but not "
            f"{', '.join(map(repr, missing))}; give labels to all splits, or to none."
        )
    if keys["test"].lower() not in (*TEST, "x"):
        notice.inform(f"{where}: its key {keys['test']!r} serves as the test split")
    if unread := sorted(set(names) - set(keys.values()) - set(labels.values())):
        notice.warn(
            f"{where}: keys not read: {', '.join(unread)}; examples are read from "
            f"{', '.join(dict.fromkeys(keys.values()))}, labels from {', '.join(dict.fromkeys(wanted.values()))}"
        )
    return keys, labels


def _in_test(where: Path, count: int, test_fraction: float) -> np.ndarray:
    """Which examples of `x` belong to the test split, bool `[N]`; every k-th one."""
    if not 0 < test_fraction <= 0.5:
        raise ValueError(f"test_fraction = {test_fraction}; it is a share above 0, and at most 0.5.")
    every = round(1 / test_fraction)
    if count < every:
        raise ValueError(
            f"{where}: 'x' holds {count} examples: none is left for the test split; give more, store 'train' and "
            f"'test' instead of 'x', or set data.test_fraction (now {test_fraction}, every {every}-th example)."
        )
    return np.arange(count) % every == every - 1


def _gray_levels(where: Path, examples: Sequence[np.ndarray], asked: int | None) -> int:
    """The number of gray levels of the images of all splits together."""
    if asked is not None:
        return asked
    if max(int(array.max()) for array in examples) != 1:
        return 256
    notice.inform(f"{where}: no pixel is above 1, so its images have 2 gray levels; if not, set data.gray_levels")
    return 2


def _labels(
    where: Path, stored: Mapping[str, np.ndarray], keys: Mapping[str, str], label_keys: Mapping[str, str]
) -> Labels:
    counts = {label_keys[split]: len(stored[key]) for split, key in keys.items()}
    return read_labels(where, {key: stored[key] for key in counts}, counts)
