"""Image sets prepared by tensorflow-datasets, read without tensorflow from their array_record files."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from scorejax.data.cache import Allocate, cached
from scorejax.data.dataset import Dataset
from scorejax.data.square import check_sizes, resized
from scorejax.numerics.ranges import Count

Builder: TypeAlias = Any
"""A `tensorflow_datasets.core.DatasetBuilder`; its own types know nothing of the features of a set."""
Features: TypeAlias = Mapping[str, Any]
"""The features of such a set by name."""
_BLOCK = 1_000  # records per read: reading one by one costs about twice the time


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Return where prepared sets are looked for: `data_dir`, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared_sets(data_dir: str | Path | None = None) -> dict[str, Path]:
    """Return every prepared set under the folder, as `name` or `name/config` -> newest version's folder."""
    root = data_folder(data_dir)

    def version(folder: Path) -> tuple[int, ...]:
        return tuple(int(v) for v in folder.name.split(".") if v.isdigit())

    infos = [*root.glob("*/*/dataset_info.json"), *root.glob("*/*/*/dataset_info.json")]
    folders = sorted((info.parent for info in infos), key=version)
    return {f.parent.relative_to(root).as_posix(): f for f in folders}


def find(name: str, data_dir: str | Path | None = None) -> Path | None:
    """Return the folder of the prepared set `name`, `name/config`, `name:version` or `name/config:version`, or None."""
    base, _, version = name.partition(":")
    newest = prepared_sets(data_dir).get(base)
    if newest is None or not version:
        return newest
    chosen = newest.parent / version
    return chosen if (chosen / "dataset_info.json").is_file() else None


def how_to_prepare(name: str, data_dir: str | Path | None = None) -> str:
    """Say in one sentence where the set was looked for, and the command that prepares it."""
    root, (base, _, version) = data_folder(data_dir), name.partition(":")
    wanted = root / base / (version or "VERSION") / "dataset_info.json"
    module = ""
    if version and not version[0].isdigit():
        module = f"no module {base.replace('/', '.')!r} lies in the working directory or is installed; as a set, "
    return (
        f"{module}{name!r} is not prepared: no {wanted}. On a machine with internet access and tensorflow (needed "
        f"to prepare, not to read) run: tfds build {name} --file_format=array_record --data_dir={root}"
    )


def exists(name: str, data_dir: str | Path | None = None) -> bool:
    """Return whether there is a set of that name: a prepared one, or one that tensorflow-datasets can prepare."""
    base = name.partition(":")[0]
    if base in prepared_sets(data_dir):
        return True
    import tensorflow_datasets

    return base.partition("/")[0] in tensorflow_datasets.list_builders(with_community_datasets=False)


def _features(builder: Builder) -> Features:
    return builder.info.features


def _keys(builder: Builder, asked: str | None = None) -> tuple[str, str | None]:
    """Names of the feature that is the examples, an image where there is one, and of the class label (or None)."""
    import tensorflow_datasets

    kinds = dict(_features(builder))
    images = [key for key, feature in kinds.items() if isinstance(feature, tensorflow_datasets.features.Image)]
    labels = [key for key, feature in kinds.items() if isinstance(feature, tensorflow_datasets.features.ClassLabel)]
    numbers = [key for key, feature in kinds.items() if key not in labels and _is_numeric(feature)]
    if asked is not None and asked not in (*images, *numbers):
        raise ValueError(
            f"{builder.info.name} has no feature {asked!r} of numbers; choose data.feature among "
            f"{', '.join((*images, *numbers)) or 'none'}."
        )
    images = [asked] if asked is not None else images
    if not images and len(numbers) != 1:
        raise ValueError(
            f"{builder.info.name} has no image among its features {sorted(kinds)}; set data.feature to one of numbers: "
            f"{', '.join(numbers) or 'there is none'}."
        )
    images = images or numbers
    preferred = builder.info.supervised_keys
    label = labels[0] if labels else None
    if preferred and isinstance(preferred[-1], str) and preferred[-1] in labels:
        label = preferred[-1]
    return images[0], label


def _is_numeric(feature: Any) -> bool:
    """Whether a feature is an array of real numbers of one shape."""
    shape, kind = getattr(feature, "shape", None), getattr(feature, "np_dtype", None)
    numeric = (
        isinstance(kind, type) and issubclass(kind, np.number | np.bool_) and not issubclass(kind, np.complexfloating)
    )
    return isinstance(shape, tuple) and None not in shape and numeric


def _records(source: Any, block: range, of: str) -> Sequence[Any]:
    """Read and decode some records; what decoders say of damaged ones becomes one line."""
    try:
        return source.__getitems__(list(block))
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(
            f"{of}: a record of {block.start}..{block.stop - 1} is damaged: {said}; prepare the set again."
        ) from error


def _read(
    allocate: Allocate,
    builder: Builder,
    split: str,
    keys: tuple[str, str | None],
    size: int | None,
    crop: int | None,
) -> None:
    """Decode a whole split into a structured array of `image` and `label` (-1 without labels)."""
    source = builder.as_data_source(split=split)
    image_key, label_key = keys
    table = None
    for start in range(0, len(source), _BLOCK):
        block = range(start, min(start + _BLOCK, len(source)))
        for i, record in zip(block, _records(source, block, f"{builder.info.name}, split {split!r}"), strict=True):
            image = np.atleast_1d(np.asarray(record[image_key]))
            if (size or crop) and (image.dtype != np.uint8 or image.ndim != 3):
                raise ValueError(
                    f"{builder.info.name}: {image_key!r} is {image.dtype} of shape {image.shape}; only images of 8 "
                    "bits are cut and resized: leave data.size and data.crop unset."
                )
            image = resized(image, size, crop) if image.ndim == 3 and image.dtype == np.uint8 else image
            if table is None:
                table = allocate((len(source),), [("image", image.dtype, image.shape), ("label", np.int32)])
            if image.shape != table.dtype["image"].shape:
                raise ValueError(
                    f"{builder.info.name}: the images of split {split!r} differ in size; pass size=N to "
                    "cut and resize all of them to N x N."
                )
            table[i] = image, record[label_key] if label_key else -1
    if table is None:
        raise ValueError(f"{builder.info.name}: split {split!r} is empty.")


def tfds(
    split: str,
    *,
    dataset: str,
    data_dir: str | Path | None = None,
    size: Count | None = None,
    crop: Count | None = None,
    feature: str | None = None,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Read a set of images or of arrays of numbers, prepared by tensorflow-datasets as array_record; never downloads.

    Args:
        split: any split of the set, slices included ("train[:10%]").
        dataset: `mnist`, `cifar10`, ..., with `/config` and `:version` where wanted; also sets of your own.
        data_dir: see `data_folder`.
        size: side in pixels to which the largest centered square is resized; None keeps images, which must
            agree in size.
        crop: side in pixels of the centered square to cut instead, where images are larger than that.
        feature: which feature is the examples, such as a series; None: the image, or the only one of numbers.
        cache_dir: where decoded arrays are kept; see `scorejax.data.cache`.

    Raises:
        FileNotFoundError: the set is not prepared; the message has the command.
        ValueError: not array_record, no such split, no image feature, or images of different sizes and no `size`.
    """
    check_sizes(size, crop)
    folder = find(dataset, data_dir)
    if folder is None:
        raise FileNotFoundError(how_to_prepare(dataset, data_dir))
    about = folder / "dataset_info.json"
    try:
        file_format = json.loads(about.read_text()).get("fileFormat", "tfrecord")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{about} is damaged: {error}; prepare the set again.") from error
    if file_format != "array_record":
        raise ValueError(
            f"{folder} is stored as {file_format}; only array_record can be read without tensorflow. On a "
            f"machine with tensorflow run: tfds convert_format --dataset_version_dir={folder} "
            f"--out_file_format=array_record --out_dir=NEW_DATA_DIR/{folder.parent.name}/{folder.name}"
        )
    import tensorflow_datasets

    builder = tensorflow_datasets.builder_from_directory(folder)
    if split.partition("[")[0] not in builder.info.splits:
        raise ValueError(f"{dataset} has no split {split!r}; it has {sorted(builder.info.splits)}, slices allowed.")
    keys = _keys(builder, feature)
    table = cached(
        lambda allocate: _read(allocate, builder, split, keys, size, crop),
        f"{dataset.replace('/', '-').replace(':', '-')}-{split.partition('[')[0]}",
        sorted(f for f in folder.iterdir() if f.is_file()),
        (split, size, keys, crop),
        cache_dir=cache_dir,
    )
    labels, examples = np.ascontiguousarray(table["label"]), table["image"]
    if examples.dtype == bool:
        examples = examples.view(np.uint8)
    gray_levels = 256 if examples.dtype == np.uint8 and examples.ndim > 2 else None
    if labels.max() < 0:  # no label feature, or a test split published without labels
        return Dataset(dataset, examples, gray_levels=gray_levels)
    names = tuple(_features(builder)[keys[1] or ""].names)
    return Dataset(dataset, examples, labels, gray_levels=gray_levels, num_classes=len(names), label_names=names)
