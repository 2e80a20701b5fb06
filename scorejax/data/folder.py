"""A folder of images, in any format Pillow reads."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from scorejax.data import full_depth, notice, picture
from scorejax.data.cache import Allocate, cached
from scorejax.data.dataset import Dataset, check_split
from scorejax.data.encoding import Levels
from scorejax.data.picture import Alpha
from scorejax.data.square import check_sizes
from scorejax.data.walk import TEST, TRAIN, folders_in, images_in, part_named_by, splits_of
from scorejax.numerics.ranges import Below1, Count


def is_test(name: str, test_fraction: float) -> bool:
    """Return whether a file is in the test split: a hash of its own name decides, so adding files moves none."""
    digest = hashlib.blake2s(os.fsencode(name), digest_size=4).digest()
    return int.from_bytes(digest, "big") < test_fraction * 2**32


def folder(
    split: str,
    *,
    path: str | Path,
    size: Count | None = None,
    crop: Count | None = None,
    alpha: Alpha | None = None,
    depth: Literal["8", "full"] = "8",
    test_fraction: Below1 = 0.1,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Read every image under `path`; sub-folders directly below it are classes, in alphabetical order.

    If `path` holds folders `train` and `test` (or `training`, `testing`), those are the splits; without `test`, one
    of `val`, `valid`, `validation`, `validate`, `dev`, `eval` or `evaluation` serves as it. Other names that seem
    to be those of splits are refused or mentioned. Otherwise about `test_fraction` of the files, chosen by a hash
    of the file's name relative to `path`, are the test split. Hidden files and folders are not read, and files that
    are no images are skipped.

    Args:
        split: "train" or "test", or the name of a folder of validation images.
        path: the folder.
        size: side in pixels to which the largest centered square is resized; None keeps images, which must
            agree in size.
        crop: side in pixels of the centered square to cut instead, where images are larger than that.
        alpha: what becomes of pixels that are not opaque: `white`, `black` or `gray` shows through, or `keep`: alpha
            is one more channel; None refuses them.
        depth: `8`: bits of a channel, to which those of 16 are brought; `full`: numbers as they are stored, of 8 or 16
            bits or floating ones, with any number of channels.
        test_fraction: expected share of the test split where the folder has none of its own.
        cache_dir: where decoded arrays are kept; see `scorejax.data.cache`.

    Raises:
        FileNotFoundError: no folder, or no image in it.
        ValueError: a split that it does not have or for which no image is left, images of different sizes and no
            `size`, or a file that cannot be read rightly, by its name.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"path = {str(root)!r} is not a folder; give the folder that holds the images.")
    check_sizes(size, crop)
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction = {test_fraction}; it is a share, at least 0 and less than 1.")
    tops = _own_splits(root)
    if tops:
        check_split("folder", split, tuple(tops))
        files = images_in(tops[split])
        if not files:
            raise FileNotFoundError(f"no image that can be read lies under {tops[split]}.")
        # Splits of the user's own may differ in color, which `compare` refuses; those made here may not.
        of_one_kind = files
    else:
        check_split("folder", split)
        top = _top(root)
        tops = {"train": top, "test": top}
        of_one_kind = images_in(tops[split])
        files = _chosen(root, of_one_kind, split, test_fraction)
    if depth == "8":
        picture.mention_depth(files[0])  # decoded long ago or not
    labels, classes = _labels(files, tops, split)
    read = _read if depth == "8" else full_depth.read_all
    examples = cached(
        lambda allocate: read(allocate, files, of_one_kind, size, crop, alpha, tops[split]),
        f"folder-{root.name}-{split}",
        of_one_kind,
        (picture.VERSION, split, size, crop, alpha, test_fraction) + (() if depth == "8" else (depth,)),
        cache_dir=cache_dir,
    )
    names = tuple(map(notice.readable, classes))
    name = notice.readable(root.name)
    gray_levels = 256 if examples.dtype == np.uint8 else None
    levels = Levels(0.0, 2**16) if examples.dtype == np.uint16 else None  # of every split alike
    return Dataset(name, examples, labels, gray_levels, len(names), names, levels)


def _own_splits(root: Path) -> Mapping[str, Path]:
    """The folders of the splits; none where the folder has no splits of its own."""
    found = splits_of(folders_in(root))
    if not found:
        _check_classes(root, folders_in(root))
        return {}
    if found["test"].lower() not in TEST:
        notice.inform(f"{root}: its folder {found['test']!r} serves as the test split")
    if unread := [name for name in folders_in(root) if name not in found.values()]:
        notice.warn(f"{root} holds splits; its other folders are not read: {', '.join(unread)}")
    return {split: root / name for split, name in found.items()}


def _check_classes(root: Path, names: Sequence[str]) -> None:
    """Refuse or mention classes that are likelier splits: what is to be tested on would be trained on."""
    parts = {name: part for name in names if (part := part_named_by(name))}
    both = {"train", "test"} <= set(parts.values())
    alone = len(names) == 1 and "test" in parts.values()
    if both or alone or any(name.lower() in TEST for name in names):
        raise ValueError(
            f"{root} holds folders named {', '.join(parts)}, which would be taken for classes, though they seem to be "
            "splits; call the folders of splits train and test, and give both, or give classes other names."
        )
    if parts and [name.lower() in TRAIN for name in names] != [True]:
        notice.warn(
            f"{root}: taken for classes, not splits: {', '.join(parts)}; folders of splits are called train and test"
        )


def _top(root: Path) -> Path:
    """Where classes begin if the program makes the splits: below a lonely folder `train`, else at the root."""
    below = folders_in(root)
    return root / below[0] if len(below) == 1 and below[0].lower() in TRAIN else root


def _chosen(root: Path, everything: Sequence[Path], split: str, test_fraction: float) -> list[Path]:
    """The files of a split that the program makes."""
    if not everything:
        raise FileNotFoundError(f"no image that can be read lies under {root}.")
    is_of = split == "test"
    files = [f for f in everything if is_test(f.relative_to(root).as_posix(), test_fraction) == is_of]
    if not files:
        raise ValueError(
            f"{root} holds {len(everything)} images: none is left for the {split} split; put some into a folder named "
            f"{split} and the others into one named {'train' if is_of else 'test'}, or set data.test_fraction (now "
            f"{test_fraction})."
        )
    return files


def _labels(files: Sequence[Path], tops: Mapping[str, Path], split: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The class of each file, by the folder below that of its split, and the names of all classes."""
    top = tops[split]
    # Numbered over all splits, so that a class without an example in one keeps its number.
    of_all = {t: images_in(t) for t in tops.values()}
    classes = sorted({f.relative_to(t).parts[0] for t, found in of_all.items() for f in found if f.parent != t})
    if not classes:
        return None, ()
    if empty := sorted({name for t in of_all for name in folders_in(t)} - set(classes)):
        notice.warn(f"folders without an image are no classes: {', '.join(empty)}, under {top}")
    loose = sum(f.parent == t for t, found in of_all.items() for f in found)
    if loose:
        notice.warn(f"{loose} images lie directly in {top}, others in folders: these are not taken for classes")
        return None, ()
    return np.array([classes.index(f.relative_to(top).parts[0]) for f in files], np.int32), tuple(classes)


def _read(
    allocate: Allocate,
    files: Sequence[Path],
    of_one_kind: Sequence[Path],
    size: int | None,
    crop: int | None,
    alpha: str | None,
    where: Path,
) -> None:
    # One colored image makes the whole set colored; an alpha channel alone does not.
    gray = all(picture.is_gray(file) for file in of_one_kind)
    channels = (1 if gray else 3) + (alpha == "keep")
    out = None
    for i, file in enumerate(files):
        array = picture.pixels(file, channels, size=size, crop=crop, alpha=alpha)
        out = allocate((len(files), *array.shape), np.uint8) if out is None else out
        if array.shape != out.shape[1:]:
            raise ValueError(
                f"the images under {where} differ in size: {notice.readable(file.name)} is "
                f"{array.shape[1]}x{array.shape[0]}, the ones before it {out.shape[2]}x{out.shape[1]}; pass "
                "size=N to cut and resize all of them to N x N."
            )
        out[i] = array
