"""The quality of samples: drawn, pictured, and measured against real examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scorejax import data as data_lib
from scorejax.experiment import assemble
from scorejax.experiment.config import Config, to_dict
from scorejax.experiment.evaluation import draw, quality, saturation, variances
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result
from scorejax.experiment.evaluation.subject import Subject
from scorejax.runtime import parallel


def draw_and_measure(model: Subject, train: data_lib.Dataset, judge: quality.Judge, workdir: str | Path) -> Result:
    """Draw samples, keep them and their pictures, and measure what the judge was made for."""
    samples = draw.draw(model, train, workdir)
    if parallel.is_main_process():
        draw.save_pictures(model, train, workdir, samples.x)
    return {
        **quality.measure(judge, train, samples, workdir),
        **saturation.saturation(model.config, samples.x, train),
        "sampler": to_dict(model.config)["sampler"],
        "guidance": to_dict(model.config)["guidance"],
        "nfe": samples.nfe,
        "seed": model.config.eval.seed,
        "training_seed": model.config.seed,
        "to_levels": draw.TO_LEVELS if train.gray_levels else None,
        "folder": str(samples.folder),
    }


def _prepare(held: Held) -> Callable[[], Result]:
    judge = quality.judge(held.config, held.train)
    model = variances.with_fitted(held.subject, held.train, held.workdir)
    return lambda: draw_and_measure(model, held.train, judge, held.workdir)


def _check(config: Config) -> None:
    train = assemble.dataset(config)
    quality.judge(config, train)
    config.sampler.clip.make(data_range=assemble.data_range(config, train))


EVALUATION = Evaluation(
    "samples", ("sample", "score"), lambda config: config.eval.samples > 0, _prepare, quality.lines, _check
)
