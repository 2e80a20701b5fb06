"""A tensorflow-datasets builder small enough to prepare in a test, without tensorflow."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


def image(i: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (side, side, 3), np.uint8)


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


class TinyImages(tfds.core.GeneratorBasedBuilder):
    """12 train and 5 test images of random pixels."""

    VERSION = tfds.core.Version("1.0.0")
    sides = (8,)

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=3),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(12)), "test": self._generate_examples(range(100, 105))}

    def _generate_examples(self, ids):
        for i in ids:
            yield i, {"image": png(image(i, self.sides[i % len(self.sides)])), "label": i % 3}


class MixedSizes(TinyImages):
    """The same with sides 8 and 10 in turn."""

    sides = (8, 10)
