"""What every source of data returns."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set, in memory or memory-mapped.

    Attributes:
      name: what it was loaded as.
      examples: uint8 images `[N, H, W, C]` holding grey levels `0..levels-1`, or float32 vectors `[N, D]`.
      labels: int32 `[N]`, or None.
      levels: number of grey levels of an image (256; 17 for the 8x8 digits); None for vectors.
      num_classes: number of labels; 0 without labels.
      label_names: a name for each label; may be empty.

    Raises:
      ValueError: the arrays do not have the shapes and types above, or a value is out of its range.
    """

    name: str
    examples: np.ndarray
    labels: np.ndarray | None = None
    levels: int | None = None
    num_classes: int = 0
    label_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kind, rank = ("uint8", 4) if self.levels is not None else ("float32", 2)
        got = f"{self.examples.dtype} of shape {self.examples.shape}"
        if self.examples.dtype != kind or self.examples.ndim != rank or not len(self.examples):
            raise ValueError(
                f"{self.name}: examples are {got}; levels = {self.levels} asks for a non-empty {kind} "
                f"array of rank {rank} (uint8 [N, H, W, C] with levels, float32 [N, D] without)."
            )
        if self.labels is not None:
            labels, classes = self.labels, self.num_classes
            if labels.dtype != np.int32 or labels.shape != (len(self),):
                raise ValueError(
                    f"{self.name}: labels are {labels.dtype} of shape {labels.shape}; "
                    f"wanted int32 of shape ({len(self)},)."
                )
            if labels.min() < 0 or labels.max() >= classes:
                raise ValueError(
                    f"{self.name}: labels run from {labels.min()} to {labels.max()}; "
                    f"with num_classes = {classes} they must lie in 0..{classes - 1}."
                )

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: `(H, W, C)` or `(D,)`."""
        return self.examples.shape[1:]
