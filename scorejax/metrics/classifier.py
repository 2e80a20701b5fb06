"""Small classifiers as feature networks: trained on the data at hand, a few hundred kilobytes, nothing to download.

Their features know the classes of one data set, so distances rank samplers of that set. They are never called FID.
`python main.py --config=configs/feature_network.py --config.data.data_dir=TFDS_DIR` trains one of the kind that comes
with the package; the docstring of that config says how its weights are written as such a file.
"""

from importlib import resources
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import log_softmax

from scorejax.numerics import array_files
from scorejax.numerics.trees import PyTree

MNIST = "mnist_classifier-v1"


class ConvClassifier(nn.Module):
    """Three convolutions of stride 2 and two dense layers; the features are what the last layer sees.

    Attributes:
        num_classes: number of classes.
        channels: of the convolutions.
        features: number of features.
    """

    num_classes: int
    channels: tuple[int, ...] = (16, 32, 64)
    features: int = 64

    def setup(self) -> None:
        """Make the layers, under the names that the weights file has."""
        self.convs = [nn.Conv(c, (3, 3), (2, 2), name=f"conv_{i}") for i, c in enumerate(self.channels)]
        self.dense = nn.Dense(self.features)
        self.classes = nn.Dense(self.num_classes)

    def penultimate(self, images: Array) -> Array:
        """Return features `[B, F]`, none of them negative, of images `[B, H, W, C]` in 0..255."""
        x = images.astype(jnp.float32) / 127.5 - 1
        for conv in self.convs:
            x = nn.relu(conv(x))
        return nn.relu(self.dense(x.reshape(len(x), -1)))

    def __call__(self, images: Array) -> Array:
        """Return logits `[B, num_classes]`."""
        return self.classes(self.penultimate(images))


class ClassifierFeatures:
    """The penultimate layer of a trained `ConvClassifier`.

    Attributes:
        name: with a version.
        accuracy: share of the test examples that it classifies correctly, as measured when it was trained.
        shape: `(H, W, C)` of the images it takes.
    """

    def __init__(self, path: Path) -> None:
        """Read the `.npz` that `save` wrote."""
        held = array_files.read(path)
        self.name, self.accuracy = str(held.pop("name")), float(held.pop("accuracy"))
        self.shape = tuple(int(n) for n in held.pop("shape"))
        self._params: dict[str, dict[str, Array]] = {}
        for name, value in held.items():
            layer, leaf = name.split(".")
            self._params.setdefault(layer, {})[leaf] = jnp.asarray(value, jnp.float32)
        kernels = [self._params[name]["kernel"].shape for name in sorted(self._params) if name.startswith("conv_")]
        # float64, as the score that is computed from the classes' probabilities
        self._last = {leaf: np.asarray(value, np.float64) for leaf, value in self._params["classes"].items()}
        features, classes = self._last["kernel"].shape
        self._network = ConvClassifier(classes, tuple(shape[-1] for shape in kernels), features)
        self._apply = jax.jit(lambda params, x: self._network.apply({"params": params}, x, method="penultimate"))

    def __call__(self, images: Array) -> Array:
        """Return features `[B, F]` of uint8 images `[B, H, W, C]`."""
        if images.shape[1:] != self.shape or images.dtype != jnp.uint8:
            raise ValueError(
                f"{self.name} takes uint8 images {self.shape}; got {images.dtype} of shape {images.shape[1:]}. "
                "Choose random_conv, pixels or inception."
            )
        return self._apply(self._params, images)

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return log-probabilities of the classes, float64 `[B, K]`, from features `[B, F]`."""
        return log_softmax(np.asarray(features, np.float64) @ self._last["kernel"] + self._last["bias"], axis=-1)


def save(path: str | Path, params: PyTree, *, name: str, accuracy: float, shape: tuple[int, ...]) -> None:
    """Write what `ClassifierFeatures` reads; weights as float16, so `accuracy` should be that of rounded ones."""
    held: dict[str, PyTree] = {"name": np.array(name), "accuracy": np.array(accuracy), "shape": np.array(shape)}
    for layer, leaves in params.items():
        held |= {f"{layer}.{leaf}": np.asarray(value, np.float16) for leaf, value in leaves.items()}
    np.savez_compressed(path, **held)


class MNISTClassifier(ClassifierFeatures):
    """The classifier of MNIST's digits that comes with the package: 64 features, 98.97 % of the 10,000 test images."""

    def __init__(self) -> None:
        """Read the weights that lie in the package."""
        with resources.as_file(resources.files("scorejax.metrics") / "weights" / f"{MNIST}.npz") as path:
            super().__init__(path)
