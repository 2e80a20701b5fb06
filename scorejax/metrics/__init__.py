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
from scorejax.metrics.energy_distance import EnergyDistanceMetric, energy_distance
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
from scorejax.metrics.marginals import Marginals, MarginalsMetric, marginals
from scorejax.metrics.memorization import Memorization, MemorizationMetric, memorization
from scorejax.metrics.metric import Metric, Reference
from scorejax.metrics.mixture_baseline import MixtureBaseline, mixture_bits_per_dim
from scorejax.metrics.moments import Moments
from scorejax.metrics.naming import PUBLISHED_INCEPTION, is_inception
from scorejax.metrics.restoration import fitting_window, mean_and_error, psnr, ssim
from scorejax.metrics.sliced_wasserstein import SlicedWassersteinMetric, sliced_wasserstein
from scorejax.metrics.spectrum import Spectrum, SpectrumMetric, spectrum
from scorejax.metrics.statistics import Statistics
from scorejax.metrics.two_sample_classifier import TwoSample, TwoSampleClassifierMetric, two_sample

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
    "EnergyDistanceMetric",
    "Examples",
    "FeatureNetwork",
    "FrechetMetric",
    "GaussianFit",
    "KernelDistance",
    "KernelMetric",
    "Marginals",
    "MarginalsMetric",
    "Memorization",
    "MemorizationMetric",
    "Metric",
    "MixtureBaseline",
    "Moments",
    "PrecisionRecall",
    "PrecisionRecallMetric",
    "Reference",
    "SlicedWassersteinMetric",
    "Spectrum",
    "SpectrumMetric",
    "Statistics",
    "TwoSample",
    "TwoSampleClassifierMetric",
    "class_score",
    "default_features",
    "distance",
    "energy_distance",
    "extract",
    "feature_network",
    "fit_gaussian",
    "fitting_window",
    "frechet_distance",
    "frechet_floor",
    "gaussian_bits_per_dim",
    "is_inception",
    "kernel_distance",
    "marginals",
    "mean_and_error",
    "memorization",
    "metric",
    "mixture_bits_per_dim",
    "moments",
    "moments_and_floor",
    "networks_with_classes",
    "precision_recall",
    "psnr",
    "sliced_wasserstein",
    "spectrum",
    "ssim",
    "two_sample",
    "uniform_bits_per_dim",
]
