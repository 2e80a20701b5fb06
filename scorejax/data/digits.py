"""The 8x8 handwritten digits that ship with scikit-learn: real images with 17 gray levels, no download."""

from typing import Any

import numpy as np

from scorejax.data.dataset import Dataset, check_split

TEST = 297  # of 1,797; the other 1,500 are for training


def spread(labels: np.ndarray, count: int) -> np.ndarray:
    """Return a mask `[N]` of `count` test examples spread evenly over the examples sorted by label.

    Deterministic and stratified: position `p` of the stable sort is taken when `floor((p + 1) count / N)`
    passes `floor(p count / N)`, so every class gives its share to within one example.
    """
    position = np.arange(len(labels))
    chosen = (position + 1) * count // len(labels) > position * count // len(labels)
    mask = np.zeros(len(labels), bool)
    mask[np.argsort(labels, kind="stable")[chosen]] = True
    return mask


def digits(split: str) -> Dataset:
    """Read the UCI "Optical Recognition of Handwritten Digits" (Alpaydin, Kaynak): 8x8x1, levels 0..16, 10 classes."""
    check_split("digits", split)
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    labels = np.asarray(bunch["target"], np.int32)
    mask = spread(labels, TEST) == (split == "test")
    images = np.asarray(bunch["images"]).astype(np.uint8)[..., None]
    names = tuple(str(i) for i in range(10))
    return Dataset("digits", images[mask], labels[mask], gray_levels=17, num_classes=10, label_names=names)
