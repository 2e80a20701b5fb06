"""What a loader of the user's own returns, as a data set: arrays by name, an array, a `Dataset`, or a set of Grain."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from scorejax.data.arrays import Keys, Reading, read_split
from scorejax.data.conditions import PREFIX, names_in
from scorejax.data.dataset import Dataset
from scorejax.data.lazy import Examples, Lazy

WANTED = "{'x': examples [N, ...]} with 'labels' [N], 'mask' and 'condition.NAME' if any, an array of examples, a \
scorejax.data.Dataset, or a grain MapDataset"
_THREADS = 8
WITHOUT = Reading()
"""How arrays are read that come without settings."""


class Elements(Lazy):
    """The elements of anything with `len` and `[i]`, such as a `grain.MapDataset`, each read when it is asked for.

    Batches are chosen by this package's own indices, so that a run goes on exactly where it stopped.
    """

    def __init__(self, source: Any, key: str | None, called: str) -> None:
        """Read the first element, whose shape and type all must have.

        Args:
            source: has `len` and `[i]`.
            key: of an element that is a mapping; None: the element itself.
            called: the name of the loader, for messages.
        """
        self._source, self._key, self._called = source, key, called
        one = np.asarray(self._element(0))
        self.shape, self.dtype = (len(source), *one.shape), one.dtype

    def read(self, rows: np.ndarray) -> np.ndarray:
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(self._element, rows.tolist()))
        shapes = {element.shape for element in found}
        if len(shapes) > 1:
            raise ValueError(f"{self._called}: elements differ in shape: {', '.join(map(str, sorted(shapes)))}.")
        return np.stack(found)

    def _element(self, i: int) -> np.ndarray:
        element = self._source[i]
        if element is None:
            raise ValueError(
                f"{self._called}: element {i} is None; a data set that leaves elements out has no length: filter first."
            )
        return np.asarray(element if self._key is None else element[self._key])


def loaded(
    factory: Callable[..., object],
    split: str,
    settings: Mapping[str, object],
    called: str,
    how: Reading = WITHOUT,
) -> Dataset:
    """Call a loader, and return its data set.

    Args:
        factory: `factory(split, **settings)`, or without a split that it does not take.
        split: asked for.
        settings: keyword parameters of the loader.
        called: its name.
        how: arrays are read as examples.

    Raises:
        ValueError: it returns something else than `WANTED`, or examples that cannot be read.
    """
    whole = not _takes_split(factory)
    found = factory(**settings) if whole else factory(split, **settings)
    if isinstance(found, Dataset):
        return found
    if _is_iterator(found):
        raise ValueError(
            f"data source {called!r} returned {type(found).__name__}, which can only be read in its own order, so that "
            "a run could not go on where it stopped; return a grain.MapDataset, before to_iter_dataset()."
        )
    arrays = _arrays(found, called)
    splits = ("train", "test") if whole else (split,)
    labels = dict.fromkeys(splits, "labels") if "labels" in arrays else {}
    given, masks = names_in(list(arrays)), {"x": "mask"} if "mask" in arrays else {}
    if not given or whole or split == "train":
        keys = Keys(
            dict.fromkeys(splits, "x"), labels, not whole, {name: {"x": PREFIX + name} for name in given}, masks
        )
        return read_split(called, called, split, arrays, keys, how, called)
    # conditions are brought to the units of the training split, which is therefore read too
    both = {"train": _arrays(factory("train", **settings), called), split: arrays}
    for name in given:
        if PREFIX + name not in both["train"]:
            raise ValueError(f"data source {called!r} returned condition {name!r} for split {split!r} alone.")
    stored = {f"{each} {key}": array for each, own in both.items() for key, array in own.items()}
    keys = Keys(
        {each: f"{each} x" for each in both},
        {each: f"{each} labels" for each in both} if labels else {},
        own_splits=True,
        conditions={name: {f"{each} x": f"{each} {PREFIX}{name}" for each in both} for name in given},
        masks={f"{each} x": f"{each} mask" for each in both} if masks else {},
    )
    return read_split(called, called, split, stored, keys, how, called)


def _arrays(found: object, called: str) -> dict[str, Examples]:
    """What was returned as arrays by name."""
    if isinstance(found, Mapping):
        if "x" not in found:
            raise ValueError(f"data source {called!r} returned the keys {sorted(map(str, found))}; return {WANTED}.")
        known = ("x", "labels", "mask", *(PREFIX + name for name in names_in([str(key) for key in found])))
        unknown = sorted(str(key) for key in found if key not in known)
        if unknown:
            raise ValueError(f"data source {called!r} returned the keys {', '.join(unknown)} too; return {WANTED}.")
        return {str(key): _array(value) for key, value in found.items()}
    if isinstance(found, np.ndarray) or hasattr(found, "__array__"):
        return {"x": _array(found)}
    if isinstance(found, Sequence) and not isinstance(found, (str, bytes, list, tuple)):  # as a MapDataset is
        one = found[0] if len(found) else None
        if isinstance(one, Mapping):
            names = [key for key in one if key in ("x", "labels", "mask") or str(key).startswith(PREFIX)]
            if "x" not in names:
                raise ValueError(f"data source {called!r} has elements with the keys {sorted(one)}; wanted 'x'.")
            return {key: Elements(found, key, called) for key in names}
        return {"x": Elements(found, None, called)}
    raise ValueError(f"data source {called!r} returned {type(found).__name__}; return {WANTED}.")


def _array(value: Any) -> Examples:
    lazy = isinstance(value, Examples) and not isinstance(value, np.ndarray) and hasattr(value, "read")
    return value if isinstance(value, np.ndarray) or lazy else np.asarray(value)


def _is_iterator(found: object) -> bool:
    """Whether something has an order of its own and no length, as a `grain.IterDataset` does."""
    return hasattr(found, "__iter__") and not hasattr(found, "__len__")


def _takes_split(factory: Callable[..., object]) -> bool:
    """Whether a loader takes a split: by that name, or as a positional parameter without a default."""
    parameters = [*inspect.signature(factory).parameters.values()]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return True
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.name == "split" or (p.kind in positional and p.default is p.empty) for p in parameters)
