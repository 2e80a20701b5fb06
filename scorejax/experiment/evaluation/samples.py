"""The quality of samples: drawn, pictured, and measured against real examples."""

from __future__ import annotations

from pathlib import Path

from scorejax.experiment import assemble
from scorejax.experiment.config import Config, to_dict
from scorejax.experiment.evaluation import draw, places, quality, saturation, variances
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result, Work
from scorejax.experiment.evaluation.subject import Subject
from scorejax.experiment.model import TO_DRAW
from scorejax.experiment.recipe import make_recipe
from scorejax.runtime import parallel


def draw_and_measure(model: Subject, judge: quality.Judge, workdir: str | Path) -> Result:
    """Draw samples, keep them, and measure what the judge was made for."""
    samples = draw.draw(model, workdir)
    measured = quality.measure(judge, model.form, samples, workdir)
    if parallel.is_main_process():
        for each in judge.asked:
            each.draw(measured, Path(workdir) / "samples", f"{model.step}{places.title(model.config, workdir)}")
    return {
        **measured,
        **saturation.saturation(model, samples.x),
        "sampler": to_dict(model.config)["sampler"] if model.model.sample is None else None,  # drawn in its own way
        "guidance": to_dict(model.config)["guidance"],
        "nfe": samples.nfe,
        "not_finite": samples.lost,
        "seed": model.config.eval.seed,
        "training_seed": model.config.seed,
        "to_levels": draw.TO_LEVELS if model.form.gray_levels else None,
        "folder": str(samples.folder),
    }


def _prepare(held: Held) -> Work:
    judge = quality.judge(held.config, held.train)
    model = variances.with_fitted(held.subject, held.workdir)
    return lambda workdir: draw_and_measure(model, judge, workdir)


def _show(held: Held, workdir: Path) -> None:
    """Pictures of the samples, which lie on the disk by now."""
    if parallel.is_main_process():
        model = variances.with_fitted(held.subject, held.workdir)
        draw.save_pictures(model, workdir, draw.drawn(model, workdir))


def _check(config: Config) -> None:
    train = assemble.dataset(config)
    quality.judge(config, train)
    config.sampler.clip.make(data_range=make_recipe(config, train).given.space.interval)


READS = ("samples", "metrics", "features", "stats", "reference_split", "reference_examples", "split")
EVALUATION = Evaluation(
    "samples",
    TO_DRAW,
    lambda config: config.eval.samples > 0,
    _prepare,
    quality.lines,
    without="eval.samples=0",
    units={"nfe": "network evaluations"},
    check=_check,
    reads=(*places.DRAWN, *(f"eval.{key}" for key in READS)),
    show=_show,
)
