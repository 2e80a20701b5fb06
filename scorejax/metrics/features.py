"""Feature networks: what images are turned into before their distributions are compared.

A Frechet distance is a number about one feature network; only over Inception-v3 pool features is it called FID. So a
network has a name, moments carry it, and distances between moments of different networks are refused.
"""

from collections.abc import Iterator
from functools import reduce
from typing import Protocol, runtime_checkable

import jax
import numpy as np

from scorejax.data.evaluation import eval_batches
from scorejax.metrics.moments import Moments
from scorejax.runtime import parallel


class FeatureNetwork(Protocol):
    """Turns uint8 images `[B, H, W, C]` in 0..255 (or float vectors `[B, D]`) into features `[B, F]`."""

    @property
    def name(self) -> str:
        """Name, with a version, that distances are reported under."""
        ...

    def __call__(self, images: jax.Array) -> jax.Array:
        """Return features `[B, F]`."""
        ...


class Examples(Protocol):
    """Anything that is cut into batches of examples: an array, or a file seen as one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray: ...


@runtime_checkable
class Classifier(FeatureNetwork, Protocol):
    """A feature network that ends in classes."""

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return log-probabilities `[B, K]` of the classes, from features `[B, F]`."""
        ...


def extract(
    network: FeatureNetwork, images: Examples, batch_size: int = 500, *, start: int = 0
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield features of `images` in batches of one compiled shape, shared out over the local devices.

    Args:
        network: the feature network.
        images: uint8 `[N, H, W, C]` in 0..255 (`scorejax.data.to_bytes` for fewer levels), or float vectors `[N, D]`;
            only a batch of them is in memory.
        batch_size: images per call of the network, rounded up to a multiple of the devices.
        start: the first image, to resume half-way.

    Yields:
        `(first, end, features [end - first, F])`.
    """
    devices = jax.local_device_count()
    # the last batch is filled up rather than cut short: another shape would compile the network again
    size = -(-min(batch_size, len(images)) // devices) * devices
    for chosen, mask in eval_batches(len(images), size, start):
        batch = parallel.shard(np.ascontiguousarray(images[chosen]))
        yield int(chosen[0]), int(chosen[0] + mask.sum()), np.asarray(network(batch))[mask]


def moments(network: FeatureNetwork, images: Examples, batch_size: int = 500) -> Moments:
    """Return the moments of the features of all `images`, each counted once; arguments as of `extract`."""
    parts = (Moments.of(part, network.name) for _, _, part in extract(network, images, batch_size))
    return reduce(Moments.merge, parts)


def check_features(x: np.ndarray, y: np.ndarray, least: int = 1) -> None:
    """Refuse features that cannot be compared.

    Raises:
        ValueError: not `[N, F]` and `[M, F]`, or fewer than `least` of one.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features have shapes {x.shape} and {y.shape}; wanted [N, F] and [M, F].")
    if min(len(x), len(y)) < least:
        raise ValueError(f"{len(x)} and {len(y)} examples; wanted at least {least} of each.")
