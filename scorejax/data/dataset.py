"""What every source of data returns, and the check that it is well formed."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from scorejax.likelihood.gray_levels import check_gray_levels


def check_split(name: str, split: str, splits: Collection[str] = ("train", "test")) -> None:
    """Refuse a split that the set `name` does not have.

    Raises:
        ValueError: `split` is not among `splits`.
    """
    if split not in splits:
        raise ValueError(f"{name!r} has no split {split!r}; choose {' or '.join(map(repr, splits))}.")


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set, in memory or memory-mapped.

    Attributes:
        name: what it was loaded as.
        examples: uint8 images `[N, H, W, C]` holding gray levels `0..gray_levels-1`, or float32 vectors `[N, D]`.
        labels: what examples are conditioned on: classes int32 `[N]`, embeddings float32 `[N, D]` or sequences of them
            `[N, L, D]`, where zeros mean "absent"; or None.
        gray_levels: number of gray levels of an image (256; 17 for the 8x8 digits); None for vectors.
        num_classes: number of classes; 0 without.
        label_names: a name for each label; may be empty.

    Raises:
        ValueError: the arrays do not have the shapes and types above, or a value is out of its range; the message says
            what to convert.
    """

    name: str
    examples: np.ndarray
    labels: np.ndarray | None = None
    gray_levels: int | None = None
    num_classes: int = 0
    label_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what in ("examples", "labels"):
            array = getattr(self, what)
            if not (isinstance(array, np.ndarray) or (what == "labels" and array is None)):
                raise ValueError(
                    f"{self.name}: {what} are {type(array).__name__}, not a numpy array; convert them by np.asarray."
                )
        self._check_examples()
        if self.labels is not None:
            self._check_labels(self.labels)
        if self.label_names and len(self.label_names) != self.num_classes:
            raise ValueError(
                f"{self.name}: {len(self.label_names)} label_names for num_classes = {self.num_classes}; give one name "
                "for each class, or none at all."
            )

    def _check_examples(self) -> None:
        images = self.gray_levels is not None
        kind, rank = ("uint8", 4) if images else ("float32", 2)
        if self.examples.dtype != kind or self.examples.ndim != rank or not self.examples.size:
            got = f"{self.examples.dtype} of shape {self.examples.shape}"
            raise ValueError(
                f"{self.name}: examples are {got}; gray_levels = {self.gray_levels} asks for a non-empty {kind} "
                f"array of rank {rank} (uint8 [N, H, W, C] with gray_levels, float32 [N, D] without)."
            )
        if self.gray_levels is None:
            return
        try:
            check_gray_levels(self.gray_levels)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}.") from error
        # bytes cannot exceed 255, so large sets of photographs are not read for this
        if self.gray_levels < 256 and (largest := int(self.examples.max())) >= self.gray_levels:
            raise ValueError(
                f"{self.name}: a pixel is {largest}; with gray_levels = {self.gray_levels} the largest is "
                f"{self.gray_levels - 1}."
            )

    def _check_labels(self, labels: np.ndarray) -> None:
        fits = labels.ndim in (2, 3) if self.embeddings else labels.dtype == np.int32 and labels.ndim == 1
        if not fits or len(labels) != len(self) or not labels.size:
            raise ValueError(
                f"{self.name}: labels are {labels.dtype} of shape {labels.shape}; wanted int32 of shape "
                f"({len(self)},), or float32 of shape ({len(self)}, D) or ({len(self)}, L, D)."
            )
        if not self.embeddings and (labels.min() < 0 or labels.max() >= self.num_classes):
            raise ValueError(
                f"{self.name}: labels run from {labels.min()} to {labels.max()}; "
                f"with num_classes = {self.num_classes} they must lie in 0..{self.num_classes - 1}."
            )

    @property
    def embeddings(self) -> bool:
        """Whether the labels are vectors, not classes."""
        return self.labels is not None and self.labels.dtype == np.float32

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: `(H, W, C)` or `(D,)`."""
        return self.examples.shape[1:]
