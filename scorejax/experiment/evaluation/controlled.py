"""What a model makes of given images: inpainting, restoration, edits and translation, with pictures and numbers.

Results depend neither on the batch size nor on the number of devices: image `i` draws from `fold_in(key, i)`.
What was cut off goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

from pathlib import Path

from scorejax.experiment import steering
from scorejax.experiment.config import Config, chosen
from scorejax.experiment.evaluation import places, quality, restoration, spread, variances
from scorejax.experiment.evaluation import report as report_lib
from scorejax.experiment.evaluation.evaluation import Result
from scorejax.experiment.evaluation.given import images, read, wanted_labels
from scorejax.experiment.evaluation.subject import Subject, fingerprint, settings
from scorejax.experiment.trained import restore
from scorejax.runtime import parallel
from scorejax.runtime.errors import user_errors
from scorejax.runtime.files import replacing
from scorejax.runtime.ledger import Ledger

READS = (
    *places.DRAWN,
    *(f"eval.{key}" for key in ("split", "samples", "features", "reference_split", "reference_examples")),
)
"""What the results depend on, apart from the model and the images."""


def control(config: Config, workdir: str | Path, *, perceptual: restoration.Distance | None = None) -> Result:
    """Do what section `guidance` says with the given images, and measure what came of it.

    Writes `samples/NAME-step-N-DIGEST/x.npy` (the results, as gray levels), `samples/NAME-step-N.png` (next to what
    they were made from) and `eval/guidance-NAME-step-N.json`.

    Args:
        config: the run's.
        workdir: its folder.
        perceptual: a network's distance to the truth, reported as `lpips`; none comes with the package.

    Raises:
        RunError: no readable checkpoint, or a config, mask, classifier or image that does not fit.
    """
    trained = restore(config, workdir)
    steering.need(config, trained)
    model, form = variances.with_fitted(Subject(trained), workdir), trained.form
    task, classes = steering.task(config, trained), steering.classes(config, trained)
    given = read(config, task, trained)
    labels = wanted_labels(config, model.model, task, form, classes, given)
    features = None if task.restores else quality.network(config, form)
    if getattr(config.guidance, "target", None) is not None:
        images(config, "target", form.shape, form)  # what is missing shows before any work

    name, count = steering.title(config), len(given.images)
    held = restoration.held(model, task, classes)
    asked = {section: chosen(config, section) for section in ("guidance", "sampler")} | {"seed": config.eval.seed}
    depends = {
        **settings(model),
        **asked,
        "input": given.origin,
        "held": fingerprint(held[2:4]),
        **variances.about(model.fitted),
    }
    ledger = Ledger(Path(workdir) / "samples", f"{name}-step-{model.step}", count, depends)
    done = min(ledger.done, count)
    batches = model.compute.rows(
        name,
        restoration.batch_function(model, perceptual),
        held,
        (given.images,) if labels is None else (given.images, labels),
        stop=count,
        batch_size=min(config.eval.batch, count),
        start=done,
    )
    with user_errors(f"guidance = {config.guidance.name!r}"):
        rows = ledger.fill(batches)

    report = {
        "step": model.step,
        "n": count,
        "of": given.of,
        "input": given.origin,
        "nfe": int(rows["nfe"].max()),
        "failed": int(rows["failed"].sum()),
        **asked,
        **restoration.measures(task, rows, form),
        "folder": str(ledger.folder),
        **report_lib.environment(),
    }
    if features:
        report["realism"] = restoration.realism(model, features, given, rows["x"], workdir, ledger.folder.name)
    if parallel.is_main_process():
        own = places.settings(config, READS)
        suffix = places.title(config, workdir).removesuffix(steering.suffix(config))
        where = places.report(Path(workdir) / "eval" / f"guidance-{name}-step-{model.step}{suffix}.json", own)
        places.write_report(where, report, own)
        page = Path(workdir) / "samples" / f"{where.stem.removeprefix('guidance-')}.png"
        with replacing(page) as path:
            restoration.save_page(path, form, given, rows, config.eval.grid)
        if "rank" in rows:
            spread.save(page.with_name(f"{page.stem}-ranks.png"), rows, report["posterior"]["draws"])
        print(f"{summary(report)}\n  {where}, {page}")
    return report


def summary(report: Result) -> str:
    """The numbers of a report as lines for a person."""
    each = report_lib.counted(report["nfe"], "network evaluation")
    lines = [f"{report['n']} of {report['of']} images, {each} each: {report['folder']}"]
    for of in ("restored", "pinv", "degraded", "to_source"):
        values = [
            f"{name.upper()} {value['mean']:.4g}{' dB' if name == 'psnr' else ''} +- {value['standard_error']:.2g}"
            for name, value in report.get(of, {}).items()
        ]
        lines += [f"  {of.replace('_', ' '):<12}{', '.join(values)}"] * bool(values)
    if "residual" in report:
        noise = f" (noise of the measurement {report['sigma_y']:.4g})" if "sigma_y" in report else ""
        lines.append(f"  residual    {report['residual']['mean']:.4g}{noise}")
    if "posterior" in report:
        lines += spread.lines(report)
    if report["failed"]:
        lines.append(
            f"  {report['failed']} images are not finite: take more steps, sampler.stepper=ancestral with "
            "sampler.time_grid=log_snr, or another guidance.method"
        )
    if "realism" in report:
        before, after = (report["realism"][f"frechet_distance_of_{what}"] for what in ("source", "result"))
        features = report["realism"]["features"]
        lines.append(f"  Frechet distance to the target {after:.4g}, of the sources {before:.4g} (features {features})")
    return "\n".join(lines)
