"""A folder of images, in any format Pillow reads."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scorejax.data.cache import Allocate, cached
from scorejax.data.dataset import Dataset, check_split
from scorejax.data.picture import pixels

SPLITS = ("train", "test")


def images_in(folder: Path) -> list[Path]:
    """Return the files under a folder that Pillow can read, by name."""
    from PIL import Image

    known = Image.registered_extensions()
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in known)


def is_test(name: str, test_fraction: float) -> bool:
    """Return whether a file is in the test split: a hash of its own name decides, so adding files moves none."""
    digest = hashlib.blake2s(name.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") < test_fraction * 2**32


def _read(allocate: Allocate, files: Sequence[Path], size: int | None, crop: int | None, where: Path) -> None:
    from PIL import Image

    modes = set()
    for file in files:  # headers only
        with Image.open(file) as image:
            modes.add(image.mode)
    # one colored image makes the whole set colored; an alpha channel alone does not
    gray = modes <= {"1", "L", "LA", "I;16"}
    out = None
    for i, file in enumerate(files):
        with Image.open(file) as image:
            array = pixels(image, size, crop, gray=gray)
        out = allocate((len(files), *array.shape), np.uint8) if out is None else out
        if array.shape != out.shape[1:]:
            raise ValueError(
                f"the images under {where} differ in size: {file.name} is "
                f"{array.shape[1]}x{array.shape[0]}, the ones before it {out.shape[2]}x{out.shape[1]}; pass "
                "size=N to cut and resize all of them to N x N."
            )
        out[i] = array


def folder(
    split: str,
    *,
    path: str | Path,
    size: int | None = None,
    crop: int | None = None,
    test_fraction: float = 0.1,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Read every image under `path`; sub-folders directly below it are classes, in alphabetical order.

    If `path` holds both `train` and `test`, those are the splits. Otherwise about `test_fraction` of the
    files, chosen by a hash of the file's name relative to `path`, are the test split.

    Args:
        split: "train" or "test".
        path: the folder.
        size: side in pixels to which the largest centered square is resized; None keeps images, which must
            agree in size.
        crop: side in pixels of the centered square to cut instead, where images are larger than that.
        test_fraction: expected share of the test split where the folder has none of its own.
        cache_dir: where decoded arrays are kept; see `scorejax.data.cache`.

    Raises:
        FileNotFoundError: no folder, or no image in it.
        ValueError: images of different sizes and no `size`.
    """
    check_split("folder", split, SPLITS)
    root = Path(path).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"path = {str(root)!r} is not a folder; give the folder that holds the images.")
    own_splits = all((root / s).is_dir() for s in SPLITS)
    top = root / split if own_splits else root
    files = images_in(top)
    if not own_splits:
        files = [f for f in files if is_test(f.relative_to(root).as_posix(), test_fraction) == (split == "test")]
    if not files:
        raise FileNotFoundError(f"no image of split {split!r} under {top} that Pillow can read.")

    # classes are numbered over both splits, so that a class without an example in one keeps its number
    tops = [root / s for s in SPLITS] if own_splits else [root]
    classes = sorted({f.relative_to(t).parts[0] for t in tops for f in images_in(t) if f.parent != t})
    labels = None
    if classes and all(f.parent != top for f in files):
        labels = np.array([classes.index(f.relative_to(top).parts[0]) for f in files], np.int32)
    examples = cached(
        lambda allocate: _read(allocate, files, size, crop, top),
        f"folder-{root.name}-{split}",
        files,
        (split, size, crop),
        cache_dir=cache_dir,
    )
    names = tuple(classes) if labels is not None else ()
    return Dataset(root.name, examples, labels, gray_levels=256, num_classes=len(names), label_names=names)
