"""How near samples are to real examples, in the features of a network."""

from __future__ import annotations

import contextlib
from collections import ChainMap
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from scorejax import data as data_lib
from scorejax import metrics
from scorejax.experiment import assemble
from scorejax.experiment.config import Config, Part, Seam, to_dict
from scorejax.experiment.evaluation import reference
from scorejax.experiment.evaluation.draw import Samples
from scorejax.experiment.evaluation.evaluation import Result
from scorejax.experiment.evaluation.report import counted
from scorejax.experiment.evaluation.run_features import run
from scorejax.runtime.errors import ConfigError, asked_by, user_errors


def auto(*, gray_levels: int | None) -> metrics.FeatureNetwork:
    """Random convolutions for images of gray levels, the values themselves for all else."""
    return metrics.feature_network(metrics.default_features(images=gray_levels is not None))


# A view of the table of the room, with two parts that only the workshop can make.
FEATURES = ChainMap({"auto": auto, "run": run}, metrics.FEATURES)
METRIC = Seam("scorejax.metrics:METRICS", "metric", "frechet", makes="scorejax.metrics:Metric")


def metric(text: str) -> metrics.Metric:
    """The metric `NAME:key=value...` of the list `eval.metrics`.

    Raises:
        ConfigError: no such metric, or a setting that it does not have.
        Help: the text is `help`.
    """
    part = Part(METRIC, "eval.metrics")
    part.choose_text(text)
    return part.make()


class Judge(NamedTuple):
    """What samples are measured with; something missing shows when it is made.

    Attributes:
        config: the run's.
        asked: what `eval.metrics` names, in that order.
        network: the feature network.
        statistics: of real examples, from a file; None: computed.
    """

    config: Config
    asked: tuple[metrics.Metric, ...]
    network: metrics.FeatureNetwork
    statistics: metrics.Statistics | None

    def needs_real_features(self) -> bool:
        """Whether a metric needs real examples: their features, or moments that no file holds."""
        wanted = {"features"} if self.statistics else {"features", "moments"}
        return any(each.needs_real in wanted for each in self.asked)


def judge(config: Config, train: data_lib.Dataset) -> Judge:
    """Everything that `eval` asks for, before samples are drawn.

    Raises:
        ConfigError: a metric, network or file that does not exist, or does not fit the others.
        RunError: no weights of the feature network.
    """
    c = config.eval
    asked = tuple(metric(name) for name in c.metrics)
    kinds = [type(each) for each in asked]
    if twice := [text for text, kind in zip(c.metrics, kinds, strict=True) if kinds.count(kind) > 1]:
        raise ConfigError(f"eval.metrics names one metric twice, {', '.join(twice)}; ask for one of them at a time")
    least = max((each.least for each in asked), default=2)
    if c.samples < least:
        raise ConfigError(f"eval.samples = {c.samples}; {', '.join(c.metrics)} need at least {least}, 0 for none")
    form = data_lib.Form.of(train)
    with user_errors("config key 'eval.metrics'"):
        for each in asked:
            each.check(form.shape)
    chosen = network(config, form)
    of_classes = [name for name, each in zip(c.metrics, asked, strict=True) if each.needs_classes]
    if of_classes and not isinstance(chosen, metrics.Classifier):
        raise ConfigError(
            f"eval.metrics has {', '.join(of_classes)}, but {chosen.name!r} has no classes; choose eval.features among "
            f"{', '.join(metrics.networks_with_classes())}"
        )
    if 0 < c.reference_examples < 2 * least:
        raise ConfigError(f"eval.reference_examples = {c.reference_examples}; wanted at least {2 * least}, 0: all")
    statistics = reference.load(c.stats, chosen, _feature_count(chosen, form)) if c.stats else None
    judge = Judge(config, asked, chosen, statistics)
    if judge.needs_real_features():
        split = c.reference_split
        with asked_by("eval.reference_split", split):
            real = train if split == "train" else assemble.dataset(config, split, like=train)
        if len(real) < 2 * least:
            raise ConfigError(
                f"split {split!r} holds {len(real)} examples; {', '.join(c.metrics)} and its floor need at least "
                f"{2 * least} real ones: give more, or set eval.samples=0"
            )
    if any(each.needs_held_out for each in asked):
        _check_held_out(config, train, least)
    return judge


def _check_held_out(config: Config, train: data_lib.Dataset, least: int) -> None:
    """Refuse metrics of memorization where real examples and examples held out are not two sets."""
    c = config.eval
    if c.reference_split != "train" or c.split == "train":
        raise ConfigError(
            "a metric of eval.metrics holds training examples against examples held out: it needs "
            f"eval.reference_split=train and another eval.split, got {c.reference_split!r} and {c.split!r}"
        )
    held_out = len(assemble.dataset(config, c.split, like=train))
    if held_out < least:
        raise ConfigError(f"split {c.split!r} holds {held_out} examples; {', '.join(c.metrics)} need at least {least}")


def network(config: Config, form: data_lib.Form) -> metrics.FeatureNetwork:
    """The feature network `eval.features`, tried on one example of this form.

    Raises:
        ConfigError: no such network, or one that cannot look at these examples.
        RunError: no weights.
    """
    with user_errors("config key 'eval.features'"):
        chosen = config.eval.features.make(gray_levels=form.gray_levels if form.pictured else None)
        _feature_count(chosen, form)
    return chosen


def _feature_count(chosen: metrics.FeatureNetwork, form: data_lib.Form) -> int:
    one = np.zeros((1, *form.shape), np.float32 if form.gray_levels is None else np.uint8)
    return chosen(jnp.asarray(one)).shape[1]


def measure(judge: Judge, form: data_lib.Form, samples: Samples, workdir: str | Path) -> Result:
    """The numbers that `eval.metrics` asks for, with what they were measured on.

    Features are computed once for all numbers, and lie on the disk.
    """
    c, network = judge.config.eval, judge.network
    x = samples.x[: c.samples]
    result: Result = {"n": len(x), "features": network.name, "metrics": list(c.metrics), "notes": []}
    with contextlib.ExitStack() as stack:
        pictures = reference.Pictures(x, form.gray_levels)
        drawn = stack.enter_context(
            reference.features(network, pictures, c.batch, workdir, "samples", samples.folder.name)
        )
        real = metrics.Reference(statistics=judge.statistics, file=c.stats)
        if judge.needs_real_features():
            dataset = reference.examples(judge.config)
            features = stack.enter_context(reference.real_features(judge.config, dataset, network, workdir))
            result["real"] = {**reference.about(judge.config, dataset), "n": len(features)}
            real = metrics.Reference(
                features,
                judge.statistics,
                c.stats,
                result["real"],
                held_out=_held_out(judge, dataset, workdir, stack),
                examples=reference.chosen(judge.config, dataset),
            )
        result["units"] = {}
        for each in judge.asked:
            result["units"] |= each.units
            found = each.measure(real, x if each.reads == "examples" else drawn, network, seed=c.seed)
            result["notes"] += found.pop("notes", [])
            result |= found
    return result


def _held_out(
    judge: Judge, real: data_lib.Dataset, workdir: str | Path, stack: contextlib.ExitStack
) -> np.ndarray | None:
    """Features of all examples of `eval.split`, if a metric asks for them."""
    if not any(each.needs_held_out for each in judge.asked):
        return None
    c = judge.config.eval
    dataset = assemble.dataset(judge.config, c.split, like=real)
    pictures = reference.Pictures(dataset.examples, dataset.gray_levels)
    about = [to_dict(judge.config)["data"], c.split]
    return stack.enter_context(
        reference.features(judge.network, pictures, c.batch, workdir, "examples held out", about)
    )


def lines(s: Result) -> list[str]:
    """The numbers of samples, as the metric of each puts them."""
    found = [f"  {label:<20}{value}" for name in s["metrics"] for label, value in metric(name).lines(s)]
    about = f"   ({counted(s['n'], 'sample')}, {counted(s['nfe'], 'evaluation')}, features {s['features']})"
    return [line + about * (i == 0) for i, line in enumerate(found)] + [f"  note: {note}" for note in s["notes"]]
