"""The tables of this room by name: metrics of samples, and the feature networks that they compare samples in.

A further metric or network is a class in a file of its own and a line here. The parameters of its constructor, with
their defaults, are its settings.
"""

from collections.abc import Callable

from scorejax.metrics.classes import ClassScoreMetric
from scorejax.metrics.classifier import MNISTClassifier
from scorejax.metrics.energy_distance import EnergyDistanceMetric
from scorejax.metrics.features import FeatureNetwork
from scorejax.metrics.frechet import FrechetMetric
from scorejax.metrics.inception import InceptionV3
from scorejax.metrics.kernel import KernelMetric
from scorejax.metrics.manifold import PrecisionRecallMetric
from scorejax.metrics.marginals import MarginalsMetric
from scorejax.metrics.memorization import MemorizationMetric
from scorejax.metrics.metric import Metric
from scorejax.metrics.pixels import Pixels
from scorejax.metrics.random_conv import RandomConv
from scorejax.metrics.sliced_wasserstein import SlicedWassersteinMetric
from scorejax.metrics.spectrum import SpectrumMetric
from scorejax.metrics.two_sample_classifier import TwoSampleClassifierMetric

METRICS: dict[str, Callable[..., Metric]] = {
    "frechet": FrechetMetric,
    "kid": KernelMetric,
    "inception_score": ClassScoreMetric,
    "precision_recall": PrecisionRecallMetric,
    "marginals": MarginalsMetric,
    "spectrum": SpectrumMetric,
    "sliced_wasserstein": SlicedWassersteinMetric,
    "energy_distance": EnergyDistanceMetric,
    "two_sample": TwoSampleClassifierMetric,
    "memorization": MemorizationMetric,
}

FEATURES: dict[str, Callable[..., FeatureNetwork]] = {
    "pixels": Pixels,
    "random_conv": RandomConv,
    "inception": InceptionV3,
    "mnist_classifier": MNISTClassifier,
}


def metric(name: str, **settings: object) -> Metric:
    """Return the metric of that name in `METRICS`, made with the settings.

    Raises:
        ValueError: there is no metric of that name.
    """
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}; choose among {', '.join(METRICS)}.")
    return METRICS[name](**settings)


def feature_network(name: str, **settings: object) -> FeatureNetwork:
    """Return the feature network of that name in `FEATURES`, made with the settings.

    Raises:
        ValueError: there is no network of that name.
    """
    if name not in FEATURES:
        raise ValueError(f"unknown feature network {name!r}; choose one of {', '.join(sorted(FEATURES))}.")
    return FEATURES[name](**settings)


def default_features(*, images: bool) -> str:
    """Return the name of the feature network for examples that no network was chosen for."""
    return "random_conv" if images else "pixels"


def networks_with_classes() -> list[str]:
    """Return the names in `FEATURES` of networks that end in classes, without making one."""
    return [name for name, network in FEATURES.items() if hasattr(network, "log_probabilities")]
