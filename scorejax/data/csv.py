"""Tables of the user's own in a text file with a header."""

from __future__ import annotations

import csv as csv_lib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scorejax.data.arrays import Fraction, HeldOut, Reading, find_keys, read_split
from scorejax.data.conditions import PREFIX
from scorejax.data.dataset import Dataset
from scorejax.data.missing import Missing
from scorejax.numerics.ranges import Positive

_MISSING = ("", "na", "n/a", "nan", "null", "none", "-")
_SHOWN = 12  # names of columns in a message


def csv(
    split: str,
    *,
    path: str | Path,
    columns: tuple[str, ...] | None = None,
    labels: str | None = None,
    condition: tuple[str, ...] | None = None,
    quantum: Positive | None = None,
    groups: str | None = None,
    held_out: HeldOut = "every",
    test_fraction: Fraction = 0.1,
    missing: Missing = "refuse",
) -> Dataset:
    """Read a table from a text file with commas, semicolons or tabs, whose first line names the columns.

    Columns of whole numbers alone make a table of counted numbers; others are densities.

    Args:
        split: "train" or "test".
        path: the file.
        columns: names of the columns that are the examples; None: all but those of `labels`, `condition` and `groups`.
        labels: the column of classes, whole numbers or texts; None: none.
        condition: columns that the others are given, each a condition by its name: numbers, brought to mean 0 and
            deviation 1 over the training rows, or classes where it holds texts; a missing value is absent. A column
            of `labels` next to them is one more, of classes.
        quantum: distance between neighboring values of numbers that are counted; None: they are densities.
        groups: a column; rows of one group stay in one split.
        held_out: which rows are the test split: `every` k-th row or group, or the `last` ones.
        test_fraction: their share.
        missing: what NaN in examples is: a mistake (refuse), or a number that is missing (nan).

    Raises:
        FileNotFoundError: no such file.
        ValueError: columns that are not there, or that hold texts or nothing; the message names the column and the row.
    """
    where = Path(path).expanduser()
    if not where.is_file():
        raise FileNotFoundError(f"{str(where)!r} is not a file; give the .csv or .tsv file that holds the table.")
    header, rows = _read(where)
    for what, asked in (
        ("columns", columns or ()), ("labels", _one(labels)), ("condition", condition or ()), ("groups", _one(groups))
    ):  # fmt: skip
        if unknown := [name for name in asked if name not in header]:
            raise ValueError(f"{where}: data.{what} names {unknown[0]!r}; its columns are {_some(header)}.")
    names = columns or tuple(name for name in header if name not in (labels, groups, *(condition or ())))
    stored: dict[str, np.ndarray] = {"x": _numbers(where, header, rows, names, holes=missing == "nan")}
    for name in condition or ():
        stored[PREFIX + name] = _given(where, header, rows, name)
    if labels is not None:
        stored["labels" if condition is None else PREFIX + labels] = _texts(header, rows, labels)
    if groups is not None:
        stored[groups] = np.asarray([row[header.index(groups)] for row in rows])
    keys = find_keys(where, list(stored), groups)
    how = Reading("NC", None, quantum, groups, held_out, test_fraction, missing == "nan")
    return read_split(where, where.stem, split, stored, keys, how, "csv")


def _read(where: Path) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the rows."""
    try:
        text = where.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is no text in UTF-8 ({error}); save it as such.") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = [row for row in csv_lib.reader(text.splitlines(), delimiter=delimiter) if row]
    if len(lines) < 2:
        raise ValueError(f"{where} holds no rows below its header.")
    header, rows = [name.strip() for name in lines[0]], lines[1:]
    if len(set(header)) < len(header) or all(_is_number(name) for name in header):
        why = "begins with numbers" if all(_is_number(name) for name in header) else "names a column twice"
        raise ValueError(f"{where}: its first line {why}; it must give each column a name of its own.")
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(f"{where}: line {number} has {len(row)} fields, the header {len(header)}.")
    return header, rows


def _numbers(
    where: Path, header: list[str], rows: list[list[str]], names: Sequence[str], *, holes: bool = False
) -> np.ndarray:
    """The columns as an array `[N, D]`, of whole numbers if all are; with `holes` what is missing is NaN."""
    if not names:
        raise ValueError(f"{where}: no column is left for the examples; set data.columns among {_some(header)}.")
    found = []
    for name in names:
        place = header.index(name)
        texts = ["nan" if row[place].strip().lower() in _MISSING else row[place].strip() for row in rows]
        try:
            column = np.asarray(texts, np.float64)
        except ValueError:
            at = next(i for i, text in enumerate(texts) if not _is_number(text))
            raise ValueError(
                f"{where}: column {name!r} holds the text {texts[at]!r} in line {at + 2}; leave it out by data.columns"
                ", take it for classes by data.labels, or write it as numbers."
            ) from None
        whole = all(text.lstrip("+-").isdigit() for text in texts)
        found.append(column.astype(np.int64) if whole and np.abs(column).max() < 2**53 else column)
    for name, column in zip(names, found, strict=True):
        missing = np.isinf(column) if holes else ~np.isfinite(column)
        if missing.any():
            raise ValueError(
                f"{where}: column {name!r} has {missing.sum():,} values that are missing or not finite, the first in "
                f"line {int(np.argmax(missing)) + 2}; remove such rows, fill them in, or leave the column "
                "out by data.columns."
            )
    return np.stack(found, axis=1)


def _given(where: Path, header: list[str], rows: list[list[str]], name: str) -> np.ndarray:
    """A column that others are given: numbers, NaN where one is missing, or texts, empty where one is."""
    texts = [row[header.index(name)].strip() for row in rows]
    known = [text for text in texts if text.lower() not in _MISSING]
    if any(_is_number(text) for text in known) or not known:
        return _numbers(where, header, rows, (name,), holes=True)[:, 0].astype(np.float64)
    return np.asarray(["" if text.lower() in _MISSING else text for text in texts])


def _texts(header: list[str], rows: list[list[str]], name: str) -> np.ndarray:
    """A column of classes: whole numbers where all are, else texts."""
    texts = [row[header.index(name)].strip() for row in rows]
    return np.asarray(texts, int) if all(text.lstrip("-").isdigit() for text in texts) else np.asarray(texts)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _one(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def _some(header: Sequence[str]) -> str:
    return ", ".join(header[:_SHOWN]) + (", ..." if len(header) > _SHOWN else "")
