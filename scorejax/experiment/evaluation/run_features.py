"""The features of a trained run: any model that has features is a feature network to compare samples in."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from scipy.special import log_softmax

from scorejax import data, metrics
from scorejax.experiment import trained as trained_lib
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.evaluation.subject import fingerprint
from scorejax.runtime.errors import ConfigError


def run(*, workdir: str) -> metrics.FeatureNetwork:
    """Features of a run's model, such as that of configs/feature_network.py: the folder of the run.

    Raises:
        ConfigError: the model has no features, or is not of images.
        RunError: no readable checkpoint.
    """
    config = workdir_lib.saved_config(workdir)
    trained = trained_lib.restore(config, workdir)
    model, form, space = trained.model, trained.form, trained.space
    if model.features is None or form.gray_levels is None or not form.pictured:
        raise ConfigError(
            f"{workdir} holds a run of recipe {config.recipe.name!r} on {form.name!r}, which has no features of "
            "images; give the folder of a run like that of configs/feature_network.py"
        )
    name = f"{config.recipe.name}-{form.name}-{fingerprint(trained.params)}"
    # Of a model of noisy data, the features of the cleanest that it knows.
    time = 0.0 if model.sde is None else float(model.sde.t_min)
    of_bytes = _OfBytes(form.shape, space, data.from_bytes(np.arange(256), form.gray_levels), time)
    if model.logits_of_features is None:
        return RunFeatures(name, model.features, of_bytes)
    return RunClassifier(name, model.features, of_bytes, model.logits_of_features)


class _OfBytes:
    """How images in 0..255 become what a model's features are of."""

    def __init__(self, shape: tuple[int, ...], space: data.Space, levels: np.ndarray, time: float) -> None:
        self.shape, self.space, self.levels, self.time = shape, space, levels, time

    def __call__(self, features: Partial, images: Array) -> Array:
        x = self.space.middle(self.space.encode_traced(jnp.asarray(self.levels)[images]))
        found = features(x, jnp.full(len(images), self.time))
        return found.mean(axis=tuple(range(1, found.ndim - 1)))


class RunFeatures:
    """A trained model as a feature network; feature maps are averaged over space.

    Attributes:
        name: the kind of training, its data, and a checksum of the weights.
    """

    def __init__(self, name: str, features: Partial, of_bytes: _OfBytes) -> None:
        """Keep the model's features and what brings images to them; see `run`."""
        self.name, self._features, self._of_bytes = name, features, of_bytes
        self._apply = jax.jit(of_bytes)

    def __call__(self, images: Array) -> Array:
        """Features `[B, F]` of uint8 images `[B, H, W, C]`."""
        if images.shape[1:] != self._of_bytes.shape or images.dtype != jnp.uint8:
            raise ValueError(
                f"{self.name} takes uint8 images {self._of_bytes.shape}; got {images.dtype} of shape "
                f"{images.shape[1:]}. Choose random_conv or inception, or a run on the same data."
            )
        return self._apply(self._features, images)


class RunClassifier(RunFeatures):
    """The same of a model whose classes are a function of its features, and so give a class score."""

    def __init__(self, name: str, features: Partial, of_bytes: _OfBytes, logits_of_features: Partial) -> None:
        """Keep the last layer as well."""
        super().__init__(name, features, of_bytes)
        self._logits = logits_of_features

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Log-probabilities of the classes, float64 `[B, K]`, from features `[B, F]`."""
        logits = self._logits(jnp.asarray(features, jnp.float32))
        return log_softmax(np.asarray(logits, np.float64), axis=-1)
