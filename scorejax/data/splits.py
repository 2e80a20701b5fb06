"""Splits of one data set, held against each other: they must be of one kind."""

from scorejax.data.dataset import Dataset


def compare(train: Dataset, other: Dataset, names: tuple[str, str] = ("train", "test")) -> None:
    """Refuse two splits that one model cannot serve.

    Args:
        train: the split that is trained on.
        other: the one that is measured on.
        names: of the two, for the message.

    Raises:
        ValueError: they differ in the shape or type of an example, in gray levels, in classes, or in what kind of
            labels they have.
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
    different = [pair for pair in zip(train.label_names, other.label_names, strict=True) if pair[0] != pair[1]]
    if different:
        ours, theirs = different[0]
        raise ValueError(
            f"{train.name}: a class is called {ours!r} in split {names[0]!r} and {theirs!r} in split {names[1]!r}; "
            "give both the same classes in the same order."
        )


def _remedy(train: Dataset, other: Dataset) -> str:
    """What would make the examples of two splits alike."""
    if (train.gray_levels is None) != (other.gray_levels is None):
        return "give images to both, or vectors to both"
    if train.gray_levels is None:
        return "give vectors of one length to both"
    do = []
    if train.shape[:2] != other.shape[:2]:
        do.append("bring the images of both to one size (those of folders by data.size=N)")
    if train.shape[2] != other.shape[2]:
        do.append("save the images of both in color, or of both in gray")
    if train.gray_levels != other.gray_levels:
        do.append("store both with the same gray levels")
    return ", and ".join(do)


def _examples(split: Dataset) -> str:
    shape = "x".join(map(str, split.shape))
    if split.gray_levels is None:
        return f"vectors of shape {shape}"
    return f"images of shape {shape} with {split.gray_levels} gray levels"


def _labels(split: Dataset) -> str:
    if split.labels is None:
        return "absent"
    if split.embeddings:
        return f"embeddings of shape {'x'.join(map(str, split.labels.shape[1:]))}"
    return f"{split.num_classes} classes {'with' if split.label_names else 'without'} names"
