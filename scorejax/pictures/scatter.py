"""PNG pictures of vectors, data to the left of samples: histograms of one number, scatter plots of pairs of numbers."""

from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAIRS = 3  # rows of the page at most: columns 0 and 1, 0 and 2, 1 and 2 of vectors of three numbers and more
_BINS = 60
_COMPARABLE = 4
_INK = ((70 / 255, 98 / 255, 160 / 255), (206 / 255, 96 / 255, 46 / 255))  # blue for data, orange for samples


def save_scatter(path: str | Path, data: np.ndarray, samples: np.ndarray, *, size: int = 360, most: int = 4000) -> None:
    """Draw data on the left and samples on the right, on the same axes, fixed by the data.

    Vectors of one number make a histogram, longer ones a scatter plot of each pair of their first three numbers.

    Args:
        path: PNG file to write.
        data: `[N, D]`.
        samples: `[M, D]`; points outside the data's window, or not finite, are left out and counted in the title.
        size: side of a panel in pixels.
        most: points drawn per panel, the first ones.

    Raises:
        ValueError: not two-dimensional arrays of vectors of one length.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sets = [("data", np.asarray(data)), ("samples", np.asarray(samples))]
    for name, points in sets:
        if points.ndim != 2 or not points.size or points.shape[1] != sets[0][1].shape[-1]:
            raise ValueError(f"{name} has shape {points.shape}; wanted a non-empty [N, D], D the same for both.")
    width = sets[0][1].shape[1]
    pairs = list(islice(combinations(range(min(width, PAIRS)), 2), PAIRS)) or [(0,)]
    figure = Figure(figsize=(2 * size / 100, len(pairs) * size / 100), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)  # without pyplot there is no global state, and no display is looked for
    panels = figure.subplots(len(pairs), 2, squeeze=False, sharex="row", sharey="row")
    for row, pair in zip(panels, pairs, strict=True):
        window = _window(np.asarray(sets[0][1][:, list(pair)], np.float64))
        for axes, (name, points), ink in zip(row, sets, _INK, strict=True):
            chosen = np.asarray(points[:most, list(pair)], np.float64)
            inside = np.all((chosen >= window[:, 0]) & (chosen <= window[:, 1]), axis=1)  # False for NaN
            _draw(axes, chosen[inside], window, ink)
            outside = int(np.sum(~inside))
            axes.set_title(f"{name}, {len(chosen)} points" + (f",\n{outside} of them outside" if outside else ""))
            axes.set_xlabel(f"column {pair[0]}")
        row[0].set_ylabel(f"column {pair[1]}" if len(pair) == 2 else "density")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _draw(axes: "Axes", points: np.ndarray, window: np.ndarray, ink: tuple[float, float, float]) -> None:
    """Points in the window `[axes, 2]`, or how often they lie in each of its bins."""
    axes.set_xlim(*window[0])
    if len(window) == 1:
        axes.hist(points[:, 0], bins=_BINS, range=tuple(window[0]), density=len(points) > 0, color=ink)
        return
    axes.set_ylim(*window[1])
    axes.scatter(points[:, 0], points[:, 1], s=5, color=ink, alpha=0.45, linewidths=0)


def _window(points: np.ndarray) -> np.ndarray:
    """Lower and upper limits `[axes, 2]` that hold all but the outermost 0.2 percent, with a margin of 8 percent.

    Axes of about the same extent are given the same, so that a circle of the data is one in the picture.
    """
    low, high = np.quantile(points, [0.001, 0.999], axis=0)
    side = 1.16 * (high - low)
    # Of a constant column there must be something to see.
    side = np.where(side > 0, side, np.maximum(1, np.abs(low)))
    if side.max() < _COMPARABLE * side.min():
        side = np.full_like(side, side.max())
    middle = (low + high) / 2
    return np.stack([middle - side / 2, middle + side / 2], axis=1)
