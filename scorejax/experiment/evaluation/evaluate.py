"""What a trained model is worth: everything that can be measured of it, into `eval/` and `samples/`.

Results depend neither on the batch size nor on the number of devices: example `i` draws from `fold_in(key, i)`.
A cut-off evaluation goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import logging

from scorejax import data as data_lib
from scorejax.experiment import assemble, steering
from scorejax.experiment import record as record_lib
from scorejax.experiment.config import Config, to_dict
from scorejax.experiment.evaluation import (
    bits,
    chains,
    classification,
    denoising,
    draw,
    evidence,
    partition,
    places,
    quality,
    reference,
    restored,
    samples,
    saturation,
    trial,
    variances,
    variational,
)
from scorejax.experiment.evaluation import report as report_lib
from scorejax.experiment.evaluation.compute import COMPILED, Compiled
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result
from scorejax.experiment.evaluation.subject import Subject
from scorejax.experiment.model import TO_DRAW
from scorejax.experiment.recipe import Params, make_recipe
from scorejax.experiment.trained import Trained, restore
from scorejax.experiment.training.state import hardly_averaged
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError, asked_by

EVALUATIONS = (
    classification.EVALUATION,
    bits.EVALUATION,
    evidence.EVALUATION,
    partition.EVALUATION,
    variational.EVALUATION,
    denoising.EVALUATION,
    chains.EVALUATION,
    restored.EVALUATION,
    samples.EVALUATION,
)


def evaluate(config: Config, workdir: str | Path, *, rehearsed: bool = True) -> Result:
    """Measure the newest checkpoint of a run and write `eval/step-N.json` and the pictures of `samples/`.

    Each section is written when it is measured, next to those that are there; before its pictures.

    Args:
        config: the run's.
        workdir: its folder.
        rehearsed: False rehearses it first, see `rehearse`; True where that is done already.

    Raises:
        RunError: no readable checkpoint, or a config that does not fit.
    """
    # What is missing shows before any work.
    model = subject(config, workdir)
    train = model.trained.recipe.given.examples
    test = assemble.dataset(config, config.eval.split, like=train)
    held = Held(model, train, test, Path(workdir))
    model.trained.need("--mode=eval", *(name for each in EVALUATIONS for name in each.needs))
    refuse_nothing(held)
    work = {each.name: each.prepare(held) for each in EVALUATIONS if each.applies(model)}
    if not rehearsed:
        logging.info("%s", data_lib.describe(train, test))
        logging.info("rehearsing the evaluation")
        rehearse(held)
    about: Result = {"step": model.step, "data": train.name, "split": config.eval.split, **report_lib.environment()}
    if note := hardly_averaged(config, model.step):
        about["notes"] = [note]
    report, places_of = dict(about), []
    for each in EVALUATIONS:
        if each.name in work:
            report[each.name] = work[each.name](Path(workdir))
            report_lib.annotate(report, [each])
            if parallel.is_main_process():
                places_of.append(keep(each, model, report[each.name], {**about, "config": to_dict(config)}, workdir))
            each.show(held, Path(workdir))
    report["config"] = to_dict(config)
    if parallel.is_main_process():
        print(report_lib.summary(report, EVALUATIONS))
        found = ", ".join(dict.fromkeys(map(str, places_of)))
        print(f"  results in {found}, pictures in {Path(workdir) / 'samples'}/")
    return report


def rehearse(held: Held, when: str = "") -> None:
    """Do all that an evaluation would do, on a few examples and with programs that are only traced.

    Args:
        held: what would be evaluated.
        when: that will be, to begin a message.

    Raises:
        ConfigError: some of it would fail; the message says which part, and what leaves it out.
    """
    few, report = held._replace(subject=trial.of_few(held.subject)), {"step": 0, "data": "", "split": ""}
    for each in EVALUATIONS:
        if each.applies(held.subject):
            what = f"{when}the part {each.name!r} of the evaluation"
            with trial.rehearsing(what, f"{each.without} leaves it out") as folder:
                report[each.name] = each.prepare(few)(folder)
                report_lib.annotate(report, [each])
                report_lib.summary(report, [each])
                keep(each, few.subject, report[each.name], {"step": 0, "split": held.config.eval.split}, folder)
                each.show(few, folder)


def refuse_nothing(held: Held) -> None:
    """Refuse an evaluation that would measure nothing.

    Raises:
        ConfigError: the settings ask for nothing that the model can do.
    """
    able = [each for each in EVALUATIONS if held.subject.model.offers(*each.needs)]
    if not able:
        raise ConfigError(
            f"recipe {held.config.recipe.name!r} makes a model that no evaluation measures: it has "
            f"{', '.join(held.subject.model.can()) or 'none of the capabilities'}; train alone by "
            "eval.after_training=false"
        )
    if not any(each.asked(held.config) for each in able):
        raise ConfigError(
            f"an evaluation by these settings would measure nothing: {', '.join(each.without for each in able)}; ask "
            "for one of these, or train alone by eval.after_training=false"
        )


def keep(evaluation: Evaluation, model: Subject, found: Result, about: Result, workdir: str | Path) -> Path:
    """Write what was measured into the report that its settings belong to, and return where that lies."""
    drawn = places.title(model.config, workdir) if "sampler" in evaluation.reads else ""
    where = Path(workdir) / "eval" / f"step-{model.step}{drawn}.json"
    return places.merge(where, about, evaluation.name, found, places.settings(model.config, evaluation.reads))


def sample(config: Config, workdir: str | Path, *, rehearsed: bool = True) -> np.ndarray:
    """Draw `eval.samples` samples of the newest checkpoint into `samples/`, with a picture; return them, disk-mapped.

    Args:
        config: the run's.
        workdir: its folder.
        rehearsed: as of `evaluate`.

    Raises:
        RunError: no readable checkpoint, or a config that does not fit.
    """
    model = subject(config, workdir)
    model.trained.need("--mode=sample", *TO_DRAW)
    model = variances.with_fitted(model, workdir)
    if not rehearsed:
        with trial.rehearsing("the samples or their picture", "change sections sampler and guidance") as folder:
            few = trial.of_few(model)
            draw.save_pictures(few, folder, draw.draw(few, folder).x)
    drawn = draw.draw(model, workdir)
    if parallel.is_main_process():
        saturation.saturation(model, drawn.x)
        where = draw.save_pictures(model, workdir, drawn.x)
        each = report_lib.counted(drawn.nfe, "network evaluation")
        print(f"{report_lib.counted(len(drawn.x), 'sample')}, {each} each: {drawn.folder}, {where}")
    return drawn.x


def statistics(config: Config, workdir: str | Path) -> Path:
    """Write mean and covariance of the features of real examples, the reference of Frechet distances, to `eval/`.

    Of the split `eval.reference_split`, in the features `eval.features`; `eval.stats` takes the file. Needs no
    checkpoint.

    Raises:
        RunError: data, split or feature network do not exist or do not fit.
    """
    real = reference.examples(config)
    network = quality.network(config, data_lib.Form.of(real))
    result = reference.compute(config, real, network, workdir)
    own = reference.held(result)
    where = places.place(reference.path(config, network, workdir), own, reference.held_at)
    if parallel.is_main_process():
        result.save(where)
        print(f"statistics of {result.count} examples in the features {network.name}: {where}")
    return where


def check(config: Config) -> None:
    """Refuse an evaluation that could not be made, before the training that it is to follow.

    Raises:
        RunError: a metric, feature network or statistics file does not exist or does not fit, or a variance is asked
            for that can only be fitted after the training.
    """
    c = config.eval
    recipe = make_recipe(config)
    if c.after_training and (recipe.draws or recipe.process is not None):
        steering.refuse_images(config)
        for each in EVALUATIONS:
            if each.asked(config):
                each.check(config)
    if "sampler" not in recipe.uses or not recipe.draws:
        return
    missing = (
        assemble.needed(config, recipe.process)
        if (c.after_training and c.samples) or config.train.preview_every
        else set()
    )
    if c.after_training and c.elbo:
        missing |= assemble.needed(variational.of_chain(config, c.elbo_variance or "npr"))
    missing -= {variances.OWN}
    if missing:
        raise ConfigError(
            f"the sampler or eval.elbo needs what is fitted to a trained network ({', '.join(sorted(missing))}): train "
            "with eval.after_training=false and train.preview_every=0, then --mode=calibrate (analytic, optimal) or "
            "--mode=train_head, then --mode=eval"
        )


def preview(config: Config, params: Params, step: int, workdir: str | Path, compute: Compiled = COMPILED) -> None:
    """Draw a few samples in the middle of training, `samples/preview-N.png`.

    At step 0 this is noise, and the first proof that the sampler of the run works: a broken one shows before the
    training, not after it.
    """
    recipe = make_recipe(config, record=record_lib.read(workdir))
    model = steered(Trained(config, recipe, params, step))
    count = config.eval.grid
    fn, held = draw.batch_function(model)
    batches = compute.rows("preview", fn, held, stop=count, batch_size=count)
    x = np.concatenate([results["x"] for _, _, results in batches])
    if parallel.is_main_process():
        draw.save_page(Path(workdir) / "samples" / f"preview-{step}.png", model, x)


def validation(config: Config, workdir: str | Path, compute: Compiled = COMPILED) -> denoising.Validation:
    """What measures averaged weights every `train.validate_every` steps.

    Raises:
        ConfigError: a model without a score, or a process without levels of noise.
    """
    with asked_by("eval.split", config.eval.split):
        train = assemble.dataset(config)
        test = assemble.dataset(config, config.eval.split, like=train)
    return denoising.Validation(config, make_recipe(config, train), train, test, workdir, compute)


def subject(config: Config, workdir: str | Path) -> Subject:
    """The model of a run with the class guidance of its config.

    Raises:
        RunError: no readable checkpoint, or guidance that does not fit.
    """
    found = steered(restore(config, workdir))
    logging.info("%s: the model of step %d, with the average of its weights", workdir, found.step)
    return found


def steered(trained: Trained) -> Subject:
    """The model with the class guidance of its config, which may be none.

    Raises:
        RunError: guidance of given images, or a label or classifier that does not fit.
    """
    steering.refuse_images(trained.config)
    return Subject(trained, classes=steering.classes(trained.config, trained))
