"""Quality against cost: one trained model, many samplers, each with several numbers of steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import logging

from scorejax import data, metrics
from scorejax.experiment import assemble, steering
from scorejax.experiment import config as configs
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import (
    draw,
    places,
    quality,
    reference,
    report,
    samples,
    sweep_pages,
    trial,
    variances,
    variational,
)
from scorejax.experiment.evaluation.evaluate import subject
from scorejax.experiment.evaluation.evaluation import Result
from scorejax.experiment.evaluation.subject import Subject
from scorejax.experiment.evaluation.sweep_pages import Point, bits_table, label, pareto, table
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError
from scorejax.runtime.ledger import Ledger

READS = (
    *("sweep", "guidance", "sampler.t_min", "sampler.gamma"),
    *(f"eval.{key}" for key in (*samples.READS, "seed", "split")),
)
"""What the numbers of a sweep depend on, apart from the model."""


def sweep(config: Config, workdir: str | Path, *, rehearsed: bool = True) -> Result:
    """Measure the newest checkpoint under every sampler of `sweep.samplers` with every number of `sweep.steps`.

    Writes `eval/sweep-N.json` and the picture `eval/sweep-N.png` of Frechet distance against network evaluations,
    with the distance of real examples from each other (the floor) and the Pareto front marked. With `sweep.bits` a
    second table and picture, `eval/sweep-N-bits.png`, hold the variational bound of the samplers that are reverse
    chains. Samples and bounds lie on the disk, so that a sweep which was cut off goes on where it stopped.

    Args:
        config: the run's.
        workdir: its folder.
        rehearsed: False does it with a few examples and traced programs first; True where that is done already.

    Raises:
        RunError: no readable checkpoint, an unknown sampler, settings that it does not take, or something that it needs
            and that was not fitted.
    """
    model = subject(config, workdir)
    train = model.trained.recipe.given.examples
    judge = quality.judge(config, train)
    model.trained.need("--mode=sweep", "score")
    models = _models(model, workdir)
    if not rehearsed:
        # Other numbers of steps are the same program with a longer grid.
        few, steps = judge._replace(config=trial.shortened(config)), config.sweep.steps[0]
        for text in config.sweep.samplers:
            with trial.rehearsing(f"sampler {text!r} of sweep.samplers", "leave it out") as folder:
                found, _ = _measure(few, {(text, steps): trial.of_few(models[text, steps])}, train, folder)
                _save(config, folder, found, judge)
    result, ledgers = _measure(judge, models, train, workdir)
    if parallel.is_main_process():
        where = _save(config, workdir, result, judge)
        print(table([Point(*(row[name] for name in Point._fields)) for row in result["points"]], result["floor"]))
        if result["bits"]:
            print(f"\n{bits_table(result['bits'])}\n")
        print(f"{where}.json, {where}.png" + f", {where}-bits.png" * bool(result["bits"]))
    for ledger in ledgers:
        ledger.remove()
    return result


def _measure(
    judge: quality.Judge, models: dict[tuple[str, int], Subject], train: data.Dataset, workdir: str | Path
) -> tuple[Result, list[Ledger]]:
    """The report, and the ledgers of its bounds, to be removed when it is written."""
    config, model = judge.config, next(iter(models.values()))
    bounds = {}
    if config.sweep.bits:
        bounds = {each: variational.of_sampler(own) for each, own in models.items()}
    statistics, floor = _real(judge, workdir)
    points = []
    for (text, steps), own in models.items():
        found = draw.draw(own, workdir)
        drawn = _moments(judge, model.form, found, workdir)
        point = Point(text, steps, found.nfe, metrics.distance(statistics, drawn))
        logging.info("%s, %d steps: Frechet distance %.4g with %d evaluations", text, steps, point.distance, point.nfe)
        points.append(point)
    bits, ledgers = _bits({each: bound for each, bound in bounds.items() if bound}, config, train, workdir)
    front = pareto(points)
    result = {
        "step": model.step,
        "data": model.form.name,
        "features": judge.network.name,
        "n": config.eval.samples,
        "guidance": configs.to_dict(config)["guidance"],
        "floor": floor,
        "points": [{**point._asdict(), "on_the_front": point in front} for point in points],
        "bits": bits,
        "units": {
            **dict.fromkeys(("distance", "floor"), metrics.SQUARES),
            "nfe": "network evaluations",
            "bits_per_dim": "bits/dim",
        },
        **report.environment(),
    }
    return result, ledgers


def _save(config: Config, workdir: str | Path, result: Result, judge: quality.Judge) -> str:
    """Write a report and its pictures; return how their names begin."""
    own = places.settings(config, READS)
    file = places.report(Path(workdir) / "eval" / f"sweep-{result['step']}{steering.suffix(config)}.json", own)
    places.write_report(file, result, own)
    where = str(file).removesuffix(".json")
    called = "FID" if metrics.is_inception(judge.network.name) else f"Frechet distance ({judge.network.name})"
    sweep_pages.draw_distances(f"{where}.png", result, called)
    if result["bits"]:
        sweep_pages.draw_bits(f"{where}-bits.png", result["bits"])
    return where


def with_sampler(config: Config, text: str, steps: int, where: str = "sweep.samplers") -> Config:
    """A copy of the config with another sampler, `STEPPER:key=value:key=value`.

    The keys are those of the stepper, or of section `sampler` (`time_grid=log_snr`). What the config's own sampler was
    set to is forgotten, but for the end of the time grid.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    copy, fresh = configs.copy(config), configs.base().sampler
    copy.sampler.update(fresh.to_dict())
    copy.sampler.update({"steps": steps, "t_min": config.sampler.t_min, "gamma": config.sampler.gamma})
    own, of_section = split_keys(text, tuple(fresh))
    if any(key in ("stepper", "steps") for key, _ in of_section):
        raise ConfigError(
            f"{where} has {text!r}: the stepper stands before the first setting, the steps in sweep.steps"
        )
    try:
        copy.sampler.stepper = own
    except ConfigError as error:
        raise ConfigError(
            f"{where} has {text!r}: {error}; keys of section sampler may stand there too: "
            f"{', '.join(key for key in fresh if key not in ('stepper', 'steps'))}"
        ) from error
    return configs.override(copy, [f"sampler.{key}={value}" for key, value in of_section])


def split_keys(text: str, of_section: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
    """The words of a sampler that name its stepper, and those that are keys of section `sampler`."""
    own, others = [], []
    for word in text.split(":"):
        key, equals, value = word.strip().partition("=")
        if equals and key.partition(".")[0] in of_section:
            others.append((key, value))
        else:
            own.append(word.strip())
    return ":".join(own), others


def _models(model: Subject, workdir: str | Path) -> dict[tuple[str, int], Subject]:
    """The model under every sampler with every number of steps."""
    found = {}
    for text in model.config.sweep.samplers:
        fitted = None
        for steps in model.config.sweep.steps:
            own = model._replace(own_config=with_sampler(model.config, text, steps))
            if fitted is None:
                needed = assemble.needed(own.config, own.sde)
                fitted = variances.find(needed, own, workdir)
            assemble.sampler(own.config, own.sde, fitted, own.space.interval)
            found[text, steps] = own._replace(fitted=fitted)
    return found


def _bits(
    bounds: dict[tuple[str, int], variational.Bound], config: Config, train: data.Dataset, workdir: str | Path
) -> tuple[list[Result], list[Ledger]]:
    """Bits/dim of every bound on the same `sweep.bits` examples, and the ledgers they are from."""
    if not bounds:
        return [], []
    test, rows, ledgers = assemble.dataset(config, config.eval.split, like=train), [], []
    for (text, steps), bound in bounds.items():
        found, ledger = variational.bits_per_dim(bound, test, config.sweep.bits, workdir)
        logging.info("%s, %d steps: %.4f bits/dim by the bound", text, steps, found["bits_per_dim"])
        variance = variational.variance_name(bound.model.config)
        called = f"{label(text)} ({variance} chain)" if text.startswith("ancestral") else label(text)
        rows.append({"sampler": text, "label": called, "steps": steps, **found})
        ledgers.append(ledger)
    return rows, ledgers


def _moments(judge: quality.Judge, form: data.Form, drawn: draw.Samples, workdir: str | Path) -> metrics.Moments:
    """Moments of the features of the first `eval.samples` samples."""
    c, network = judge.config.eval, judge.network
    pictures = reference.Pictures(drawn.x[: c.samples], form.gray_levels)
    with reference.features(network, pictures, c.batch, workdir, "samples", drawn.folder.name) as features:
        return metrics.Moments.of_rows(features, network.name)


def _real(judge: quality.Judge, workdir: str | Path) -> tuple[metrics.Moments, float]:
    """Moments of the real examples, and the distance that as many real examples as samples have from the others."""
    c, network = judge.config.eval, judge.network
    with reference.real_features(judge.config, reference.examples(judge.config), network, workdir) as features:
        everything, floor = metrics.moments_and_floor(features, network.name, c.samples, c.seed)
        return everything, floor["frechet_floor"]
