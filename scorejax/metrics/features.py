"""Feature networks: what images are turned into before their distributions are compared.

A Frechet distance is a number about one feature network; only over Inception-v3 pool features is it called FID. So a
network has a name, moments carry it, and distances between moments of different networks are refused. `register` takes
further networks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from scorejax.data.evaluation import eval_batches
from scorejax.metrics.frechet import Moments, frechet_distance
from scorejax.runtime import parallel

INCEPTION = "inception-v3-2015-12-05"  # begins the name of a network whose distances are called FID
PUBLISHED_INCEPTION = f"{INCEPTION}-6726825d"


class FeatureNetwork(Protocol):
    """Turns uint8 images `[B, H, W, C]` in 0..255 (or float vectors `[B, D]`) into features `[B, F]`."""

    @property
    def name(self) -> str:
        """Name, with a version, that distances are reported under."""
        ...

    def __call__(self, images: jax.Array) -> jax.Array:
        """Features `[B, F]`."""
        ...


class Examples(Protocol):
    """Anything that is cut into batches of examples: an array, or a file seen as one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray: ...


@runtime_checkable
class Classifier(FeatureNetwork, Protocol):
    """A feature network that ends in classes."""

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Log-probabilities `[B, K]` of the classes, from features `[B, F]`."""
        ...


@dataclass(frozen=True)
class Pixels:
    """The values themselves, images scaled to [0, 1]: a Gaussian with the data's moments has distance 0 from it."""

    name: str = "pixels"

    def __call__(self, images: jax.Array) -> jax.Array:
        """Flattened `[B, D]`."""
        flat = jnp.asarray(images).reshape(len(images), -1)
        return flat / 255.0 if flat.dtype == jnp.uint8 else flat


@partial(jax.jit, static_argnames="strides")
def _pyramid(kernels: tuple[jax.Array, ...], images: jax.Array, strides: tuple[int, ...]) -> jax.Array:
    """Convolutions with rectifiers; of every layer the mean and the root mean square over space."""
    x = images.astype(jnp.float32) / 127.5 - 1
    pooled = [x.mean((1, 2))]
    for kernel, stride in zip(kernels, strides, strict=True):
        dims = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=dims)
        x = jax.nn.relu(x)
        pooled += [x.mean((1, 2)), jnp.sqrt(jnp.mean(x**2, axis=(1, 2)) + 1e-12)]
    return jnp.concatenate(pooled, axis=-1)


@dataclass(frozen=True)
class RandomConv:
    """Three random 3x3 convolutions with rectifiers, pooled over space: no training, nothing to download.

    Random filters see edges, strokes and their joint statistics beyond second moments, so they tell blurred, noisy or
    merely Gaussian images from real ones. They know nothing of classes or of what a person finds realistic: use the
    distance to rank models of one data set against its floor, never beside a published FID.

    Attributes:
      channels: output channels of the layers; features number `C + 2 sum(channels)`.
      strides: of the layers.
    """

    channels: tuple[int, ...] = (32, 64, 128)
    strides: tuple[int, ...] = (1, 2, 2)
    _kernels: dict[int, tuple[jax.Array, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Version of the weights, channels and strides: all that the features depend on."""
        return f"random-conv-v1-{'-'.join(map(str, self.channels))}-s{''.join(map(str, self.strides))}"

    def _weights(self, channels_in: int) -> tuple[jax.Array, ...]:
        if channels_in not in self._kernels:
            # The legacy generator: its stream is frozen for good, so the network is the same everywhere.
            draw = np.random.RandomState(0).standard_normal
            shapes = [(3, 3, i, o) for i, o in pairwise((channels_in, *self.channels))]
            kernels = [draw(shape) * np.sqrt(2 / np.prod(shape[:3])) for shape in shapes]
            self._kernels[channels_in] = tuple(jnp.asarray(k, jnp.float32) for k in kernels)
        return self._kernels[channels_in]

    def __call__(self, images: jax.Array) -> jax.Array:
        """Features `[B, C + 2 sum(channels)]` of uint8 images."""
        if jnp.ndim(images) != 4 or images.dtype != jnp.uint8:
            raise ValueError(
                f"{self.name} takes uint8 images [B, H, W, C]; got {images.dtype} of shape {jnp.shape(images)}. "
                "For vectors use 'pixels'."
            )
        return _pyramid(self._weights(images.shape[-1]), images, self.strides)


def _inception(weights: str | None = None) -> FeatureNetwork:
    from scorejax.metrics.inception import InceptionV3

    return InceptionV3(weights)


def _mnist_classifier() -> FeatureNetwork:
    from scorejax.metrics.classifier import mnist_classifier

    return mnist_classifier()


_NETWORKS: dict[str, Callable[..., FeatureNetwork]] = {
    "pixels": Pixels,
    "random_conv": RandomConv,
    "inception": _inception,
    "mnist_classifier": _mnist_classifier,
}


def register(name: str, make: Callable[..., FeatureNetwork]) -> None:
    """Make `feature_network(name, **options)` return `make(**options)`."""
    if name in _NETWORKS:
        raise ValueError(f"a feature network {name!r} is registered already; choose another name.")
    _NETWORKS[name] = make


def feature_network(name: str, **options: Any) -> FeatureNetwork:
    """The feature network registered under `name`, made with `options`."""
    if name not in _NETWORKS:
        raise ValueError(f"unknown feature network {name!r}; choose one of {', '.join(sorted(_NETWORKS))}.")
    return _NETWORKS[name](**options)


def is_inception(name: str, *, published: bool = False) -> bool:
    """Whether features of that name are Inception's: then, and only then, a Frechet distance is called FID.

    With `published`, whether also the weights are those that published FIDs are of.
    """
    return name == PUBLISHED_INCEPTION if published else name.startswith(f"{INCEPTION}-")


def extract(
    network: FeatureNetwork, images: Examples, batch_size: int = 500, *, start: int = 0
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Features of `images` in batches of one compiled shape, shared out over the local devices.

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
    size = -(-min(batch_size, len(images)) // devices) * devices
    for chosen, mask in eval_batches(len(images), size, start):
        batch = parallel.shard(np.ascontiguousarray(images[chosen]))
        yield int(chosen[0]), int(chosen[0] + mask.sum()), np.asarray(network(batch))[mask]


def moments(network: FeatureNetwork, images: Examples, batch_size: int = 500) -> Moments:
    """Moments of the features of all `images`, each counted once; arguments as of `extract`."""
    parts = (Moments.of(part, network.name) for _, _, part in extract(network, images, batch_size))
    return reduce(Moments.merge, parts)


def distance(real: Moments, samples: Moments) -> float:
    """Frechet distance between two sets of features of one network.

    Raises:
      ValueError: the features come from different networks.
    """
    if real.network != samples.network:
        raise ValueError(
            f"features of {real.network!r} and of {samples.network!r} cannot be compared; use one feature network."
        )
    return frechet_distance(real.mean, real.covariance, samples.mean, samples.covariance)


def frechet_floor(network: FeatureNetwork, images: np.ndarray, *, seed: int = 0, batch_size: int = 500) -> float:
    """Distance between two random halves of real `images`: what a perfect sampler would get at that sample size.

    The distance of finite sets from one distribution is positive, about proportionally to one over their number, so the
    floor of `2 n` images is the one to hold against a distance between sets of `n`.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    half = len(images) // 2
    halves = [np.sort(order[:half]), np.sort(order[half : 2 * half])]
    return distance(*(moments(network, images[half], batch_size) for half in halves))
