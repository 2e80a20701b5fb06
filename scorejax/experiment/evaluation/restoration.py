"""Results made of given images: drawn in batches, measured image by image, and shown next to what they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import data as data_lib
from scorejax import metrics
from scorejax.experiment import assemble, steering
from scorejax.experiment import config as configs
from scorejax.experiment.evaluation import reference, spread, variances
from scorejax.experiment.evaluation.evaluation import Result
from scorejax.experiment.evaluation.given import Given, images
from scorejax.experiment.evaluation.subject import CONTROLLED, Subject, carried
from scorejax.experiment.trained import Trained
from scorejax.numerics import keys
from scorejax.pictures import save_grid
from scorejax.runtime import parallel
from scorejax.samplers import Sample

COLUMNS = 16  # images next to each other on the page
Distance = Callable[[Array, Array], Array]
"""A perceptual distance `(x, truth) -> [B]` of images `[B, H, W, C]` in [-1, 1], such as LPIPS."""
_MEASURES = ("psnr", "ssim", "l2", "lpips")


def batch_function(model: Subject, perceptual: Distance | None = None) -> Callable[..., dict[str, Array]]:
    """The function of one batch: results as gray levels, what they were made from, and the measures of each.

    It carries the parameters, a key, the class guidance, the task and the head of a reverse chain.
    """
    space, levels = model.space, model.form.gray_levels
    assert levels is not None  # `steering.task` refuses vectors
    process = model.process
    sampler = assemble.sampler(model.config, process, model.fitted, space.interval)

    def fn(held: tuple, index: Array, images: Array, labels: Array | None = None) -> dict[str, Array]:
        params, key, classes, task, head = held
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        y = space.middle(space.encode_traced(images))
        if isinstance(task, steering.Restoring) and not task.measured:
            y = task.measure(each, y)
        of = model.at(params)
        score = classes.score(of, process, labels)
        own = {**sampler, "stepper": variances.of_stepper(sampler["stepper"], head, of, labels)}

        def draw(keys: Array) -> Sample:
            return task.sample(keys, process, score, y, (len(index), *model.form.shape), **own)

        several = None
        if (draws := getattr(task, "draws", 1)) > 1:
            several, nfe = spread.drawn(each, draw, draws)
            x, nfe = several[0], jnp.sum(nfe)
        else:
            x, nfe = draw(each)
        rows = {"x": space.from_model(x), "nfe": jnp.broadcast_to(nfe, index.shape)}
        rows["failed"] = ~jnp.all(jnp.isfinite(x if several is None else jnp.sum(several, axis=0)), axis=(1, 2, 3))
        pictures = {"": rows["x"]}
        if several is not None:
            known = isinstance(task, steering.Restoring) and not task.measured
            rows |= spread.rows(each, several, space, images if known else None)
            pictures["mean_"] = rows["mean"]
        if isinstance(task, steering.Restoring):
            residual = task.residual(each, x, y).reshape(len(index), -1)
            rows["residual"] = jnp.where(rows["failed"], jnp.nan, jnp.sqrt(jnp.mean(residual**2, axis=1)))
            pictures["other_"] = space.from_model(task.comparison(y))
            is_picture = y.shape == x.shape
            rows["measured"] = space.from_model(y) if is_picture else pictures["other_"]
        if not (isinstance(task, steering.Restoring) and task.measured):
            for prefix, picture in pictures.items():
                found = _compare(picture, images, levels, perceptual)
                # a picture of NaN would be black, and measured as if it were meant
                lost = rows["failed"] & (prefix == "")
                rows |= {f"{prefix}{name}": jnp.where(lost, jnp.nan, value) for name, value in found.items()}
        return rows

    return fn


def held(model: Subject, task: steering.Task, classes: steering.Classes | None = None) -> tuple:
    """What every batch carries, see `batch_function`."""
    return (*carried(model, CONTROLLED), classes or steering.Classes(), task, model.fitted.head)


def undone(
    trained: Trained,
    x: np.ndarray,
    *,
    batch: int,
    level: int | None = None,
    seed: int = 0,
    stepper: str | None = None,
    steps: int | None = None,
) -> np.ndarray:
    """Return gray levels `[B, H, W, C]` freed of the degradation that a model undoes.

    Args:
        trained: the model.
        x: degraded images.
        batch: how many are restored at once.
        level: at which they are; None: the last.
        seed: of what images do not show of their degradation.
        stepper: as the shell names it; None: that of the run.
        steps: of its time grid; None: those of the run.
    """
    own = configs.copy(trained.config)
    if stepper is not None:
        own.sampler.stepper = stepper
    if steps is not None:
        own.sampler.steps = steps
    own.guidance = {"name": "undo", "measured": True} | ({} if level is None else {"level": level})
    own.eval.seed = seed
    model = Subject(trained, own_config=own)
    fn, task = batch_function(model), steering.task(own, trained)
    parts = parallel.map_batches(fn, held(model, task), (x,), stop=len(x), batch_size=min(batch, len(x)))
    return np.concatenate([rows["x"] for *_, rows in parts])


def measures(task: steering.Task, rows: dict[str, np.ndarray], form: data_lib.Form) -> Result:
    """Means and standard errors over the images, of the results and of what they are compared with."""

    def of(prefix: str) -> Result:
        return {name: metrics.mean_and_error(rows[prefix + name]) for name in _MEASURES if prefix + name in rows}

    found: Result = {"ssim_window": metrics.fitting_window(form.shape[:2])} if "ssim" in rows else {}
    if not isinstance(task, steering.Restoring):
        return {**found, "to_source": of("")}
    found |= {"sigma_y": task.sigma_y} if isinstance(task, steering.Restoration) else {}
    found["residual"] = metrics.mean_and_error(rows["residual"])
    if "spread" in rows:
        draws = getattr(task, "draws", 1)
        found["posterior"] = {**spread.measures(rows, draws), "mean": of("mean_")}
    return found if task.measured else {**found, "restored": of(""), task.compared: of("other_")}


def realism(
    model: Subject,
    network: metrics.FeatureNetwork,
    given: Given,
    x: np.ndarray,
    workdir: str | Path,
    digest: str,
) -> Result:
    """How near results are to the domain they are meant for, and how near their sources were.

    Frechet distances to `guidance.target`, or to `eval.reference_examples` of the data. Where the feature network is a
    classifier, also how many images of each class it sees.
    """
    config, form = model.config, model.form
    target_path = getattr(config.guidance, "target", None)
    if target_path is None:
        real = reference.examples(config)
        target: metrics.Examples = real.examples[data_lib.spread(len(real), config.eval.reference_examples)]
        origin = f"{real.name}, {config.eval.reference_split}"
    else:
        target = images(config, "target", form.shape, form)
        origin = f"{target_path} {data_lib.stamp(target_path)}"
    result: Result = {"features": network.name, "target": origin, "n_target": len(target)}
    moments = {}
    for what, shown in {"target": target, "source": given.images, "result": x}.items():
        of_them = reference.Pictures(shown, form.gray_levels)
        with reference.features(network, of_them, config.eval.batch, workdir, f"{what}s", [digest, origin]) as features:
            moments[what] = metrics.Moments.of_rows(features, network.name)
            if isinstance(network, metrics.Classifier):
                seen = np.asarray(network.log_probabilities(features)).argmax(1)
                result[f"classes_of_{what}"] = np.bincount(seen).tolist()
    for what in ("source", "result"):
        result[f"frechet_distance_of_{what}"] = metrics.distance(moments["target"], moments[what])
    return result


def save_page(path: Path, form: data_lib.Form, given: Given, rows: dict[str, np.ndarray], wanted: int) -> None:
    """Pictures under each other: what was measured, the result and, where it is known, the truth; or source and result.

    Of several draws also their mean, and their spread, white where it is largest of all.

    Args:
        path: the PNG.
        form: of the data of the model.
        given: the given images.
        rows: the results.
        wanted: how many, if there are so many; whole rows of them.
    """
    columns = min(COLUMNS, wanted, len(rows["x"]))
    count = min(wanted, len(rows["x"])) // columns * columns
    kinds: list[metrics.Examples] = [rows["measured"], rows["x"]] if "measured" in rows else [given.images, rows["x"]]
    if "spread" in rows:
        kinds += spread.shown(rows, form.gray_levels or 256)
    if "measured" in rows and "psnr" in rows:
        kinds.append(given.images)
    stacked = np.stack([kind[np.arange(count)] for kind in kinds]).reshape(len(kinds), -1, columns, *form.shape)
    page = np.swapaxes(stacked, 0, 1).reshape(-1, *form.shape)
    save_grid(path, data_lib.to_bytes(page, form.gray_levels or 256), columns)


def _compare(x: Array, truth: Array, levels: int, perceptual: Distance | None) -> dict[str, Array]:
    """The measures of each image, of gray levels as they stand in a file."""
    peak = levels - 1.0
    x, truth = x.astype(jnp.float32), truth.astype(jnp.float32)
    found = {
        "psnr": metrics.psnr(x, truth, peak),
        "ssim": metrics.ssim(x, truth, peak, window=metrics.fitting_window(x.shape[1:3])),
        "l2": jnp.sqrt(jnp.sum(((x - truth) / peak) ** 2, axis=(1, 2, 3))),
    }
    if perceptual is not None:
        found["lpips"] = perceptual(2.0 * x / peak - 1.0, 2.0 * truth / peak - 1.0)
    return found
