"""The tables of this room by name: the feature networks that samples are compared in.

A further network is a class in a file of its own and a line here.
"""

from collections.abc import Callable
from typing import Any

from scorejax.metrics.classifier import MNISTClassifier
from scorejax.metrics.features import FeatureNetwork
from scorejax.metrics.inception import InceptionV3
from scorejax.metrics.pixels import Pixels
from scorejax.metrics.random_conv import RandomConv

FEATURES: dict[str, Callable[..., FeatureNetwork]] = {
    "pixels": Pixels,
    "random_conv": RandomConv,
    "inception": InceptionV3,
    "mnist_classifier": MNISTClassifier,
}


def feature_network(name: str, **settings: Any) -> FeatureNetwork:
    """Return the feature network of that name in `FEATURES`, made with the settings.

    Raises:
        ValueError: there is no network of that name.
    """
    if name not in FEATURES:
        raise ValueError(f"unknown feature network {name!r}; choose one of {', '.join(sorted(FEATURES))}.")
    return FEATURES[name](**settings)
