"""A classifier of clean images, whose last features are what samples are compared in."""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
from annotated_types import MinLen
from jax import Array
from jax.tree_util import Partial

from scorejax import data
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.metrics.classifier import ConvClassifier
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Natural
from scorejax.runtime.errors import ConfigError

_SHIFT = 1  # stream of an example's key; 0 prepares the example


class FeatureNetwork(Recipe):
    """Classes of clean images, by the cross entropy, from images that are shifted at random."""

    draws = False
    uses = ()

    def __init__(
        self,
        given: Given,
        *,
        channels: Annotated[tuple[Count, ...], MinLen(1)] = (16, 32, 64),
        features: Count = 64,
        shift: Natural | None = None,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            channels: of the convolutions, each of stride 2.
            features: how many numbers the classes are made of.
            shift: pixels by which images are moved at most in training, along each axis; unset: a fourteenth of
                their height.
        """
        super().__init__(given)
        self.channels, self.features, self._shift = tuple(channels), features, shift

    @functools.cached_property
    def law(self) -> _Law:
        """The network of images in model space, as a function of the weights."""
        form = self.given.form
        if not (form.pictured and form.gray_levels and self.given.space.gray_levels) or form.num_classes < 2:
            raise ConfigError(
                f"a feature network needs images of two classes or more; {form.name!r} has none: choose digits, "
                "mnist, cifar10, or data = 'folder:path=DIR' with one sub-folder for each class"
            )
        network = ConvClassifier(form.num_classes, self.channels, self.features)
        return _Law(network, form.gray_levels, self.config.data.centered)

    def init(self, key: Array) -> Params:
        return self.law.network.init(key, jnp.zeros((1, *self.given.form.shape), jnp.uint8))["params"]

    def loss(self, params: Params, carry: None, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        height = self.given.form.shape[0]
        images = shifted(
            keys_lib.fold_in(keys, _SHIFT), batch.raw, height // 14 if self._shift is None else self._shift
        )
        assert batch.labels is not None  # `law` refuses data without classes
        logits = self.law.of_levels(params, images)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
        return losses, None, {"accuracy": (jnp.argmax(logits, axis=-1) == batch.labels).astype(jnp.float32)}

    def model(self, params: Params) -> Model:
        return Model(
            logits=Partial(self.law.logits, params),
            features=Partial(self.law.features, params),
            logits_of_features=Partial(self.law.logits_of_features, params),
            num_classes=self.given.form.num_classes,
        )


def shifted(keys: Array, images: Array, most: int) -> Array:
    """Each image `[B, H, W, C]` moved by up to `most` pixels along both axes; what comes in at an edge repeats it."""

    def one(key: Array, image: Array) -> Array:
        down, right = jax.random.randint(key, (2,), -most, most + 1)
        height, width, _ = image.shape
        rows = jnp.clip(jnp.arange(height) + down, 0, height - 1)
        return image[rows][:, jnp.clip(jnp.arange(width) + right, 0, width - 1)]

    return jax.vmap(one)(keys, images)


@dataclasses.dataclass(frozen=True)
class _Law:
    """The network; equal for equal settings, so that compiled programs are found again.

    Attributes:
        network: takes images in 0..255.
        gray_levels: of the data.
        centered: whether model space is [-1, 1), not [0, 1).
    """

    network: ConvClassifier
    gray_levels: int
    centered: bool

    def of_levels(self, params: Params, raw: Array, method: str = "__call__") -> Array:
        """Logits `[B, K]` of gray levels `[B, H, W, C]`, or what another method of the network gives."""
        in_bytes = jnp.asarray(data.to_bytes(np.arange(self.gray_levels), self.gray_levels))
        out = self.network.apply({"params": params}, in_bytes[raw], method=method)
        assert isinstance(out, Array)
        return out

    def logits(self, params: Params, x: Array, t: Array | None = None) -> Array:
        """Logits of images in model space, by the gray level in whose bin each value lies; there is no noise level."""
        return self.of_levels(params, data.to_levels(x, self.gray_levels, centered=self.centered))

    def features(self, params: Params, x: Array, t: Array | None = None) -> Array:
        """What the last layer sees, `[B, F]`."""
        return self.of_levels(params, data.to_levels(x, self.gray_levels, centered=self.centered), "penultimate")

    def logits_of_features(self, params: Params, features: Array) -> Array:
        """Apply the last layer to features."""
        return features @ params["classes"]["kernel"] + params["classes"]["bias"]
