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
    return (
        f"{name!r} is not prepared: no {wanted}. On a machine with internet access and tensorflow (needed "
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


def _keys(builder: Builder) -> tuple[str, str | None]:
    """Names of the image feature and of the class label (or None)."""
    import tensorflow_datasets

    kinds = dict(_features(builder))
    images = [key for key, feature in kinds.items() if isinstance(feature, tensorflow_datasets.features.Image)]
    labels = [key for key, feature in kinds.items() if isinstance(feature, tensorflow_datasets.features.ClassLabel)]
    if not images:
        raise ValueError(f"{builder.info.name} has no image among its features {sorted(kinds)}; image sets only.")
    preferred = builder.info.supervised_keys
    label = labels[0] if labels else None
    if preferred and isinstance(preferred[-1], str) and preferred[-1] in labels:
        label = preferred[-1]
    return images[0], label


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
            if record[image_key].dtype != np.uint8:
                got = record[image_key].dtype
                raise ValueError(f"{builder.info.name}: its images are {got}; only images of 8 bits are supported.")
            image = resized(record[image_key], size, crop)
            if table is None:
                table = allocate((len(source),), [("image", np.uint8, image.shape), ("label", np.int32)])
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
    size: int | None = None,
    crop: int | None = None,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Read an image set prepared by tensorflow-datasets as array_record; never downloads.

    Args:
        split: any split of the set, slices included ("train[:10%]").
        dataset: `mnist`, `cifar10`, ..., with `/config` and `:version` where wanted; also sets of your own.
        data_dir: see `data_folder`.
        size: side in pixels to which the largest centered square is resized; None keeps images, which must
            agree in size.
        crop: side in pixels of the centered square to cut instead, where images are larger than that.
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
    keys = _keys(builder)
    table = cached(
        lambda allocate: _read(allocate, builder, split, keys, size, crop),
        f"{dataset.replace('/', '-').replace(':', '-')}-{split.partition('[')[0]}",
        sorted(f for f in folder.iterdir() if f.is_file()),
        (split, size, keys, crop),
        cache_dir=cache_dir,
    )
    labels = np.ascontiguousarray(table["label"])
    if labels.max() < 0:  # no label feature, or a test split published without labels
        return Dataset(dataset, table["image"], gray_levels=256)
    names = tuple(_features(builder)[keys[1] or ""].names)
    return Dataset(dataset, table["image"], labels, gray_levels=256, num_classes=len(names), label_names=names)
