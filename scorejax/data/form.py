"""The form of a data set: all that a model has to know of the data that it is made for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scorejax.data.dataset import Dataset


@dataclass(frozen=True)
class Form:
    """What the examples of a data set have in common.

    Attributes:
        name: what the data were loaded as.
        shape: of one example: `(H, W, C)` or `(D,)`.
        gray_levels: number of gray levels of an image; None for vectors.
        num_classes: number of classes; 0 without.
        label_names: a name for each class; may be empty.
        embedding: shape of the vector `(D,)`, or sequence of vectors `(L, D)`, that an example is labeled with; None
            where labels are classes, or there are none.
    """

    name: str
    shape: tuple[int, ...]
    gray_levels: int | None = None
    num_classes: int = 0
    label_names: tuple[str, ...] = ()
    embedding: tuple[int, ...] | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Form:
        """Return the form of a data set."""
        labels = dataset.labels
        return cls(
            name=dataset.name,
            shape=tuple(dataset.shape),
            gray_levels=dataset.gray_levels,
            num_classes=0 if labels is None else dataset.num_classes,
            label_names=tuple(dataset.label_names),
            embedding=tuple(labels.shape[1:]) if labels is not None and dataset.embeddings else None,
        )

    @property
    def embeddings(self) -> bool:
        """Whether the labels are vectors, not classes."""
        return self.embedding is not None

    @property
    def labeled(self) -> bool:
        """Whether examples have labels, classes or vectors."""
        return self.embeddings or self.num_classes > 0

    @property
    def dimension(self) -> int:
        """How many numbers one example has."""
        return math.prod(self.shape)
