"""One door to every source of data."""

from collections.abc import Sequence
from pathlib import Path

from scorejax.data.arrays import arrays
from scorejax.data.dataset import Dataset
from scorejax.data.digits import digits
from scorejax.data.folder import folder
from scorejax.data.prepared import find, how_to_prepare, prepared, prepared_sets
from scorejax.data.subset import subset
from scorejax.data.vectors import gaussian, moons

BUILT_IN = ("digits", "moons", "gaussian")
FROM_PATH = ("folder", "npz")


def load(
    name: str,
    split: str = "train",
    *,
    data_dir: str | Path | None = None,
    path: str | Path | None = None,
    seed: int = 0,
    size: int | None = None,
    crop: int | None = None,
    classes: Sequence[int] | None = None,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Load one split of a data set.

    Args:
      name: "digits" (8x8 images), "moons" or "gaussian" (vectors), "folder" or "npz" (your own, with
        `path`), or any image set prepared by tensorflow-datasets: "mnist", "cifar10", "celeb_a", ....
      split: "train" or "test"; prepared sets take every split of theirs, slices included.
      data_dir: where prepared sets are: default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
      path: the folder of images or the `.npz` file.
      seed: of the synthetic sets.
      size: cut and resize images of a folder or of a prepared set to `size` x `size` pixels.
      crop: side of the centred square to cut first; default: as large as the image allows.
      classes: keep the examples with these labels, numbered anew in this order; default: all.
      cache_dir: where decoded images are kept: default $SCOREJAX_CACHE, else ~/.cache/scorejax.

    Raises:
      ValueError: an unknown name or split, a missing `path`, or classes that the set does not have.
      FileNotFoundError: nothing at `path`, or a set that is not prepared.
    """
    examples = _whole(name, split, data_dir, path, seed, size, crop, cache_dir)
    return examples if classes is None else subset(examples, classes)


def _whole(
    name: str,
    split: str,
    data_dir: str | Path | None,
    path: str | Path | None,
    seed: int,
    size: int | None,
    crop: int | None,
    cache_dir: str | Path | None,
) -> Dataset:
    """All classes of one split."""
    if name in (*BUILT_IN, *FROM_PATH) and split not in ("train", "test"):
        raise ValueError(f"{name!r} has no split {split!r}; choose 'train' or 'test'.")
    if name in FROM_PATH and path is None:
        raise ValueError(f"data set {name!r} needs path=..., the place of your {name}.")
    if name == "digits":
        return digits(split)
    if name in ("moons", "gaussian"):
        return moons(split, seed) if name == "moons" else gaussian(split, seed)
    if path is not None and name in FROM_PATH:
        return arrays(path, split) if name == "npz" else folder(path, split, size=size, crop=crop, cache_dir=cache_dir)
    if find(name, data_dir) is None:
        raise _absent(name, data_dir)
    return prepared(name, split, data_dir=data_dir, size=size, crop=crop, cache_dir=cache_dir)


def _absent(name: str, data_dir: str | Path | None) -> Exception:
    """A set that tensorflow-datasets knows lacks preparation; any other name is a mistake."""
    import tensorflow_datasets as tfds

    base = name.partition(":")[0]
    if base.partition("/")[0] in tfds.list_builders(with_community_datasets=False) or base in prepared_sets(data_dir):
        return FileNotFoundError(how_to_prepare(name, data_dir))
    ready = ", ".join(sorted(prepared_sets(data_dir))) or "none"
    return ValueError(
        f"unknown data set {name!r}; choose one of {', '.join(BUILT_IN + FROM_PATH)}, a prepared set "
        f"(here: {ready}), or prepare another image set of tensorflow-datasets."
    )
