"""Test images that are degraded and restored: directly, and by both algorithms of cold diffusion, side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import data as data_lib
from scorejax import metrics, pictures, samplers
from scorejax.degradations import Degradation, levels
from scorejax.experiment import assemble
from scorejax.experiment.evaluation import places, quality, reference
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result, Work
from scorejax.experiment.evaluation.subject import RESTORED, Subject, carried, settings
from scorejax.numerics import keys
from scorejax.runtime import parallel
from scorejax.runtime.files import replacing
from scorejax.runtime.ledger import Ledger

KINDS = {
    "clean": "clean",
    "degraded": "degraded",
    "direct": "direct",
    "naive": "algorithm 1",
    "corrected": "algorithm 2",
}
"""What is compared, by its name in the report and in words."""
ROWS, _GROUPS = (
    16,
    10,
)  # of the page of pictures, and parts of the examples that are left out for the error of a distance


def batch_function(model: Subject) -> Callable[..., dict[str, Array]]:
    """The function of one batch: each kind in the units of the data, and how far it is from the truth."""
    space, shape = model.space, model.form.shape
    process = model.process
    assert isinstance(process, Degradation)  # `EVALUATION` asks for what undoes one
    sampler = assemble.sampler(model.config, process, model.fitted, space.interval)
    ways = {
        "direct": ("naive", levels(process, 1)),
        "naive": ("naive", sampler["times"]),
        "corrected": ("corrected", sampler["times"]),
    }

    def fn(held: tuple, index: Array, raw: Array) -> dict[str, Array]:
        params, key = held
        of = model.at(params)
        assert of.degradation is not None and of.restore is not None
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        x0 = space.middle(raw)
        drawn = of.degradation.draw(each, x0.shape)
        x = {"degraded": of.degradation.degrade(x0, 1.0, drawn)}
        for kind, (rule, times) in ways.items():
            x[kind] = samplers.sample(
                each, of.degradation.held(drawn), of.restore, (len(index), *shape), stepper=samplers.cold(rule),
                times=times, x_init=x["degraded"], clip=sampler["clip"], denoise=False,
            ).x  # fmt: skip
        raw = space.from_model(x0)
        rows = {"clean": raw}
        for kind, value in x.items():
            rows[kind] = space.from_model(value)
            found = measured(rows[kind], raw, model.form)
            rows |= {f"{kind}_{name}": number for name, number in found.items()}
        return rows

    return fn


def measured(x: Array, truth: Array, form: data_lib.Form) -> dict[str, Array]:
    """The root mean square error of each example, of images in units of their range, and their SSIM."""
    x, truth = x.astype(jnp.float32), truth.astype(jnp.float32)
    peak = form.gray_levels - 1.0 if form.gray_levels and form.pictured else 1.0
    error = jnp.sqrt(jnp.mean(jnp.square((x - truth) / peak).reshape(len(x), -1), axis=1))
    if not form.pictured:
        return {"rmse": error}
    return {"rmse": error, "ssim": metrics.ssim(x, truth, peak, window=metrics.fitting_window(form.shape[:2]))}


def restore(held: Held, network: metrics.FeatureNetwork, workdir: Path) -> Result:
    """Degrade and restore test examples, and measure them one by one and all together."""
    model, form, c = held.subject, held.subject.form, held.config.eval
    numbers = data_lib.spread(len(held.test), c.restored)
    truth = model.sent(held.test, numbers)
    ledger = _ledger(held, workdir)
    batches = model.compute.rows(
        "restored", batch_function(model), carried(model, RESTORED), (truth,),
        stop=len(truth), batch_size=min(c.batch, len(truth)), start=min(ledger.done, len(truth)),
    )  # fmt: skip
    rows = ledger.fill(batches)
    real = reference.examples(held.config)
    with reference.real_features(held.config, real, network, workdir) as features:
        target = metrics.Moments.of_rows(features, network.name)
    kinds: Result = {}
    for kind in KINDS:
        shown, digest = reference.Pictures(rows[kind], form.gray_levels), [ledger.folder.name, kind]
        with reference.features(network, shown, c.batch, workdir, f"{kind} examples", digest) as features:
            kinds[kind] = distance_and_error(target, np.asarray(features), network.name)
        if kind != "clean":
            names = [name for name in ("rmse", "ssim") if f"{kind}_{name}" in rows]
            kinds[kind] |= {name: metrics.mean_and_error(rows[f"{kind}_{name}"]) for name in names}
    return {
        "n": len(truth),
        "kinds": kinds,
        "steps": len(assemble.sampler(held.config, model.process, model.fitted, model.space.interval)["times"]) - 1,
        "levels": model.process.levels if isinstance(model.process, Degradation) else None,
        "features": network.name,
        "target": f"{target.count} examples of {real.name}, {c.reference_split}",
        "ssim_window": metrics.fitting_window(form.shape[:2]) if form.pictured else None,
        "seed": c.seed,
        "folder": str(ledger.folder),
    }


def distance_and_error(target: metrics.Moments, features: np.ndarray, network: str) -> Result:
    """The Frechet distance of features `[N, F]` to the target, with its standard error: the jackknife of ten groups."""
    found = metrics.distance(target, metrics.Moments.of_rows(features, network))
    result: Result = {"frechet_distance": found}
    groups = np.array_split(np.arange(len(features)), _GROUPS)
    if len(features) < 2 * _GROUPS:
        return result | {"frechet_error": math.nan}
    values, vectors = np.linalg.eigh(target.covariance)
    factor = vectors * np.sqrt(np.maximum(values, 0.0))

    def quickly(rows: np.ndarray) -> float:
        """The distance without what is the same for all, to fewer digits: an error needs no more."""
        own = metrics.Moments.of_rows(features, network, rows)
        overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(factor.T @ own.covariance @ factor), 0.0)).sum()
        return float(np.sum((own.mean - target.mean) ** 2) + np.trace(own.covariance) - 2 * overlap)

    without = [quickly(np.setdiff1d(np.arange(len(features)), own)) for own in groups]
    spread = np.sum((np.asarray(without) - np.mean(without)) ** 2)
    return result | {"frechet_error": float(np.sqrt((_GROUPS - 1) / _GROUPS * spread))}


def _ledger(held: Held, workdir: Path) -> Ledger:
    """The place of the restored examples, named by all that they depend on."""
    model, c = held.subject, held.config.eval
    sampler = places.settings(held.config, ("sampler",))
    depends = {**settings(model), "sampler": sampler, "seed": c.seed, "split": c.split, "data": held.test.name}
    count = len(data_lib.spread(len(held.test), c.restored))
    return Ledger(workdir / "samples", f"restored-step-{model.step}", count, {**depends, "count": count})


def _prepare(held: Held) -> Work:
    network = quality.network(held.config, held.subject.form)
    return lambda workdir: restore(held, network, workdir)


def _show(held: Held, workdir: Path) -> None:
    """A row for each example: clean, degraded, direct, algorithm 1, algorithm 2."""
    form = held.subject.form
    if not parallel.is_main_process() or not (form.gray_levels and form.pictured):
        return
    rows = _ledger(held, workdir).fill(())
    page = np.stack([rows[kind][:ROWS] for kind in KINDS], axis=1).reshape(-1, *form.shape)
    own = places.settings(held.config, (*READS, "eval.restored"))
    name = f"restored-{held.subject.step}{places.title(held.config, workdir)}.png"
    with replacing(places.page(workdir / "samples" / name, own)) as path:
        pictures.save_grid(path, data_lib.to_bytes(page, form.gray_levels), len(KINDS))
        pictures.sign(path, json.dumps(own))


def lines(found: Result) -> list[str]:
    """A row for each kind."""
    steps = f"{found['steps']} steps" if found["steps"] > 1 else "1 step"
    about = f"{found['n']} examples, {steps} over {found['levels']} levels, features {found['features']}"
    rows = [f"  {'restoration':<14}{'RMSE':>19}{'SSIM':>19}{'Frechet distance':>20}   ({about})"]
    for kind, words in KINDS.items():
        own = found["kinds"][kind]
        cells = [_cell(own.get(name), 19) for name in ("rmse", "ssim")]
        distance = {"mean": own["frechet_distance"], "standard_error": own["frechet_error"]}
        rows.append(f"  {words:<14}{''.join(cells)}{_cell(distance, 20)}")
    return rows


def _cell(value: Result | None, width: int) -> str:
    text = "" if value is None else f"{value['mean']:.3g} +- {value['standard_error']:.1g}"
    return f"{text:>{width}}"


READS = ("sampler", "eval.seed", "eval.split")
EVALUATION = Evaluation(
    "restoration",
    ("restore",),
    lambda config: config.eval.restored > 0,
    _prepare,
    lines,
    without="eval.restored=0",
    units={"rmse": "ranges of the data", "frechet_distance": metrics.SQUARES, "frechet_error": metrics.SQUARES},
    reads=(*READS, *(f"eval.{key}" for key in ("restored", "features", "reference_split", "reference_examples"))),
    show=_show,
)
