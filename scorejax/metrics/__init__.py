"""Measures of a run: of samples, over named feature networks; baselines, pictures and records."""

from scorejax.metrics.catalog import FEATURES, feature_network
from scorejax.metrics.classes import SPLITS, ClassScore, class_score
from scorejax.metrics.features import Classifier, FeatureNetwork, extract, frechet_floor, moments
from scorejax.metrics.frechet import distance, frechet_distance
from scorejax.metrics.gaussian_baseline import (
    GaussianFit,
    fit_gaussian,
    gaussian_bits_per_dim,
    uniform_bits_per_dim,
)
from scorejax.metrics.kernel import KernelDistance, kernel_distance
from scorejax.metrics.manifold import NEIGHBOURS, PrecisionRecall, precision_recall
from scorejax.metrics.moments import Moments
from scorejax.metrics.naming import PUBLISHED_INCEPTION, is_inception
from scorejax.metrics.restoration import fitting_window, mean_and_error, psnr, ssim
from scorejax.metrics.statistics import Statistics
from scorejax.pictures.curves import save_curves
from scorejax.pictures.images import grid, save_grid, save_trajectory, write_png
from scorejax.pictures.scatter import save_scatter
from scorejax.runtime.progress import Progress
from scorejax.runtime.writers import Writer, read_log

__all__ = [
    "FEATURES",
    "NEIGHBOURS",
    "PUBLISHED_INCEPTION",
    "SPLITS",
    "ClassScore",
    "Classifier",
    "FeatureNetwork",
    "GaussianFit",
    "KernelDistance",
    "Moments",
    "PrecisionRecall",
    "Progress",
    "Statistics",
    "Writer",
    "class_score",
    "distance",
    "extract",
    "feature_network",
    "fit_gaussian",
    "fitting_window",
    "frechet_distance",
    "frechet_floor",
    "gaussian_bits_per_dim",
    "grid",
    "is_inception",
    "kernel_distance",
    "mean_and_error",
    "moments",
    "precision_recall",
    "psnr",
    "read_log",
    "save_curves",
    "save_grid",
    "save_scatter",
    "save_trajectory",
    "ssim",
    "uniform_bits_per_dim",
    "write_png",
]
