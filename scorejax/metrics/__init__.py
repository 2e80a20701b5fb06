"""Metrics: of samples, over named feature networks; of restored images; and baselines of bits per dimension."""

from scorejax.metrics.catalog import (
    FEATURES,
    METRICS,
    default_features,
    feature_network,
    metric,
    networks_with_classes,
)
from scorejax.metrics.classes import SPLITS, ClassScore, ClassScoreMetric, class_score
from scorejax.metrics.features import Classifier, Examples, FeatureNetwork, extract, moments
from scorejax.metrics.frechet import (
    SQUARES,
    FrechetMetric,
    distance,
    frechet_distance,
    frechet_floor,
    moments_and_floor,
)
from scorejax.metrics.gaussian_baseline import (
    GaussianFit,
    fit_gaussian,
    gaussian_bits_per_dim,
    uniform_bits_per_dim,
)
from scorejax.metrics.kernel import KernelDistance, KernelMetric, kernel_distance
from scorejax.metrics.manifold import NEIGHBORS, PrecisionRecall, PrecisionRecallMetric, precision_recall
from scorejax.metrics.metric import Metric, Reference
from scorejax.metrics.moments import Moments
from scorejax.metrics.naming import PUBLISHED_INCEPTION, is_inception
from scorejax.metrics.restoration import fitting_window, mean_and_error, psnr, ssim
from scorejax.metrics.statistics import Statistics

__all__ = [
    "FEATURES",
    "METRICS",
    "NEIGHBORS",
    "PUBLISHED_INCEPTION",
    "SPLITS",
    "SQUARES",
    "ClassScore",
    "ClassScoreMetric",
    "Classifier",
    "Examples",
    "FeatureNetwork",
    "FrechetMetric",
    "GaussianFit",
    "KernelDistance",
    "KernelMetric",
    "Metric",
    "Moments",
    "PrecisionRecall",
    "PrecisionRecallMetric",
    "Reference",
    "Statistics",
    "class_score",
    "default_features",
    "distance",
    "extract",
    "feature_network",
    "fit_gaussian",
    "fitting_window",
    "frechet_distance",
    "frechet_floor",
    "gaussian_bits_per_dim",
    "is_inception",
    "kernel_distance",
    "mean_and_error",
    "metric",
    "moments",
    "moments_and_floor",
    "networks_with_classes",
    "precision_recall",
    "psnr",
    "ssim",
    "uniform_bits_per_dim",
]
