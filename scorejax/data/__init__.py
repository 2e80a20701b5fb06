"""Data: `load` reads a set from one of the `SOURCES`: tables, series, images or volumes of any real numbers.

What a batch holds is a function of the seed and the step alone (`permutation`), however it is fed (`feeders`).
"""

from scorejax.data.augment import AUGMENTATIONS, Augmentation
from scorejax.data.batch import example_keys, flip, from_bytes, prepare, to_bytes
from scorejax.data.catalog import SOURCES, Source, load, source
from scorejax.data.channels import Channels
from scorejax.data.dataset import Dataset
from scorejax.data.encoding import Levels, levels_of
from scorejax.data.evaluation import eval_batches, spread
from scorejax.data.feeders import Payload, Resident, Sent, Streamed, feed, sent
from scorejax.data.fitting import Statistics, fit, statistics
from scorejax.data.form import Form
from scorejax.data.given import given, stamp
from scorejax.data.identity import describe, fingerprint_of
from scorejax.data.lazy import Examples, Lazy, blocks
from scorejax.data.maps import ChannelMap, Normalization, Transform
from scorejax.data.missing import complete
from scorejax.data.permutation import indices, indices_on_host
from scorejax.data.remarks import mention_duplicates, mention_repeated
from scorejax.data.space import GrayLevels, Space, Vectors, moments, standardizing
from scorejax.data.splits import compare
from scorejax.data.subset import subset
from scorejax.data.vectors import GAUSSIAN_COVARIANCE, GAUSSIAN_MEAN, gaussian_entropy
from scorejax.likelihood.gray_levels import bin_width, to_levels, to_model

__all__ = [
    "AUGMENTATIONS",
    "GAUSSIAN_COVARIANCE",
    "GAUSSIAN_MEAN",
    "SOURCES",
    "Augmentation",
    "ChannelMap",
    "Channels",
    "Dataset",
    "Examples",
    "Form",
    "GrayLevels",
    "Lazy",
    "Levels",
    "Normalization",
    "Payload",
    "Resident",
    "Sent",
    "Source",
    "Space",
    "Statistics",
    "Streamed",
    "Transform",
    "Vectors",
    "bin_width",
    "blocks",
    "compare",
    "complete",
    "describe",
    "eval_batches",
    "example_keys",
    "feed",
    "fingerprint_of",
    "fit",
    "flip",
    "from_bytes",
    "gaussian_entropy",
    "given",
    "indices",
    "indices_on_host",
    "levels_of",
    "load",
    "mention_duplicates",
    "mention_repeated",
    "moments",
    "prepare",
    "sent",
    "source",
    "spread",
    "stamp",
    "standardizing",
    "statistics",
    "subset",
    "to_bytes",
    "to_levels",
    "to_model",
]
