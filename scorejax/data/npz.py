"""Arrays of the user's own, in one `.npz` file."""

from pathlib import Path

import numpy as np

from scorejax.data.dataset import Dataset, check_split


def _pick(stored: dict[str, np.ndarray], split: str, test_fraction: float, where: Path) -> tuple:
    """Examples and labels of the split: by its own keys, or every k-th example of `x`."""
    if split in stored:
        return stored[split], stored.get(f"{split}_labels")
    if "x" not in stored:
        raise ValueError(
            f"{where} holds {sorted(stored)}; wanted 'x' (with 'labels' if any), or 'train' and 'test' "
            f"(with 'train_labels' and 'test_labels' if any)."
        )
    x, labels = stored["x"], stored.get("labels")
    every = max(2, round(1 / test_fraction))
    mask = (np.arange(len(x)) % every == every - 1) == (split == "test")
    return x[mask], None if labels is None else labels[mask]


def npz(split: str, *, path: str | Path, gray_levels: int = 256, test_fraction: float = 0.1) -> Dataset:
    """Read uint8 images `[N, H, W]` or `[N, H, W, C]`, or float vectors `[N, D]`, from an `.npz` file.

    Labels are classes, whole numbers `[N]`, or embeddings, floats `[N, D]` or `[N, L, D]`, of texts for instance.

    Keys: `train` and `test` (with `train_labels`, `test_labels`), or `x` (with `labels`). Every k-th example of `x`,
    `k = round(1 / test_fraction)`, belongs to the test split.

    Args:
        split: "train" or "test".
        path: the `.npz` file.
        gray_levels: number of gray levels of its images; vectors have none.
        test_fraction: share of the test split where the file has none of its own.

    Raises:
        FileNotFoundError: no such file.
        ValueError: missing keys, or arrays that are neither images nor vectors.
    """
    check_split("npz", split)
    where = Path(path).expanduser()
    if not where.is_file():
        raise FileNotFoundError(f"path = {str(where)!r} is not a file; give the .npz file that holds the arrays.")
    with np.load(where, allow_pickle=False) as file:
        stored = {key: file[key] for key in file.files}
    x, labels = _pick(stored, split, test_fraction, where)
    if x.dtype == np.uint8 and x.ndim in (3, 4):
        examples, levels = x.reshape(*x.shape[:3], -1), gray_levels
    elif np.issubdtype(x.dtype, np.floating) and x.ndim == 2:
        examples, levels = x.astype(np.float32), None
    else:
        raise ValueError(
            f"{where}: split {split!r} is {x.dtype} of shape {x.shape}; wanted uint8 images "
            "[N, H, W] or [N, H, W, C], or float vectors [N, D]."
        )
    if labels is None:
        return Dataset(where.stem, examples, gray_levels=levels)
    if labels.ndim > 1:
        return Dataset(where.stem, examples, np.asarray(labels, np.float32), gray_levels=levels)
    # counted over both splits, so that they agree on the number
    classes = max(int(v.max()) + 1 for k, v in stored.items() if k.endswith("labels"))
    labels = np.asarray(labels, np.int32)
    return Dataset(where.stem, examples, labels, gray_levels=levels, num_classes=classes)
