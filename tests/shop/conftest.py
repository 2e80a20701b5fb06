"""Images and folders that several files of this folder share."""

import numpy as np
import pytest
from guided import config_of
from PIL import Image

from scorejax import data
from scorejax.experiment import assemble, workdir


@pytest.fixture(scope="module")
def train():
    return assemble.dataset(config_of())


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The folder of a run whose model is the exact classifier of the pixels."""
    folder = tmp_path_factory.mktemp("classifier")
    workdir.claim(folder, config_of("recipe=exact_recipes:PixelClasses"))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, train):
    """Four digits as PNG files, twice as large and colored, so that they must be brought to the data's form."""
    where = tmp_path_factory.mktemp("digits")
    for i, image in enumerate(data.to_bytes(train.examples[:4], 17)):
        large = image[..., 0].repeat(2, 0).repeat(2, 1)
        Image.fromarray(np.stack([large] * 3, -1)).save(where / f"{i}.png")
    return where
