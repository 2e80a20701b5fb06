"""Three tables of the UCI repository, prepared as in the papers on deep kernel exponential families."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.slides.frame import Refused

FILES = {
    "Parkinsons": ("parkinsons_updrs.data", ",", 3, None),
    "RedWine": ("winequality-red.csv", ";", 0, 11),
    "WhiteWine": ("winequality-white.csv", ";", 0, 11),
}
"""Of each table its file, what separates columns, and the first and the last column that is taken."""
NOISE = 0.05


class Split(NamedTuple):
    """Whitened rows, with noise of deviation 0.05."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def read(folder: str | Path, name: str) -> np.ndarray:
    """The columns that are taken, `[N, D]`: of Parkinsons without subject, age and sex, of wines without quality.

    Raises:
        Refused: no such file.
    """
    file, separator, first, last = FILES[name]
    path = Path(folder).expanduser() / file
    if not path.is_file():
        raise Refused(f"{path} is not there; it is a file of the UCI repository, see archive.ics.uci.edu")
    return np.loadtxt(path, delimiter=separator, skiprows=1)[:, first:last]


def prepared(table: np.ndarray, seed: int) -> Split:
    """Whiten a table and split it: a tenth to validate, a tenth to test.

    Rows that occur several times, a seventh of the red wines, are taken once: the twin of a test row among the training
    rows is an atom, at which score matching losses have no lower bound. The published experiment keeps them.

    Columns of few values (wine) are spread by uniform noise of plus or minus the median gap between their values,
    and while some column has a correlation above 0.98 with another, the first such is dropped (Parkinsons). All
    rows decide on the whitening, as in the published experiment.
    """
    rng = np.random.default_rng(seed)
    table = np.unique(table, axis=0)
    if all(len(np.unique(column)) < len(table) / 2 for column in table.T):
        gaps = np.array([_median_gap(column) for column in table.T])
        table = table + gaps * rng.uniform(-1, 1, table.shape)
    while (twins := np.sum(np.corrcoef(table.T) > 0.98, axis=0) > 1).any():
        table = np.delete(table, np.argmax(twins), axis=1)
    centered = table - table.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(centered.T))
    white = centered @ vectors / np.sqrt(values)
    white = rng.permutation(white) + NOISE * rng.standard_normal(white.shape)
    tenth = len(white) // 10
    rows = white.astype(np.float32)
    return Split(rows[2 * tenth :], rows[tenth : 2 * tenth], rows[:tenth])


def gaussian_floor(split: Split) -> tuple[float, float]:
    """Score matching loss and log-likelihood of test rows under the Gaussian of the training rows, in nats."""
    mean, precision = split.train.mean(axis=0), np.linalg.inv(np.cov(split.train.T))
    off = split.test.astype(np.float64) - mean
    loss = 0.5 * np.sum((off @ precision) ** 2, axis=1).mean() - np.trace(precision)
    log_det = np.linalg.slogdet(precision / (2 * np.pi))[1]
    return float(loss), float(0.5 * log_det - 0.5 * np.einsum("bi,ij,bj->b", off, precision, off).mean())


def _median_gap(column: np.ndarray) -> float:
    """Between neighboring values of a column."""
    values = sorted(set(column.tolist()))
    return statistics.median(above - below for below, above in itertools.pairwise(values))
