"""Features on a disk, of samples and of real examples, and statistics of the real ones: what samples are held to."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import logging

from scorejax import data as data_lib
from scorejax import metrics
from scorejax.experiment import assemble
from scorejax.experiment.config import Config, to_dict
from scorejax.experiment.config.values import Values
from scorejax.experiment.evaluation.compute import report_progress
from scorejax.runtime.errors import asked_by, user_errors
from scorejax.runtime.ledger import Ledger


class Pictures:
    """Gray levels as feature networks take them, in 0..255, converted as they are read; other numbers as floats."""

    def __init__(self, examples: metrics.Examples, gray_levels: int | None) -> None:
        self._examples, self._gray_levels = examples, gray_levels

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray:
        chosen = self._examples[index]
        if self._gray_levels:
            return data_lib.to_bytes(chosen, self._gray_levels)
        return chosen.astype(np.float32) if chosen.dtype.kind in "iu" else chosen


@contextlib.contextmanager
def features(
    network: metrics.FeatureNetwork, pictures: Pictures, batch: int, workdir: str | Path, what: str, depends: object
) -> Iterator[np.ndarray]:
    """Features `[N, F]` of all pictures, mapped from a file that is deleted when the numbers are made of them.

    If it is cut off before that, the next call with the same arguments goes on.

    Args:
        network: the feature network.
        pictures: what to look at.
        batch: pictures per call.
        workdir: folder of the run.
        what: whose features they are, for the log and the file.
        depends: anything JSON-like that the pictures depend on.
    """
    count = len(pictures)
    name = f"features of {what}"
    ledger = Ledger(Path(workdir) / "eval", name.replace(" ", "-"), count, [network.name, count, depends])
    batches = metrics.extract(network, pictures, batch, start=ledger.done)
    rows = ((first, end, {"features": part}) for first, end, part in batches)
    yield ledger.fill(report_progress(rows, name, ledger.done, count))["features"]
    ledger.remove()


def real_features(
    config: Config, real: data_lib.Dataset, network: metrics.FeatureNetwork, workdir: str | Path
) -> contextlib.AbstractContextManager[np.ndarray]:
    """Features of `eval.reference_examples` real examples, in a file as those of `features`."""
    c, pictures = config.eval, Pictures(chosen(config, real), real.gray_levels)
    return features(network, pictures, c.batch, workdir, "real examples", [to_dict(config)["data"], c.reference_split])


def chosen(config: Config, real: data_lib.Dataset) -> np.ndarray:
    """The `eval.reference_examples` real examples themselves."""
    rows = data_lib.spread(len(real), config.eval.reference_examples)
    whole = len(rows) == len(real) and isinstance(real.examples, np.ndarray)
    return np.asarray(real.examples) if whole else real.examples[rows]


def examples(config: Config) -> data_lib.Dataset:
    """The real examples of `eval.reference_split`."""
    split = config.eval.reference_split
    with asked_by("eval.reference_split", split):
        found = assemble.dataset(config, split)
        return data_lib.complete(found) if found.missing else found


def compute(
    config: Config, real: data_lib.Dataset, network: metrics.FeatureNetwork, workdir: str | Path
) -> metrics.Statistics:
    """Statistics of the features of the real examples, with a record of the data that they come from."""
    with real_features(config, real, network, workdir) as found:
        return metrics.Statistics.of(metrics.Moments.of_rows(found, network.name), **about(config, real))


def about(config: Config, real: data_lib.Dataset) -> dict[str, object]:
    """What statistics of real examples carry apart from their numbers."""
    split = config.eval.reference_split
    return {"data": real.name, "split": split, "of": len(real), "shape": real.shape, "levels": real.level_count}


def path(config: Config, network: metrics.FeatureNetwork, workdir: str | Path) -> Path:
    """Where `--mode=fid_stats` writes: `eval/stats-DATA-SPLIT-FEATURES.npz`."""
    size = f"-{config.data.size}" if config.data.size else ""
    classes = "-classes-" + "-".join(map(str, config.data.classes)) if config.data.classes else ""
    name = f"stats-{config.data.name}{size}{classes}-{config.eval.reference_split}-{network.name}"
    return Path(workdir) / "eval" / "".join(c if c.isalnum() or c in "-_." else "_" for c in f"{name}.npz")


def held(statistics: metrics.Statistics) -> Values:
    """What statistics are of, as plain values."""
    return json.loads(json.dumps({"examples": statistics.count, **statistics.about}, default=str))


def held_at(path: Path) -> Values | None:
    """What the statistics at a path are of; None if there are none, or they are damaged."""
    try:
        return held(metrics.Statistics.load(path)) if path.is_file() else None
    except ValueError as error:
        logging.warning("%s", error)
        return None


def load(file: str, network: metrics.FeatureNetwork, size: int) -> metrics.Statistics:
    """Statistics of a file, for comparison with features of this network, `size` of each image.

    Published files hold mean and covariance alone: those are taken to be of Inception.

    Raises:
        ConfigError: no such file, or one of another feature network.
    """
    with user_errors("config key 'eval.stats'"):
        found = metrics.Statistics.load(file)
        unnamed_inception = found.network is None and metrics.is_inception(network.name)
        if found.network != network.name and not unnamed_inception:
            theirs = repr(found.network) if found.network else "a feature network that it does not name"
            raise ValueError(
                f"{file} holds statistics of {theirs}, eval.features are those of {network.name!r}; choose that "
                "network, or a file of this one (--mode=fid_stats writes it)"
            )
        if len(found.mean) != size:
            raise ValueError(f"{file} holds statistics of {len(found.mean)} features; {network.name!r} has {size}")
    return found
