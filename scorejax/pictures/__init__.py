"""Pictures: PNG files of images, of samples on their way, of points and of curves, and one for each kind of example."""

from scorejax.pictures.curves import save_curves
from scorejax.pictures.images import grid, save_grid, save_trajectory, sign, signature, write_png
from scorejax.pictures.kinds import save_examples, save_ratio
from scorejax.pictures.ranks import save_ranks
from scorejax.pictures.scatter import save_scatter

__all__ = [
    "grid",
    "save_curves",
    "save_examples",
    "save_grid",
    "save_ranks",
    "save_ratio",
    "save_scatter",
    "save_trajectory",
    "sign",
    "signature",
    "write_png",
]
