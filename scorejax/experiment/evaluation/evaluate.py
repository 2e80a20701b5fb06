"""What a trained model is worth: bits/dim, quality of samples, pictures, all into `eval/` and `samples/`.

Of a classifier: how often it is right at each noise level.

Results depend neither on the batch size nor on the number of devices: example `i` draws from `fold_in(key, i)`.
A cut-off evaluation goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scorejax import data as data_lib
from scorejax.experiment import assemble as build
from scorejax.experiment import steering as guide
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config, to_dict
from scorejax.experiment.evaluation import draw, quality, reference, variances, variational
from scorejax.experiment.evaluation import report as report_lib
from scorejax.experiment.evaluation.bits import bits_per_dim
from scorejax.experiment.evaluation.classification import classification
from scorejax.experiment.model import Model
from scorejax.models import pretrained
from scorejax.runtime import checkpoint, parallel
from scorejax.runtime.errors import ConfigError

__all__ = ["Model", "bits_per_dim", "check", "evaluate", "preview", "restore", "sample", "statistics", "steered"]


def evaluate(config: Config, workdir: str | Path) -> dict[str, Any]:
    """Measure the newest checkpoint of a run and write `eval/step-N.json` and the pictures of `samples/`.

    Raises:
        RunError: no readable checkpoint, or a config that does not fit.
    """
    train, test = build.dataset(config, "train"), build.dataset(config, config.eval.split)
    is_score = not build.is_classifier(config)
    # What is missing shows before any work.
    model = restore(config, workdir, train)
    model = steered(model, train) if is_score else model
    judge = quality.judge(config, train) if config.eval.samples and is_score else None
    model = variances.with_fitted(model, train, workdir) if judge else model
    bound = variational.asked(model, train, workdir) if config.eval.elbo and is_score else None
    report = {"step": model.step, "data": train.name, "split": config.eval.split, **report_lib.environment()}
    if not is_score:
        report["classification"] = classification(model, test, workdir)
    elif config.eval.exact:
        report["likelihood"] = bits_per_dim(model, train, test, workdir)
    if bound:
        report["elbo"], rows = variational.bits_per_dim(bound, test, config.eval.likelihood_examples, workdir)
        rows.remove()
    if judge:
        report["samples"] = draw_and_measure(model, train, judge, workdir)
    report["config"] = to_dict(config)
    if parallel.is_main_process():
        where = Path(workdir) / "eval" / f"step-{model.step}{guide.suffix(config)}.json"
        report_lib.write(where, report)
        print(report_lib.summary(report))
    return report


def draw_and_measure(
    model: Model, train: data_lib.Dataset, judge: quality.Judge, workdir: str | Path
) -> dict[str, Any]:
    """Draw samples, keep them and their pictures, and measure what the judge was made for."""
    samples = draw.draw(model, train, workdir)
    if parallel.is_main_process():
        draw.save_pictures(model, train, workdir, samples.x)
    return {
        **quality.measure(judge, train, samples, workdir),
        "sampler": to_dict(model.config)["sampler"],
        "guidance": to_dict(model.config)["guidance"],
        "nfe": samples.nfe,
        "seed": model.config.eval.seed,
        "training_seed": model.config.seed,
        "to_levels": draw.TO_LEVELS if train.gray_levels else None,
        "folder": str(samples.folder),
    }


def sample(config: Config, workdir: str | Path) -> np.ndarray:
    """Draw `eval.samples` samples of the newest checkpoint into `samples/`, with a picture; return them, disk-mapped.

    Raises:
        RunError: no readable checkpoint, or a config that does not fit.
    """
    train = build.dataset(config, "train")
    model = variances.with_fitted(steered(restore(config, workdir, train), train), train, workdir)
    samples = draw.draw(model, train, workdir)
    if parallel.is_main_process():
        where = draw.save_pictures(model, train, workdir, samples.x)
        print(f"{len(samples.x)} samples, {samples.nfe} network evaluations each: {samples.folder}, {where}")
    return samples.x


def statistics(config: Config, workdir: str | Path) -> Path:
    """Write mean and covariance of the features of real examples, the reference of Frechet distances, to `eval/`.

    Of the split `eval.reference_split`, in the features `eval.features`; `eval.stats` takes the file. Needs no
    checkpoint.

    Raises:
        RunError: data, split or feature network do not exist or do not fit.
    """
    real = reference.examples(config)
    network = quality.network(config, real)
    result = reference.compute(config, real, network, workdir)
    where = reference.path(config, network, workdir)
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
    if build.is_classifier(config):
        return
    variational.check(config)
    if c.after_training and c.samples:
        quality.judge(config, build.dataset(config))
    missing = build.needed(config) if (c.after_training and c.samples) or config.train.preview_every else set()
    if c.after_training and c.elbo:
        missing |= build.needs(c.elbo_variance or "npr", c.elbo_times)
    if missing:
        raise ConfigError(
            f"the sampler or eval.elbo needs what is fitted to a trained network ({', '.join(sorted(missing))}): train "
            "with eval.after_training=false and train.preview_every=0, then --mode=calibrate (for gamma) or "
            "--mode=train_head, then --mode=eval"
        )


def preview(config: Config, params: Any, step: int, workdir: str | Path) -> None:
    """Draw a few samples in the middle of training, `samples/preview-N.png`.

    At step 0 this is noise, and the first proof that the sampler of the run works: a broken one shows before the
    training, not after it.
    """
    train = build.dataset(config, "train")
    model = steered(_model(config, build.network(config, train), params, step), train)
    count = config.eval.grid
    fn, held = draw.batch_function(model, train)
    batches = parallel.map_batches(fn, held, stop=count, batch_size=count)
    x = np.concatenate([results["x"] for _, _, results in batches])
    if parallel.is_main_process():
        draw.save_page(Path(workdir) / "samples" / f"preview-{step}.png", train, x)


def restore(config: Config, workdir: str | Path, train: data_lib.Dataset) -> Model:
    """The model of a run: averaged weights of its newest whole checkpoint; if it has none, those of `init_from`."""
    module = build.network(config, train)
    if config.init_from and not checkpoint.steps(workdir):
        workdir_lib.claim(workdir, config)
        params, step = pretrained.load(config.init_from, module, max(train.shape[:2]), channels=train.shape[-1])
        return _model(config, module, build.with_process(build.sde(config), params), step)
    restored = checkpoint.restore_ema(workdir, build.shapes(config, module, train.shape))
    return _model(config, module, restored.fields["ema"], restored.step)


def steered(model: Model, train: data_lib.Dataset) -> Model:
    """The model with the class guidance of its config, which may be none.

    Raises:
        RunError: guidance that is unknown or of given images, or a label or classifier that does not fit.
    """
    return model._replace(classes=guide.classes(model.config, model.process, train))


def _model(config: Config, module: Any, params: Any, step: int) -> Model:
    return Model(config, build.process_of(build.sde(config), params), module, params, step)
