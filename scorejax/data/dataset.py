"""What every source of data returns."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set, in memory or memory-mapped.

    Attributes:
      name: what it was loaded as.
      examples: uint8 images `[N, H, W, C]` holding grey levels `0..gray_levels-1`, or float32 vectors `[N, D]`.
      labels: what examples are conditioned on: classes int32 `[N]`, embeddings float32 `[N, D]` or sequences of them
        `[N, L, D]`, where zeros mean "absent"; or None.
      gray_levels: number of gray levels of an image (256; 17 for the 8x8 digits); None for vectors.
      num_classes: number of classes; 0 without.
      label_names: a name for each label; may be empty.

    Raises:
      ValueError: the arrays do not have the shapes and types above, or a value is out of its range.
    """

    name: str
    examples: np.ndarray
    labels: np.ndarray | None = None
    gray_levels: int | None = None
    num_classes: int = 0
    label_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kind, rank = ("uint8", 4) if self.gray_levels is not None else ("float32", 2)
        got = f"{self.examples.dtype} of shape {self.examples.shape}"
        if self.examples.dtype != kind or self.examples.ndim != rank or not len(self.examples):
            raise ValueError(
                f"{self.name}: examples are {got}; gray_levels = {self.gray_levels} asks for a non-empty {kind} "
                f"array of rank {rank} (uint8 [N, H, W, C] with gray_levels, float32 [N, D] without)."
            )
        if self.labels is not None:
            labels, classes = self.labels, self.num_classes
            fits = labels.ndim in (2, 3) if self.embeddings else labels.dtype == np.int32 and labels.ndim == 1
            if not fits or len(labels) != len(self):
                raise ValueError(
                    f"{self.name}: labels are {labels.dtype} of shape {labels.shape}; wanted int32 of shape "
                    f"({len(self)},), or float32 of shape ({len(self)}, D) or ({len(self)}, L, D)."
                )
            if not self.embeddings and (labels.min() < 0 or labels.max() >= classes):
                raise ValueError(
                    f"{self.name}: labels run from {labels.min()} to {labels.max()}; "
                    f"with num_classes = {classes} they must lie in 0..{classes - 1}."
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
