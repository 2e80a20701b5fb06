"""Quality against cost: one trained model, many samplers, each with several numbers of steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from scorejax import build, calibrate, data, evaluate, guide, metrics, parallel, report
from scorejax import config as config_lib
from scorejax.config import Config
from scorejax.errors import ConfigError
from scorejax.evaluation import draw, quality, reference
from scorejax.settings import DEFAULTS


class Point(NamedTuple):
    """One sampler with one number of steps.

    Attributes:
      sampler: as the config names it.
      steps: of the time grid.
      nfe: network evaluations for a sample, counted.
      distance: Frechet distance to real examples.
    """

    sampler: str
    steps: int
    nfe: int
    distance: float


def sweep(config: Config, workdir: str | Path) -> dict[str, Any]:
    """Measure the newest checkpoint under every sampler of `sweep.samplers` with every number of `sweep.steps`.

    Writes `eval/sweep-N.json` and the picture `eval/sweep-N.png` of Frechet distance against network evaluations,
    with the distance of real examples from each other (the floor) and the Pareto front marked. Samples lie on the
    disk, so that a sweep which was cut off goes on where it stopped. `analytic` takes the run's own calibration.

    Raises:
      RunError: no readable checkpoint, an unknown sampler, or settings that it does not take.
    """
    train = build.dataset(config, "train")
    judge = quality.judge(config, train)
    model = evaluate.restore(config, workdir, train)
    chosen = {(text, n): with_sampler(config, text, n) for text in config.sweep.samplers for n in config.sweep.steps}
    for each in chosen.values():
        if each.sampler.stepper == "analytic" and each.sampler.gamma is None:
            each.sampler.gamma = str(calibrate.gamma_path(workdir, model.step))
        build.sampler(each, model.process)  # mistakes show before any work
    guide.classes(config, model.process, train)
    statistics, floor = _real(judge, workdir)
    points = []
    for (text, steps), each in chosen.items():
        samples = draw.draw(model._replace(config=each), train, workdir)
        drawn = _moments(judge, train, samples, workdir)
        point = Point(text, steps, samples.nfe, metrics.distance(statistics, drawn))
        logging.info("%s, %d steps: Frechet distance %.4g with %d evaluations", text, steps, point.distance, point.nfe)
        points.append(point)
    front = pareto(points)
    result = {
        "step": model.step,
        "data": train.name,
        "features": judge.network.name,
        "n": config.eval.samples,
        "guidance": config_lib.to_dict(config)["guidance"],
        "floor": floor,
        "points": [{**point._asdict(), "on_the_front": point in front} for point in points],
        **report.environment(),
    }
    if parallel.is_main_process():
        where = Path(workdir) / "eval" / f"sweep-{model.step}{guide.suffix(config)}"
        report.write(where.with_suffix(".json"), result)
        called = "FID" if metrics.is_inception(judge.network.name) else f"Frechet distance ({judge.network.name})"
        metrics.save_curves(
            where.with_suffix(".png"),
            {text: [(p.nfe, p.distance) for p in points if p.sampler == text] for text in config.sweep.samplers},
            marked=[(p.nfe, p.distance) for p in front],
            floor=floor,
            labels=("network evaluations for a sample", f"{called}, n = {config.eval.samples}"),
        )
        print(table(points, floor))
        print(f"{where}.json, {where}.png")
    return result


def with_sampler(config: Config, text: str, steps: int) -> Config:
    """A copy of the config with another sampler, `name[:key=value[:key=value]]`, keys being those of `sampler`.

    What the config's own sampler was set to is forgotten, but for the end of the time grid.

    Raises:
      ConfigError: an unknown key, or a value of the wrong type.
    """
    name, *options = text.split(":")
    copy = config_lib.from_dict(json.loads(json.dumps(config_lib.to_dict(config))))
    fresh = {key: None if isinstance(value, type) else value for key, value in DEFAULTS["sampler"].items()}
    copy.sampler.update({**fresh, "stepper": name, "steps": steps, "t_min": config.sampler.t_min})
    given = [f"sampler.{option.strip()}" for option in options]
    if any(option.split("=")[0] in ("sampler.stepper", "sampler.steps") for option in given):
        raise ConfigError(
            f"sweep.samplers has {text!r}: the name stands before the first colon, the steps in sweep.steps"
        )
    return config_lib.override(copy, given)


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other point beats: none has at most as many evaluations and a smaller distance."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.nfe, p.distance)):
        if point.distance < (front[-1].distance if front else float("inf")):
            front.append(point)
    return front


def table(points: Sequence[Point], floor: float) -> str:
    """Markdown: a row for each sampler, a column for each number of steps."""
    columns = sorted({point.steps for point in points})
    values = {(point.sampler, point.steps): f"{point.distance:.4g}" for point in points}
    rows = dict.fromkeys(point.sampler for point in points)
    lines = [f"| steps | {' | '.join(map(str, columns))} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {row} | {' | '.join(values.get((row, n), '') for n in columns)} |" for row in rows]
    return "\n".join([*lines, "", f"floor (real examples among themselves): {floor:.4g}"])


def _moments(judge: quality.Judge, train: data.Dataset, samples: draw.Samples, workdir: str | Path) -> metrics.Moments:
    """Moments of the features of the first `eval.samples` samples."""
    c, network = judge.config.eval, judge.network
    pictures = reference.Pictures(samples.x[: c.samples], train.levels)
    with reference.features(network, pictures, c.batch, workdir, "samples", samples.folder.name) as features:
        return reference.moments(features, network.name)


def _real(judge: quality.Judge, workdir: str | Path) -> tuple[metrics.Moments, float]:
    """Moments of the real examples, and the distance that as many real examples as samples have from the others."""
    c, network = judge.config.eval, judge.network
    with reference.real_features(judge.config, reference.examples(judge.config), network, workdir) as features:
        everything, floor = reference.beside_floor(features, network.name, c.samples, c.seed)
        return everything, floor["frechet_floor"]
