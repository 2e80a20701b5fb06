"""PNG scatter plots of 2-D vectors, data to the left of samples, with Pillow alone."""

from pathlib import Path

import numpy as np

_SHARP = 3  # drawn this much larger, then reduced: smooth dots
_INK = ((70, 98, 160), (206, 96, 46))  # blue for data, orange for samples
_FRAME, _TEXT = (205, 205, 205), (60, 60, 60)
_GAP, _TITLE = 14, 22


def _limits(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Lower corner and side of a square that holds all but the outermost 0.2 percent, with a margin of 8 percent."""
    low, high = np.quantile(points, [0.001, 0.999], axis=0)
    side = float(np.max(high - low)) * 1.16 or 1.0
    return (low + high) / 2 - side / 2, side


def save_scatter(path: str | Path, data: np.ndarray, samples: np.ndarray, *, size: int = 360, most: int = 4000) -> None:
    """Draw data on the left and samples on the right, on the same axes, fixed by the data.

    Args:
        path: PNG file to write.
        data: `[N, D]`; the first two coordinates are drawn.
        samples: `[M, D]`; points outside the data's window, or not finite, are left out and counted in the title.
        size: side of a panel in pixels.
        most: points drawn per panel, the first ones.

    Raises:
        ValueError: not two-dimensional arrays with at least two columns.
    """
    from PIL import Image, ImageDraw, ImageFont

    for name, points in (("data", data), ("samples", samples)):
        if np.ndim(points) != 2 or np.shape(points)[1] < 2 or not len(points):
            raise ValueError(f"{name} has shape {np.shape(points)}; wanted a non-empty [N, D] with D >= 2.")
    low, side = _limits(np.asarray(data, np.float64)[:, :2])
    high = (size + 2 * _GAP + _TITLE) * _SHARP
    page = Image.new("RGB", ((2 * size + 3 * _GAP) * _SHARP, high), "white")
    pen, font = ImageDraw.Draw(page, "RGBA"), ImageFont.load_default(13 * _SHARP)
    panel, radius = size * _SHARP, 1.3 * _SHARP
    for i, (name, points) in enumerate((("data", data), ("samples", samples))):
        left, top = (_GAP + i * (size + _GAP)) * _SHARP, (_GAP + _TITLE) * _SHARP
        unit = (np.asarray(points, np.float64)[:most, :2] - low) / side
        inside = np.all((unit >= 0) & (unit <= 1), axis=1)  # False for NaN
        for x, y in unit[inside] * panel:
            at = (left + x - radius, top + panel - y - radius, left + x + radius, top + panel - y + radius)
            pen.ellipse(at, fill=(*_INK[i], 110))
        pen.rectangle((left, top, left + panel, top + panel), outline=_FRAME, width=_SHARP)
        outside = int(np.sum(~inside))
        title = f"{name}, {len(unit)} points" + (f", {outside} of them outside" if outside else "")
        pen.text((left, _GAP * _SHARP), title, fill=_TEXT, font=font)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    page.resize((page.width // _SHARP, page.height // _SHARP), Image.Resampling.LANCZOS).save(path, "png")
