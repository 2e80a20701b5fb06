"""Pictures: PNG files of images, of samples on their way, of points and of curves."""

from scorejax.pictures.curves import save_curves
from scorejax.pictures.images import grid, save_grid, save_trajectory, sign, signature, write_png
from scorejax.pictures.scatter import save_scatter

__all__ = ["grid", "save_curves", "save_grid", "save_scatter", "save_trajectory", "sign", "signature", "write_png"]
