"""What the parts about samples of digits share: the run, its pictures, and a judge of what a digit shows."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import scorejax as sj
from benchmarks.slides.frame import Given
from scorejax import data, metrics
from scorejax.experiment.run import Run

CONFIG = "benchmarks/slides/digits.py"


def digits(given: Given) -> Run:
    """The conditional diffusion model of the 8x8 digits, trained once for all parts."""
    return sj.load(given.run(CONFIG, "digits", shared=True))


def gray(levels: Any) -> np.ndarray:
    """Gray levels of the digits, 0..16, as 0..255."""
    return np.clip(np.asarray(levels, float) * 255 / 16, 0, 255).astype(np.uint8)


@functools.cache
def judge() -> tuple[Any, float]:
    """A support vector machine of the real digits, which had no part in anything, and its accuracy on test images."""
    from sklearn.svm import SVC

    kind: Any = SVC

    train, test = data.load("digits", "train"), data.load("digits", "test")
    machine = kind(gamma=0.001, C=10.0).fit(train.examples.reshape(len(train.examples), -1), train.labels)
    return machine, float(machine.score(test.examples.reshape(len(test.examples), -1), test.labels))


def seen(levels: np.ndarray) -> np.ndarray:
    """The digit that the judge sees in each image of gray levels 0..16."""
    return judge()[0].predict(np.asarray(levels).reshape(len(levels), -1))


def distance(levels: np.ndarray) -> tuple[float, float]:
    """The Frechet distance of images of gray levels to the training digits, and its floor at as many images.

    In the features of random convolutions, as `--mode=eval` measures it by default.
    """
    network = metrics.feature_network("random_conv")
    real = next(f for *_, f in metrics.extract(network, gray(data.load("digits", "train").examples), 1500))
    everything, floor = metrics.moments_and_floor(real, network.name, len(levels), 0)
    return metrics.distance(everything, metrics.moments(network, gray(levels))), float(floor["frechet_floor"])
