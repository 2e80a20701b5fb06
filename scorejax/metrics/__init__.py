"""Measures of a run: Frechet distances over named feature networks, baselines, pictures and records."""

from scorejax.metrics.features import (
    FeatureNetwork,
    distance,
    feature_network,
    frechet_floor,
    moments,
    register,
)
from scorejax.metrics.frechet import Moments, frechet_distance
from scorejax.metrics.gaussian_baseline import (
    GaussianFit,
    fit_gaussian,
    gaussian_bits_per_dim,
    uniform_bits_per_dim,
)
from scorejax.metrics.images import grid, save_grid, save_trajectory, write_png
from scorejax.metrics.progress import Progress
from scorejax.metrics.scatter import save_scatter
from scorejax.metrics.writers import Writer, read_log

__all__ = [
    "FeatureNetwork",
    "GaussianFit",
    "Moments",
    "Progress",
    "Writer",
    "distance",
    "feature_network",
    "fit_gaussian",
    "frechet_distance",
    "frechet_floor",
    "gaussian_bits_per_dim",
    "grid",
    "moments",
    "read_log",
    "register",
    "save_grid",
    "save_scatter",
    "save_trajectory",
    "uniform_bits_per_dim",
    "write_png",
]
