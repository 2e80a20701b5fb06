"""Data: `load` reads a set from one of the `SOURCES` into arrays of gray levels or vectors.

What a batch holds is a function of the seed and the step alone (`permutation`), however it is fed (`feeders`).
"""

from scorejax.data.batch import example_keys, flip, from_bytes, prepare, to_bytes
from scorejax.data.catalog import SOURCES, Source, load, source
from scorejax.data.dataset import Dataset
from scorejax.data.evaluation import eval_batches, spread
from scorejax.data.feeders import Payload, Resident, Streamed, feed
from scorejax.data.form import Form
from scorejax.data.given import given, stamp
from scorejax.data.identity import describe, fingerprint_of
from scorejax.data.permutation import indices, indices_on_host
from scorejax.data.space import GrayLevels, Normalization, Space, Vectors, moments, standardizing
from scorejax.data.splits import compare
from scorejax.data.subset import subset
from scorejax.data.vectors import GAUSSIAN_COVARIANCE, GAUSSIAN_MEAN, gaussian_entropy
from scorejax.likelihood.gray_levels import bin_width, to_levels, to_model

__all__ = [
    "GAUSSIAN_COVARIANCE",
    "GAUSSIAN_MEAN",
    "SOURCES",
    "Dataset",
    "Form",
    "GrayLevels",
    "Normalization",
    "Payload",
    "Resident",
    "Source",
    "Space",
    "Streamed",
    "Vectors",
    "bin_width",
    "compare",
    "describe",
    "eval_batches",
    "example_keys",
    "feed",
    "fingerprint_of",
    "flip",
    "from_bytes",
    "gaussian_entropy",
    "given",
    "indices",
    "indices_on_host",
    "load",
    "moments",
    "prepare",
    "source",
    "spread",
    "stamp",
    "standardizing",
    "subset",
    "to_bytes",
    "to_levels",
    "to_model",
]
