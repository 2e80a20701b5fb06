"""Splits of one data set, held against each other: they must be of one kind."""

from scorejax.data.dataset import Dataset, kind_of, shown
from scorejax.data.encoding import extremes


def compare(train: Dataset, other: Dataset, names: tuple[str, str] = ("train", "test")) -> None:
    """Refuse two splits that one model cannot serve.

    Args:
        train: the split that is trained on.
        other: the one that is measured on.
        names: of the two, for the message.

    Raises:
        ValueError: they differ in the shape or type of an example, in gray levels, in classes, or in what kind of
            labels they have; or a level of the other lies outside those of the training split.
    """
    for what, remedy, of in (
        ("examples", _remedy(train, other), _examples),
        ("labels", "give labels of one kind to both, or to neither, or measure on another split", _labels),
    ):
        ours, theirs = of(train), of(other)
        if ours != theirs:
            raise ValueError(
                f"{train.name}: the {what} of split {names[0]!r} are {ours}, those of split {names[1]!r} are {theirs}; "
                f"{remedy}."
            )
    if train.levels and train.gray_levels is None:
        low, high = extremes(other.examples)
        if not train.levels.lo <= low <= high <= train.levels.hi:
            raise ValueError(
                f"{train.name}: split {names[1]!r} runs from {low:.10g} to {high:.10g}, split {names[0]!r} only from "
                f"{train.levels.lo:.10g} to {train.levels.hi:.10g}: no probability is learned of levels outside of "
                "them; leave such examples out, or move some to the training split."
            )
    _check_class_names(train, other, names)
    different = [pair for pair in zip(train.label_names, other.label_names, strict=True) if pair[0] != pair[1]]
    if different:
        ours, theirs = different[0]
        raise ValueError(
            f"{train.name}: a class is called {ours!r} in split {names[0]!r} and {theirs!r} in split {names[1]!r}; "
            "give both the same classes in the same order."
        )


def _check_class_names(train: Dataset, other: Dataset, names: tuple[str, str]) -> None:
    """Refuse classes of a condition that are called differently in two splits."""
    for ours, theirs in zip(train.conditions, other.conditions, strict=True):
        if ours.class_names != theirs.class_names:
            raise ValueError(
                f"{train.name}: the classes of condition {ours.name!r} are {', '.join(ours.class_names)} in split "
                f"{names[0]!r} and {', '.join(theirs.class_names)} in split {names[1]!r}; give both the same."
            )


def _remedy(train: Dataset, other: Dataset) -> str:
    """What would make the examples of two splits alike."""
    if (train.gray_levels is None) != (other.gray_levels is None) or len(train.shape) != len(other.shape):
        return f"give {_kinds(train)} to both, or {_kinds(other)} to both"
    if len(train.shape) == 1 and train.shape != other.shape:
        return "give vectors of one length to both"
    do = []
    if train.shape[:-1] != other.shape[:-1]:
        folders = " (those of folders by data.size=N)" if len(train.shape) == 3 else ""
        do.append(f"bring the {_kinds(train)} of both to one size{folders}")
    if train.shape[-1] != other.shape[-1]:
        pictured = train.gray_levels is not None and len(train.shape) == 3
        do.append("save the images of both in color, or of both in gray" if pictured else "give both the same channels")
    if train.gray_levels != other.gray_levels:
        do.append("store both with the same gray levels")
    if (train.levels is None) != (other.levels is None):
        do.append("store both as integers, or both as floating numbers")
    return ", and ".join(do)


def _kinds(split: Dataset) -> str:
    """What examples are called, as in a sentence."""
    if split.gray_levels is not None or len(split.shape) == 3:
        return "images" if len(split.shape) == 3 else {2: "series", 4: "volumes"}[len(split.shape)]
    return {"table": "vectors", "series": "series", "volume": "volumes"}[kind_of(split.shape)]


def _examples(split: Dataset) -> str:
    shape = f"{_kinds(split)} of shape {shown(split.shape)}"
    if split.gray_levels is not None:
        return f"{shape} with {split.gray_levels} gray levels"
    return shape if split.levels is None else f"{shape} of counted numbers ({split.examples.dtype})"


def _labels(split: Dataset) -> str:
    if split.labels is None:
        return "absent"
    if split.conditions:
        return f"the conditions {', '.join(map(str, split.conditions))}"
    if split.embeddings:
        return f"embeddings of shape {'x'.join(map(str, split.labels.shape[1:]))}"
    return f"{split.num_classes} classes {'with' if split.label_names else 'without'} names"
