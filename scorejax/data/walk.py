"""The image files of a folder, and the splits that its sub-folders or the keys of a file are named after."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from scorejax.data import notice
from scorejax.data.picture import suffixes

TRAIN, TEST = ("train", "training"), ("test", "testing")
VALIDATION = ("val", "valid", "validation", "validate", "dev", "eval", "evaluation")


def images_in(folder: Path) -> list[Path]:
    """Return the image files under a folder, sorted by path; links to folders are followed, hidden names are not read.

    Other files are skipped with one warning that counts them.
    """
    images, foreign = [], []
    for file in _files(folder, frozenset()):
        # Names in ._ are what a Mac leaves of a file on disks of others: no picture, with any suffix.
        is_image = file.suffix.lower() in suffixes() and not file.name.startswith("._") and os.path.isfile(file)
        (images if is_image else foreign).append(file)
    if foreign:
        shown = ", ".join(sorted(file.name for file in foreign)[:3])
        notice.warn(f"{len(foreign)} files under {folder} are no pictures and were skipped: {shown}{_more(foreign)}")
    return sorted(images)


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders directly in a folder, without the hidden ones."""
    return sorted(entry.name for entry in _entries(folder) if _is_folder(entry) and not _is_hidden(entry.name))


def splits_of(names: Iterable[str]) -> Mapping[str, str]:
    """Return which of the names are those of splits: `{"train": "Training", "test": "val"}`; empty if there are none.

    Upper and lower case are alike. There must be one of `TRAIN`, and one of `TEST` or `VALIDATION`; the latter serves
    as the test split where there is none, and is a further split, by its own name, in any case.

    Raises:
        ValueError: two names for one split.
    """
    found: dict[str, str] = {}
    for name in names:
        split = _split(name)
        if split is None:
            continue
        if split in found:
            raise ValueError(f"both {found[split]!r} and {name!r} are there; keep one of them.")
        found[split] = name
    validation = next((name for name in VALIDATION if name in found), None)
    if "train" not in found or ("test" not in found and validation is None):
        return {}
    if "test" not in found and validation is not None:
        found["test"] = found[validation]
    return {split: found[split] for split in ("train", "test", *VALIDATION) if split in found}


def part_named_by(name: str) -> str | None:
    """Return `train`, or `test` (validation too), if a name begins or ends with a word for it: `train2017`, `testA`."""
    for split, words in (("train", TRAIN), ("test", (*TEST, *VALIDATION))):
        word = f"(?i:{'|'.join(words)})"
        if re.search(f"^{word}(?![a-z])|(?<![A-Za-z]){word}$", name):
            return split
    return None


def _split(name: str) -> str | None:
    """The split that a name is one for: `train`, `test` or, in lower case, one of `VALIDATION`."""
    lower = name.lower()
    return "train" if lower in TRAIN else "test" if lower in TEST else lower if lower in VALIDATION else None


def _files(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    """The files under a folder; a link to a folder above it is not followed, for that would never end."""
    place = os.path.realpath(folder)
    if place in above:
        return
    for entry in _entries(folder):
        if _is_folder(entry):
            if not _is_hidden(entry.name):
                yield from _files(folder / entry.name, above | {place})
        elif not _is_hidden(entry.name) or entry.name.startswith("._"):
            yield folder / entry.name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except PermissionError as error:
        raise ValueError(f"{folder} may not be read; change its permissions, or leave it out.") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or to where nobody may look
        return False


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _more(files: list[Path]) -> str:
    return ", ..." if len(files) > 3 else ""
