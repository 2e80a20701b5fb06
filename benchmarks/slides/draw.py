"""Panels for the pictures of the slides, without global state, in the colors of `scorejax.pictures`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

BLUE, ORANGE, GRAY = (70 / 255, 98 / 255, 160 / 255), (206 / 255, 96 / 255, 46 / 255), (0.45, 0.45, 0.45)


def panels(rows: int = 1, columns: int = 1, *, width: float = 4.0, height: float = 4.0, **options: Any) -> Any:
    """A figure of panels `width` by `height` inches, and the array `[rows, columns]` of its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * width, rows * height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def image(axes: Any, pixels: np.ndarray, title: str = "") -> None:
    """Show gray levels `[H, W]`, `[H, W, 1]` or `[H, W, 3]`, without ticks."""
    pixels = np.asarray(pixels)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=9)


def vectors(axes: Any, at: np.ndarray, field: np.ndarray, *, most: float | None = None, color: Any = "black") -> None:
    """Draw arrows of a vector field `[N, 2]` at points `[N, 2]`, none longer than `most`."""
    length = np.linalg.norm(field, axis=1, keepdims=True)
    field = field if most is None else field * np.minimum(1.0, most / np.maximum(length, 1e-9))
    axes.quiver(*at.T, *field.T, color=color, width=0.004, angles="xy")
