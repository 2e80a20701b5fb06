"""The form of a data set: all that a model has to know of the data that it is made for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scorejax.data.channels import Channels
from scorejax.data.dataset import Dataset, kind_of
from scorejax.data.encoding import Levels
from scorejax.data.maps import ChannelMap
from scorejax.numerics.conditions import Condition


@dataclass(frozen=True)
class Form:
    """What the examples of a data set have in common.

    Attributes:
        name: what the data were loaded as.
        shape: of one example: `(D,)`, `(L, C)`, `(H, W, C)` or `(D, H, W, C)`.
        gray_levels: number of gray levels of an image; None for all else.
        num_classes: number of classes; 0 without.
        label_names: a name for each class; may be empty.
        embedding: shape of the vector `(D,)`, or sequence of vectors `(L, D)`, that an example is labeled with; None
            where labels are classes, or there are none.
        levels: the values that counted numbers may have; None for floating ones.
        dtype: of the numbers, in the user's units.
        conditions: what lies where in an embedding that is a row of several named conditions.
        missing: whether NaN in examples is a number that is missing.
    """

    name: str
    shape: tuple[int, ...]
    gray_levels: int | None = None
    num_classes: int = 0
    label_names: tuple[str, ...] = ()
    embedding: tuple[int, ...] | None = None
    levels: Levels | None = None
    dtype: str = "float32"
    conditions: tuple[Condition, ...] = ()
    missing: bool = False

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
            levels=dataset.levels,
            dtype=np.result_type(dataset.examples.dtype, np.float32).name
            if dataset.examples.dtype.kind == "f"
            else dataset.examples.dtype.name,
            conditions=dataset.conditions,
            missing=dataset.missing,
        )

    @property
    def kind(self) -> str:
        """What an example is: a table (a row of one), a series, an image or a volume."""
        return kind_of(self.shape)

    @property
    def pictured(self) -> bool:
        """Whether examples are images of gray levels, which an image file can hold."""
        return self.gray_levels is not None and len(self.shape) == 3

    @property
    def level_count(self) -> int | None:
        """How many values a number may have; None for floating ones."""
        return None if self.levels is None else self.levels.count

    def channels(self, mapped: ChannelMap, *, dequantize: bool) -> Channels:
        """Model space of such examples, by a map that was fitted to some."""
        return Channels(mapped, self.levels, self.dtype, dequantize)

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
