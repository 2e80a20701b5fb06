"""What every source of data returns, and the check that it is well formed."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from scorejax.data.encoding import Levels, extremes, levels_of
from scorejax.data.lazy import Converted, Examples
from scorejax.likelihood.gray_levels import check_gray_levels
from scorejax.numerics.conditions import Condition, length

KINDS = {2: "table", 3: "series", 4: "image", 5: "volume"}
"""What examples are called, by the rank of an array of them."""
RANKS = "tables [N, D], series [N, L, C], images or fields [N, H, W, C], volumes [N, D, H, W, C]"


def check_split(name: str, split: str, splits: Collection[str] = ("train", "test")) -> None:
    """Refuse a split that the set `name` does not have.

    Raises:
        ValueError: `split` is not among `splits`.
    """
    if split not in splits:
        raise ValueError(f"{name!r} has no split {split!r}; choose {' or '.join(map(repr, splits))}.")


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set, in memory, memory-mapped, or read when it is asked for.

    Attributes:
        name: what it was loaded as.
        examples: tables `[N, D]`, series `[N, L, C]`, images or fields `[N, H, W, C]`, or volumes `[N, D, H, W, C]`,
            of floating numbers or of integers in the user's units; uint8 with `gray_levels` holds gray levels
            `0..gray_levels-1`.
        labels: what examples are conditioned on: classes int32 `[N]`, embeddings float32 `[N, D]` or sequences of them
            `[N, L, D]`, where zeros mean "absent"; or None.
        gray_levels: number of gray levels of an image (256; 17 for the 8x8 digits); None for all else.
        num_classes: number of classes; 0 without.
        label_names: a name for each label; may be empty.
        levels: the values that counted numbers may have: those of integers, found if not given, or of floating numbers
            that are multiples of a quantum; None for floating numbers.
        conditions: what lies where in the labels, if they are rows of several named conditions, float32 `[N, D]`, where
            NaN is absent.
        missing: whether NaN in examples is a number that is missing.

    Raises:
        ValueError: the arrays do not have the shapes and types above, or a value is out of its range; the message says
            what to convert.
    """

    name: str
    examples: Examples
    labels: np.ndarray | None = None
    gray_levels: int | None = None
    num_classes: int = 0
    label_names: tuple[str, ...] = ()
    levels: Levels | None = None
    conditions: tuple[Condition, ...] = ()
    missing: bool = False

    def __post_init__(self) -> None:
        for what in ("examples", "labels"):
            array, wanted = getattr(self, what), Examples if what == "examples" else np.ndarray
            if not (isinstance(array, wanted) or (what == "labels" and array is None)):
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
        kind, rank, empty = self.examples.dtype, len(self.examples.shape), 0 in self.examples.shape
        gray = self.gray_levels is not None
        if empty or not (kind == np.uint8 and rank in (3, 4, 5) if gray else kind.kind in "iuf" and rank in KINDS):
            asked = f"gray_levels = {self.gray_levels} asks for uint8 [N, H, W, C], [N, L, C] or [N, D, H, W, C]"
            raise ValueError(
                f"{self.name}: examples are {kind} of shape {self.examples.shape}; "
                f"{asked if gray else f'wanted a non-empty array of real numbers: {RANKS}'}."
            )
        if self.gray_levels is None:
            self._find_levels()
            return
        try:
            check_gray_levels(self.gray_levels)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}.") from error
        # bytes cannot exceed 255, so large sets of photographs are not read for this
        if self.gray_levels < 256 and (largest := int(extremes(self.examples)[1])) >= self.gray_levels:
            raise ValueError(
                f"{self.name}: a pixel is {largest}; with gray_levels = {self.gray_levels} the largest is "
                f"{self.gray_levels - 1}."
            )
        object.__setattr__(self, "levels", Levels(0.0, self.gray_levels))

    def _find_levels(self) -> None:
        """Find the levels of integers; those of too wide a range become floating numbers."""
        if self.levels is not None or self.examples.dtype.kind == "f":
            return
        found = levels_of([self.examples])
        object.__setattr__(self, "levels", found)
        if found is None:
            object.__setattr__(self, "examples", as_floats(self.examples))

    def _check_labels(self, labels: np.ndarray) -> None:
        fits = labels.ndim in (2, 3) if self.embeddings else labels.dtype == np.int32 and labels.ndim == 1
        if not fits or len(labels) != len(self) or not labels.size:
            raise ValueError(
                f"{self.name}: labels are {labels.dtype} of shape {labels.shape}; wanted int32 of shape "
                f"({len(self)},), or float32 of shape ({len(self)}, D) or ({len(self)}, L, D)."
            )
        if self.conditions and labels.shape[1:] != (length(self.conditions),):
            raise ValueError(
                f"{self.name}: labels have shape {labels.shape}, but rows of the conditions "
                f"{', '.join(map(str, self.conditions))} hold {length(self.conditions)} numbers."
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
        """Shape of one example: `(D,)`, `(L, C)`, `(H, W, C)` or `(D, H, W, C)`."""
        return tuple(self.examples.shape[1:])

    @property
    def level_count(self) -> int | None:
        """How many values a number may have; None for floating ones."""
        return None if self.levels is None else self.levels.count


def as_floats(examples: Examples) -> Examples:
    """Return integers as float64, an array in memory at once and others as they are read."""
    if isinstance(examples, np.ndarray) and not isinstance(examples, np.memmap):
        return examples.astype(np.float64)
    return Converted(examples, lambda block: block.astype(np.float64))


def kind_of(shape: tuple[int, ...]) -> str:
    """Return what an example of this shape is called: table, series, image or volume."""
    return KINDS[len(shape) + 1]


def shown(shape: tuple[int, ...]) -> str:
    """Return a shape for a person, such as 8x8x1."""
    return "x".join(map(str, shape))


def numbers_of(shape: tuple[int, ...]) -> int:
    """Return how many numbers an example has."""
    return math.prod(shape)
