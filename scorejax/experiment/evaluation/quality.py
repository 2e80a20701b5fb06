"""How near samples are to real examples, in the features of a network."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from scorejax import data as data_lib
from scorejax import metrics
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import reference
from scorejax.experiment.evaluation.draw import Samples
from scorejax.experiment.evaluation.run_features import run
from scorejax.runtime.errors import ConfigError, user_errors


def auto(*, gray_levels: int | None) -> metrics.FeatureNetwork:
    """Random convolutions for images, the values themselves for vectors."""
    return metrics.FEATURES["random_conv" if gray_levels else "pixels"]()


FEATURES = {"auto": auto, **metrics.FEATURES, "run": run}
METRICS = ("frechet", "kid", "inception_score", "precision_recall")
ENOUGH = 10_000  # samples of a Frechet distance that may be held against published ones


class Judge(NamedTuple):
    """What samples are measured with; making one finds out what is missing.

    Attributes:
      config: the run's.
      network: the feature network.
      statistics: of real examples, from a file; None: computed.
    """

    config: Config
    network: metrics.FeatureNetwork
    statistics: metrics.Statistics | None


def judge(config: Config, train: data_lib.Dataset) -> Judge:
    """Everything that `eval` asks for, before samples are drawn.

    Raises:
      ConfigError: a metric, network or file that does not exist, or does not fit the others.
      RunError: no weights of the feature network.
    """
    c = config.eval
    if unknown := [name for name in c.metrics if name not in METRICS]:
        raise ConfigError(f"unknown eval.metrics {', '.join(map(repr, unknown))}; choose among {', '.join(METRICS)}")
    least = metrics.NEIGHBOURS + 1 if "precision_recall" in c.metrics else 2
    if c.samples < least:
        raise ConfigError(f"eval.samples = {c.samples}; {', '.join(c.metrics)} need at least {least}, 0 for none")
    chosen = network(config, train)
    if "inception_score" in c.metrics and not isinstance(chosen, metrics.Classifier):
        raise ConfigError(
            f"eval.metrics has inception_score, but {chosen.name!r} has no classes; choose eval.features among "
            "inception, mnist_classifier, run:workdir=DIR of configs/feature_network.py"
        )
    if 0 < c.reference_examples < 2 * least:
        raise ConfigError(f"eval.reference_examples = {c.reference_examples}; wanted at least {2 * least}, 0: all")
    statistics = reference.load(c.stats, chosen, _feature_count(chosen, train)) if c.stats else None
    return Judge(config, chosen, statistics)


def network(config: Config, train: data_lib.Dataset) -> metrics.FeatureNetwork:
    """The feature network `eval.features`, tried on one example.

    Raises:
      ConfigError: no such network, or one that cannot look at these examples.
      RunError: no weights.
    """
    with user_errors("config key 'eval.features'"):
        chosen = config.eval.features.make(gray_levels=train.gray_levels)
        _feature_count(chosen, train)
    return chosen


def _feature_count(chosen: metrics.FeatureNetwork, train: data_lib.Dataset) -> int:
    one = reference.Pictures(train.examples, train.gray_levels)[np.arange(1)]
    return chosen(jnp.asarray(one)).shape[1]


def measure(judge: Judge, train: data_lib.Dataset, samples: Samples, workdir: str | Path) -> dict[str, Any]:
    """The numbers that `eval.metrics` asks for, with what they were measured on.

    Features are computed once for all numbers, and lie on the disk.
    """
    c, network = judge.config.eval, judge.network
    x = samples.x[: c.samples]
    result: dict[str, Any] = {"n": len(x), "features": network.name, "metrics": list(c.metrics), "notes": []}
    with contextlib.ExitStack() as stack:
        pictures = reference.Pictures(x, train.gray_levels)
        drawn = stack.enter_context(
            reference.features(network, pictures, c.batch, workdir, "samples", samples.folder.name)
        )
        real = np.empty((0, drawn.shape[1]))
        if {"kid", "precision_recall"} & set(c.metrics) or ("frechet" in c.metrics and not judge.statistics):
            dataset = reference.examples(judge.config)
            real = stack.enter_context(reference.real_features(judge.config, dataset, network, workdir))
            result["real"] = {**reference.about(judge.config, dataset), "n": len(real)}
        if "frechet" in c.metrics:
            result |= _frechet(judge, drawn, real, result.get("real", {}))
        if "kid" in c.metrics:
            found = metrics.kernel_distance(real, drawn, seed=c.seed)
            result |= {"kernel_distance": found.value, "kernel_distance_error": found.standard_error}
            result["kernel_distance_blocks"] = found.blocks
        if isinstance(network, metrics.Classifier) and "inception_score" in c.metrics:
            splits = np.array_split(np.arange(len(drawn)), min(metrics.SPLITS, len(drawn)))
            score = metrics.class_score(network.log_probabilities(drawn[rows]) for rows in splits)
            result |= {"class_score": score.mean, "class_score_std": score.std, "class_score_splits": score.splits}
        if "precision_recall" in c.metrics:
            size = min(len(real), len(drawn))
            chosen = np.sort(np.random.default_rng(c.seed).permutation(len(real))[:size])
            found = metrics.precision_recall(real[chosen], drawn[:size])
            result |= {"precision": found.precision, "recall": found.recall, "precision_recall_n": size}
    return result


def _frechet(judge: Judge, drawn: np.ndarray, real: np.ndarray, about: dict[str, Any]) -> dict[str, Any]:
    """The distance to the statistics asked for, or to all real examples and with its floor."""
    c, name = judge.config.eval, judge.network.name
    sampled, floor, notes = reference.moments(drawn, name), {}, []
    called = "FID" if metrics.is_inception(name) else "Frechet distance"
    if len(drawn) < ENOUGH:
        notes.append(f"{called} of n < {ENOUGH:,}: biased upwards; compare only at the same n")
    if metrics.is_inception(name) and not metrics.is_inception(name, published=True):
        notes.append("the Inception weights are not the published ones: not to be held against published FIDs")
    if judge.statistics is not None:
        statistics, origin = judge.statistics, str(c.stats)
        if statistics.network is None:
            notes.append(f"{c.stats} does not say which network and how many examples it is of: taken for Inception")
    else:
        everything, floor = reference.beside_floor(real, name, len(drawn), c.seed)
        statistics, origin = metrics.Statistics.of(everything, **about), "computed"
    return {
        "frechet_distance": metrics.frechet_distance(
            statistics.mean, statistics.covariance, sampled.mean, sampled.covariance
        ),
        "frechet_called": called,
        **floor,
        "statistics": {
            "from": origin,
            "n": statistics.count,
            "features": statistics.network,
            "sha256": statistics.sha256,
            **statistics.about,
        },
        "notes": notes,
    }


def lines(s: dict[str, Any]) -> list[str]:
    """The numbers of samples; over features of Inception, and over no others, they have their published names."""
    inception = metrics.is_inception(s["features"])
    lines = []
    if "frechet_distance" in s:
        floor = f", floor {s['frechet_floor']:.4g}" if "frechet_floor" in s else ""
        lines.append((s["frechet_called"], f"{s['frechet_distance']:.4g}{floor}"))
    if "kernel_distance" in s:
        error = s["kernel_distance_error"]
        value = f"{s['kernel_distance']:.4g}" + (f" +- {error:.2g}" if error is not None else "")
        lines.append(("KID" if inception else "kernel distance", value))
    if "class_score" in s:
        value = f"{s['class_score']:.4g} +- {s['class_score_std']:.2g}"
        lines.append(("Inception Score" if inception else "class score", value))
    if "precision" in s:
        lines.append(("precision, recall", f"{s['precision']:.3f}, {s['recall']:.3f}"))
    about = f"   ({s['n']} samples, {s['nfe']} evaluations, features {s['features']})"
    lines = [f"  {name:<20}{value}" for name, value in lines]
    return [line + about * (i == 0) for i, line in enumerate(lines)] + [f"  note: {note}" for note in s["notes"]]
