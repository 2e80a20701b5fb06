"""One door to every source of data: the table of sources by name, and `load`.

A further source is a function in a file of its own and a line in `SOURCES`. Its keyword parameters, with their
defaults, are its settings.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scorejax.data.csv import csv
from scorejax.data.dataset import Dataset
from scorejax.data.digits import digits
from scorejax.data.fields import random_field
from scorejax.data.finite import not_finite
from scorejax.data.folder import folder
from scorejax.data.hdf5 import hdf5
from scorejax.data.labels import mention_absent
from scorejax.data.missing import check_missing
from scorejax.data.npz import npz
from scorejax.data.own import loaded
from scorejax.data.packaged import diabetes, eeg, elevation
from scorejax.data.subset import subset
from scorejax.data.tfds import exists, prepared_sets, tfds
from scorejax.data.vectors import gaussian, moons
from scorejax.data.zarr import zarr

Source = Callable[..., object]
"""`source(split, *, setting=default, ...)`: one split of a data set, `train` and `test` at least; a `Dataset`, or what
else `scorejax.data.own` takes for one."""

SOURCES: dict[str, Source] = {
    "digits": digits,
    "moons": moons,
    "gaussian": gaussian,
    "random_field": random_field,
    "eeg": eeg,
    "elevation": elevation,
    "diabetes": diabetes,
    "folder": folder,
    "npz": npz,
    "csv": csv,
    "hdf5": hdf5,
    "zarr": zarr,
    "tfds": tfds,
}


def source(name: str) -> Source:
    """Return the source of that name; a name that is not in `SOURCES` is taken for that of a prepared set.

    So `source("cifar10")` is `tfds` with its setting `dataset` given.
    """
    return SOURCES[name] if name in SOURCES else partial(tfds, dataset=name)


def load(
    name: str | Source, /, split: str = "train", *, classes: Sequence[int] | None = None, **settings: Any
) -> Dataset:
    """Load one split of a data set.

    Args:
        name: a name in `SOURCES`, such as "digits" (8x8 images), "moons" or "gaussian" (vectors), "folder" or "npz"
            (your own, with `path`); any image set prepared by tensorflow-datasets: "mnist", "cifar10", "celeb_a", ...;
            or a loader of your own, a function `loader(split, *, ...)` that returns arrays, see `scorejax.data.own`.
        split: "train" or "test"; prepared sets take every split of theirs, slices included.
        classes: keep the examples with these labels, numbered anew in this order; default: all.
        **settings: keyword parameters of the source.

    Raises:
        ValueError: an unknown name or split, a setting that the source does not take or that it lacks, a loader that
            returns something else than examples, numbers that are not finite, or classes that the set does not have.
        FileNotFoundError: nothing at `path`, or a set that is not prepared.
    """
    if isinstance(name, str):
        _check_name(name, settings.get("data_dir"))
    factory = source(name) if isinstance(name, str) else name
    called = name if isinstance(name, str) else getattr(name, "__name__", str(name))
    _check_settings(called, factory, settings)
    examples = loaded(factory, split, settings, called)
    known = None if examples.labels is None else np.where(np.isnan(examples.labels), 0, examples.labels)  # NaN: absent
    for what, array in (("examples", examples.examples), ("labels", known)):
        if what == "examples" and examples.missing:
            check_missing(examples.name, what, examples.examples)
        elif array is not None and (bad := not_finite(array)):
            raise ValueError(f"{examples.name}: row {bad[0]} of the {what} of split {split!r}, {bad[1]}.")
    examples = examples if classes is None else subset(examples, classes)
    if split == "train":
        mention_absent(examples, split)
    return examples


def _check_name(name: str, data_dir: str | Path | None) -> None:
    """Refuse a name that is neither in the table nor that of an image set."""
    if name in SOURCES or exists(name, data_dir):
        return
    ready = ", ".join(sorted(prepared_sets(data_dir))) or "none"
    raise ValueError(
        f"unknown data set {name!r}; choose one of {', '.join(SOURCES)}, a prepared set (here: {ready}), or prepare "
        "another image set of tensorflow-datasets."
    )


def _check_settings(called: str, factory: Source, settings: dict[str, object]) -> None:
    """Refuse what the source does not take, and ask for what it cannot do without."""
    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return  # it takes any setting, and checks them itself
    given = getattr(factory, "keywords", {})  # those of a partial are settled
    positional = next((p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)), None)
    settable = [p for p in parameters if p.kind is not p.POSITIONAL_ONLY and p.name not in (*given, "split")]
    # The first parameter without a default takes the split, under any name.
    takes = [p for p in settable if p.kind is p.KEYWORD_ONLY or p.default is not p.empty or p.name != positional]
    known = ", ".join(p.name for p in takes) or "none"
    unknown = [key for key in settings if key not in {p.name for p in takes}]
    if unknown:
        raise ValueError(
            f"data source {called!r} has no setting {', '.join(map(repr, unknown))}; its settings are: {known}."
        )
    missing = [p.name for p in takes if p.default is p.empty and p.name not in settings]
    if missing:
        needed = ", ".join(f"{key}=..." for key in missing)
        raise ValueError(f"data source {called!r} needs {needed}; its settings are: {known}.")
