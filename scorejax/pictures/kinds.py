"""One picture for each kind of example, data next to samples: tables, series, fields of any channels, and volumes.

Colors and axes are those of the data: their 1st to 99th percentile, so that one wild sample hides nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scorejax.pictures.scatter import save_scatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANNELS = 8  # at most, each in panels of its own
_LINES = 8  # series drawn one by one
_COLUMNS = 8  # fields in a row
_VOLUMES = 4
_WIDEST = 4.0  # longest to shortest side of a panel that keeps its pixels square
_INK = ((70 / 255, 98 / 255, 160 / 255), (206 / 255, 96 / 255, 46 / 255))  # blue for data, orange for samples


def save_examples(path: str | Path, data: np.ndarray, samples: np.ndarray) -> None:
    """Draw data and samples of any kind into a PNG.

    Args:
        path: PNG file to write.
        data: `[N, D]` tables, `[N, L, C]` series, `[N, H, W, C]` fields or `[N, D, H, W, C]` volumes, in the user's
            units.
        samples: of the same kind, `[M, ...]`.

    Raises:
        ValueError: no examples, of another rank, or data and samples of different shapes.
    """
    data, samples = np.asarray(data), np.asarray(samples)
    if data.shape[1:] != samples.shape[1:] or not data.size or not samples.size or not 2 <= data.ndim <= 5:
        raise ValueError(
            f"data have shape {data.shape} and samples {samples.shape}; wanted some of each, of one shape: [N, D], "
            "[N, L, C], [N, H, W, C] or [N, D, H, W, C]."
        )
    if data.ndim == 2:
        save_scatter(path, data, samples)
        return
    draw: Callable[[np.ndarray, np.ndarray], Figure] = {3: _series, 4: _fields, 5: _volumes}[data.ndim]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    draw(data, samples).savefig(path, format="png")


def save_ratio(
    path: str | Path, x: Sequence[float], ratio: Sequence[float], error: Sequence[float], *, labels: tuple[str, str]
) -> None:
    """Draw a ratio that should be 1, with bars of two standard errors, over a logarithmic horizontal axis.

    Args:
        path: PNG file to write.
        x: positions; those that are not above zero are left out.
        ratio: of samples to data.
        error: standard error of each.
        labels: of the horizontal and the vertical axis.
    """
    figure = _figure(7.0, 4.0)
    axes = figure.add_subplot(xscale="log", xlabel=labels[0], ylabel=labels[1])
    kept = np.asarray(x) > 0
    axes.axhline(1.0, color="gray", linestyle="--")
    axes.errorbar(
        np.asarray(x)[kept], np.asarray(ratio)[kept], 2 * np.asarray(error)[kept], fmt="o-", markersize=3, color=_INK[1]
    )
    axes.grid(True, which="both", alpha=0.25)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)  # without pyplot there is no global state, and no display is looked for
    return figure


def _limits(data: np.ndarray) -> tuple[float, float]:
    """The 1st and the 99th percentile, some way apart."""
    values = np.asarray(data, np.float64)
    low, high = np.nanquantile(values[np.isfinite(values)], [0.01, 0.99]) if np.isfinite(values).any() else (0.0, 1.0)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def _series(data: np.ndarray, samples: np.ndarray) -> Figure:
    """A row for each channel: some lines, and the 5th, 50th and 95th percentile at every place."""
    channels = min(data.shape[-1], CHANNELS)
    figure = _figure(10.0, 1.0 + 1.8 * channels)
    panels = figure.subplots(channels, 2, squeeze=False, sharex=True, sharey="row")
    for channel, row in enumerate(panels):
        low, high = _limits(data[..., channel])
        margin = 0.15 * (high - low)
        for axes, name, of, ink in zip(row, ("data", "samples"), (data, samples), _INK, strict=True):
            values = np.asarray(of[..., channel], np.float64)
            places = np.arange(values.shape[1])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of places where no value is there
                bands = np.nanquantile(np.where(np.isfinite(values), values, np.nan), [0.05, 0.5, 0.95], axis=0)
            axes.fill_between(places, bands[0], bands[2], color=ink, alpha=0.2, linewidth=0)
            axes.plot(places, bands[1], color=ink, linewidth=2)
            axes.plot(
                places,
                _some(values, _LINES).T,
                color=ink,
                linewidth=0.7,
                alpha=0.7,
                marker="." if len(places) == 1 else "",
            )
            axes.set_ylim(low - margin, high + margin)
            if channel == 0:
                axes.set_title(
                    f"{name}, {len(values)} series: {min(_LINES, len(values))} of them, 5-50-95 %", fontsize=9
                )
        row[0].set_ylabel(f"channel {channel}", fontsize=9)
    return figure


def _fields(data: np.ndarray, samples: np.ndarray) -> Figure:
    """Rows of data and of samples for each channel; of more than eight, the three that vary most, as colors."""
    rows = [(f"channel {c}", data[..., c], samples[..., c]) for c in range(data.shape[-1])]
    if data.shape[-1] > CHANNELS:
        rows = [("3 main components", *_components(data, samples))]
    count = min(_COLUMNS, max(len(data), len(samples)))
    figure = _figure(1.3 * count + 0.6, 2.6 * len(rows) * _height(data.shape[1:3]) + 0.4)
    panels = figure.subplots(2 * len(rows), count, squeeze=False)
    for i, (name, *both) in enumerate(rows):
        limits = (0.0, 1.0) if both[0].ndim == 4 else _limits(both[0])
        for row, what, images in zip(panels[2 * i : 2 * i + 2], ("data", "samples"), both, strict=True):
            _row(row, images, limits)
            row[0].set_ylabel(f"{what}\n{name}" if len(rows) > 1 or images.ndim == 4 else what, fontsize=8)
    return figure


def _components(data: np.ndarray, samples: np.ndarray) -> list[np.ndarray]:
    """Both in the three directions of the channels in which the data vary most, scaled to 0..1."""
    flat = np.nan_to_num(np.asarray(data[:256], np.float64).reshape(-1, data.shape[-1]))
    mean = flat.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(flat, rowvar=False))
    shown = [
        np.nan_to_num(np.asarray(_some(each, _COLUMNS), np.float64) - mean) @ directions[:, :-4:-1]
        for each in (data, samples)
    ]
    limits = [_limits(shown[0][..., i]) for i in range(3)]
    low, high = np.array(limits).T
    return [np.clip((each - low) / (high - low), 0.0, 1.0) for each in shown]


def _volumes(data: np.ndarray, samples: np.ndarray) -> Figure:
    """For each volume the middle slice across every axis and the maximum along the first one, of the first channel."""
    limits = _limits(data[..., 0])
    figure = _figure(11.0, 1.35 * min(_VOLUMES, max(len(data), len(samples))) + 0.5)
    panels = figure.subplots(min(_VOLUMES, max(len(data), len(samples))), 8, squeeze=False)
    for half, name, of in ((0, "data", data), (4, "samples", samples)):
        for row, volume in zip(panels[:, half : half + 4], _some(of[..., 0], _VOLUMES), strict=False):
            middle = [side // 2 for side in volume.shape]
            views = [volume[middle[0]], volume[:, middle[1]], volume[:, :, middle[2]], volume.max(axis=0)]
            for axes, view in zip(row, views, strict=True):
                _image(axes, view, limits)
        for axes, title in zip(
            panels[0, half : half + 4], ("across 1", "across 2", "across 3", "maximum"), strict=True
        ):
            axes.set_title(f"{name}\n{title}", fontsize=8)
    for axes in panels.ravel():
        _bare(axes)
    return figure


def _some(examples: np.ndarray, count: int) -> np.ndarray:
    """At most so many examples from all over the set: neighbors may be windows of one recording."""
    return examples[np.linspace(0, len(examples) - 1, min(count, len(examples))).astype(int)]


def _row(row: Sequence[Axes], images: np.ndarray, limits: tuple[float, float]) -> None:
    for axes in row:
        _bare(axes)
    for axes, image in zip(row, _some(images, len(row)), strict=False):
        _image(axes, image, limits)


def _image(axes: Axes, image: np.ndarray, limits: tuple[float, float]) -> None:
    aspect = "equal" if _height(image.shape[:2]) == image.shape[0] / image.shape[1] else "auto"
    shown = np.asarray(image, np.float64)
    axes.imshow(shown, vmin=limits[0], vmax=limits[1], cmap="viridis", aspect=aspect, interpolation="nearest")


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _height(sides: Sequence[int]) -> float:
    """Height over width of a panel: that of the pixels, unless they would make a thread of it."""
    return float(np.clip(sides[0] / sides[1], 1 / _WIDEST, _WIDEST))
