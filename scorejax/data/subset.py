"""A part of a data set: some of its classes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scorejax.data.dataset import Dataset
from scorejax.data.lazy import chosen as rows


def subset(examples: Dataset, classes: Sequence[int]) -> Dataset:
    """Return the examples of the given classes, which are numbered anew: label `k` is now `classes[k]`.

    They keep their order, and stay where the whole set lies: in memory, or on a disk.

    Args:
        examples: a set with class labels.
        classes: which labels to keep; one is enough.

    Raises:
        ValueError: a set without class labels, a class that it does not have, a class named twice, no class at all,
            or only classes that this split has no example of.
    """
    chosen = [int(label) for label in classes]
    if examples.labels is None or examples.embeddings:
        raise ValueError(f"classes = {tuple(chosen)} choose among class labels, but {examples.name!r} has none.")
    if not chosen or len(set(chosen)) != len(chosen) or not all(0 <= c < examples.num_classes for c in chosen):
        raise ValueError(
            f"classes = {tuple(chosen)}; wanted different labels among 0..{examples.num_classes - 1} of "
            f"{examples.name!r}."
        )
    place = np.full(examples.num_classes, -1, np.int32)
    place[chosen] = np.arange(len(chosen))
    labels = place[examples.labels]
    kept = labels >= 0
    if not kept.any():
        raise ValueError(f"this split of {examples.name!r} has no example of the classes {tuple(chosen)}.")
    names = tuple(examples.label_names[c] for c in chosen) if examples.label_names else ()
    return replace(
        examples,
        name=f"{examples.name}[{','.join(map(str, chosen))}]",
        examples=rows(examples.examples, kept),
        labels=labels[kept],
        num_classes=len(chosen),
        label_names=names,
    )
