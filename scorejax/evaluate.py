"""What a trained model is worth: exact bits/dim, Frechet distance, pictures, all into `eval/` and `samples/`.

Results depend neither on the batch size nor on the number of devices: example `i` draws from `fold_in(key, i)`.
A cut-off evaluation goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax import Array

from scorejax import analytic, build, checkpoint, keys, likelihood, metrics, parallel, pretrained, samplers
from scorejax import data as data_lib
from scorejax import report as report_lib
from scorejax import workdir as workdir_lib
from scorejax.config import Config, to_dict
from scorejax.ledger import Ledger
from scorejax.sdes import LinearSDE

BITS, SAMPLES, TRAJECTORY = range(3)  # streams of the evaluation's key
FRAMES = 10  # columns of the trajectory picture
Batches = Iterator[tuple[int, int, dict[str, np.ndarray]]]


class Model(NamedTuple):
    """A model to be evaluated: everything but the data it is held against."""

    config: Config
    process: LinearSDE
    module: nn.Module
    params: Any
    step: int


def evaluate(config: Config, workdir: str | Path) -> dict[str, Any]:
    """Measure the newest checkpoint of a run and write `eval/step-N.json` and the pictures of `samples/`.

    Raises:
        RunError: no readable checkpoint, or a config that does not fit.
    """
    train, test = build.dataset(config, "train"), build.dataset(config, config.eval.split)
    model = restore(config, workdir, train)
    report = {"step": model.step, "data": train.name, "split": config.eval.split, **report_lib.environment()}
    report["likelihood"] = bits_per_dim(model, train, test, workdir)
    if config.eval.samples:
        report["samples"] = draw_and_compare(model, train, workdir)
    report["config"] = to_dict(config)
    if parallel.is_main_process():
        report_lib.write(Path(workdir) / "eval" / f"step-{model.step}.json", report)
        print(report_lib.summary(report))
    return report


def sample(config: Config, workdir: str | Path) -> np.ndarray:
    """Draw `eval.samples` samples of the newest checkpoint into `samples/`, with a picture; return them.

    Raises:
        RunError: no readable checkpoint, or a config that does not fit.
    """
    train = build.dataset(config, "train")
    model = restore(config, workdir, train)
    x, nfe = _draw(model, train, workdir)
    if parallel.is_main_process():
        where = _keep(model, train, workdir, x)
        print(f"{len(x)} samples, {nfe} network evaluations each: {where}")
    return x


def preview(config: Config, params: Any, step: int, workdir: str | Path) -> None:
    """Draw a few samples in the middle of training, `samples/preview-N.png`.

    At step 0 this is noise, and the first proof that the sampler of the run works: a broken one shows before the
    training, not after it.
    """
    train = build.dataset(config, "train")
    model = Model(config, build.sde(config), build.network(config, train), params, step)
    count = config.eval.grid
    batches = parallel.map_batches(_sampling(model, train), _carried(model, SAMPLES), stop=count, batch_size=count)
    x = np.concatenate([results["x"] for _, _, results in batches])
    if parallel.is_main_process():
        _picture(Path(workdir) / "samples" / f"preview-{step}.png", train, x)


def restore(config: Config, workdir: str | Path, train: data_lib.Dataset) -> Model:
    """The model of a run: averaged weights of its newest whole checkpoint; if it has none, those of `init_from`."""
    module = build.network(config, train)
    if config.init_from and not checkpoint.steps(workdir):
        workdir_lib.claim(workdir, config)
        params, step = pretrained.load(config.init_from, module, max(train.shape[:2]), channels=train.shape[-1])
        return Model(config, build.sde(config), module, params, step)
    shapes = jax.eval_shape(lambda: build.init_params(jax.random.key(0), module, train.shape))
    restored = checkpoint.restore_ema(workdir, shapes)
    return Model(config, build.sde(config), module, restored.fields["ema"], restored.step)


# ---- likelihood ----------------------------------------------------------------------------------------------


def bits_per_dim(model: Model, train: data_lib.Dataset, test: data_lib.Dataset, workdir: str | Path) -> dict[str, Any]:
    """Exact bits/dim of test examples, each counted once, beside those of the baselines."""
    c = model.config.eval
    chosen = _spread(len(test), c.likelihood_examples)
    examples = np.asarray(test.examples[chosen])
    arrays = (examples,) if not model.config.model.conditional else (examples, _labels(test)[chosen])
    ledger = Ledger(Path(workdir) / "eval", "likelihood", len(chosen), _settings(model))
    rows = ledger.fill(
        _report_progress(
            parallel.map_batches(
                _bits(model, train),
                _carried(model, BITS),
                arrays,
                stop=len(chosen),
                batch_size=c.batch,
                start=ledger.done,
            ),
            "bits/dim",
            ledger.done,
            len(chosen),
        )
    )
    ledger.remove()
    fitted = metrics.fit_gaussian(train.examples[_spread(len(train), c.baseline_examples)])
    values, ok = rows["bits"].astype(np.float64), rows["ok"]
    result = {
        "bits_per_dim": float(values[ok].mean()) if ok.any() else math.nan,
        "standard_error": float(values[ok].std(ddof=1) / math.sqrt(ok.sum())) if ok.sum() > 1 else math.nan,
        "examples": len(chosen),
        "of": len(test),
        "failed": int((~ok).sum()),
        "passes": c.likelihood_passes if test.levels else 1,
        "levels": test.levels,
        "evaluations_mean": float(rows["nfe"].mean()),
        "gaussian_baseline": float(fitted.bits_per_dim(examples).mean()),
        "uniform_baseline": metrics.uniform_bits_per_dim(test.levels) if test.levels else None,
    }
    if test.name == "gaussian":
        truth = analytic.gaussian(data_lib.GAUSSIAN_MEAN, data_lib.GAUSSIAN_COVARIANCE)
        exact = likelihood.bits_per_dim(truth.log_prob(jnp.asarray(examples)), examples.shape[1], 1.0)
        result["truth"] = float(np.mean(np.asarray(exact, np.float64)))
    return result


def _bits(model: Model, train: data_lib.Dataset) -> Callable[..., dict[str, Array]]:
    """The function of one batch: bits/dim of its examples, under keys by their numbers."""
    c = model.config.eval
    solver = {"divergence": c.divergence, "probes": c.probes, "rtol": c.rtol, "atol": c.atol}

    def fn(carried: tuple, index: Array, examples: Array, labels: Array | None = None) -> dict[str, Array]:
        params, key = carried
        score = build.score(model.config, model.process, model.module, params, class_labels=labels)
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        if train.levels:
            bits = likelihood.dequantized_bits(
                each, model.process, score, examples, train.levels,
                centered=model.config.data.centered, passes=c.likelihood_passes, **solver,
            )  # fmt: skip
            return {"bits": bits.value, "nfe": bits.nfe, "ok": bits.ok}
        result = likelihood.log_prob(each, model.process, score, examples, **solver)
        value = likelihood.bits_per_dim(result.value, examples.shape[1], 1.0)
        return {"bits": value, "nfe": result.nfe, "ok": result.ok}

    return fn


# ---- samples -------------------------------------------------------------------------------------------------


def draw_and_compare(model: Model, train: data_lib.Dataset, workdir: str | Path) -> dict[str, Any]:
    """Draw samples, keep them and their pictures, and measure their Frechet distance beside its floor."""
    c = model.config.eval
    x, nfe = _draw(model, train, workdir)
    if parallel.is_main_process():
        _keep(model, train, workdir, x)
    network = metrics.feature_network(c.features or ("random_conv" if train.levels else "pixels"))
    # Distances of finite sets depend on their size: samples are held against as many real examples as the floor.
    count = min(c.samples, len(train) // 2)
    order = np.random.default_rng(c.seed).permutation(len(train))
    halves = [_pictures(train.examples[np.sort(order[i * count : (i + 1) * count])], train) for i in range(2)]
    first, second, drawn = (metrics.moments(network, each) for each in (*halves, _pictures(x[:count], train)))
    return {
        "n": count,
        "features": network.name,
        "frechet_distance": metrics.distance(first, drawn),
        "frechet_floor": metrics.distance(first, second),
        "sampler": to_dict(model.config)["sampler"],
        "nfe": nfe,
        "seed": c.seed,
        "to_levels": "the grey level whose bin a value lies in" if train.levels else None,
    }


def _draw(model: Model, train: data_lib.Dataset, workdir: str | Path) -> tuple[np.ndarray, int]:
    """Samples as grey levels (or vectors), `[max(eval.samples, eval.grid), ...]`, and evaluations made for each."""
    c = model.config.eval
    count = max(c.samples, c.grid, 1)
    ledger = Ledger(Path(workdir) / "eval", "samples", count, _settings(model))
    fn, carried = _sampling(model, train), _carried(model, SAMPLES)
    batches = parallel.map_batches(fn, carried, stop=count, batch_size=min(c.batch, count), start=ledger.done)
    rows = ledger.fill(_report_progress(batches, "samples", ledger.done, count))
    ledger.remove()
    return rows["x"], int(rows["nfe"].max())


def _sampling(model: Model, train: data_lib.Dataset) -> Callable[[tuple, Array], dict[str, Array]]:
    """The function of one batch: the samples with the given numbers."""
    arguments = build.sampler(model.config, model.process)

    def fn(carried: tuple, index: Array) -> dict[str, Array]:
        params, key = carried
        labels = index.astype(jnp.int32) % train.num_classes if model.config.model.conditional else None
        score = build.score(model.config, model.process, model.module, params, class_labels=labels)
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        x, nfe = samplers.sample(each, model.process, score, (*index.shape, *train.shape), **arguments)
        return {"x": _finish(model, train, x), "nfe": jnp.broadcast_to(nfe, index.shape)}

    return fn


def _keep(model: Model, train: data_lib.Dataset, workdir: str | Path, x: np.ndarray) -> Path:
    """Write the samples and their pictures; return the picture's path."""
    folder = Path(workdir) / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"step-{model.step}.npz", x=x)
    where = folder / f"step-{model.step}.png"
    _picture(where, train, x[: model.config.eval.grid] if train.levels else x)
    if train.levels:
        frames = _trajectory(model, train, rows=min(4, model.config.eval.grid))
        metrics.save_trajectory(folder / f"trajectory-{model.step}.png", data_lib.to_bytes(frames, train.levels))
    return where


def _picture(where: Path, train: data_lib.Dataset, x: np.ndarray) -> None:
    if train.levels:
        metrics.save_grid(where, data_lib.to_bytes(x, train.levels))
    else:
        metrics.save_scatter(where, train.examples[: len(x)], x)


def _trajectory(model: Model, train: data_lib.Dataset, rows: int) -> np.ndarray:
    """A few samples on their way, as grey levels `[FRAMES, 2 rows, ...]`: each `x_t` with `E[x_0 | x_t]` below it."""
    arguments = build.sampler(model.config, model.process)
    arguments.pop("denoise")
    key = jax.random.fold_in(jax.random.key(model.config.eval.seed), TRAJECTORY)
    labels = jnp.arange(rows) % train.num_classes if model.config.model.conditional else None
    score = build.score(model.config, model.process, model.module, model.params, class_labels=labels)
    path = samplers.trajectory(key, model.process, score, (rows, *train.shape), **arguments)
    # equally spaced in log SNR, where the picture changes, and the last one always
    ratios = np.asarray(jax.vmap(model.process.log_snr)(path.t))
    shown = np.searchsorted(ratios, np.linspace(ratios[0], ratios[-1], FRAMES)).clip(0, len(ratios) - 1)
    pairs = jnp.stack([path.x[shown], path.denoised[shown]], axis=2)
    return np.asarray(_finish(model, train, pairs.reshape(len(shown), 2 * rows, *train.shape)))


def _finish(model: Model, train: data_lib.Dataset, x: Array) -> Array:
    return data_lib.to_levels(x, train.levels, centered=model.config.data.centered) if train.levels else x


def _pictures(x: np.ndarray, train: data_lib.Dataset) -> np.ndarray:
    return data_lib.to_bytes(x, train.levels) if train.levels else x


# ---- shared ----------------------------------------------------------------------------------------------------


def _settings(model: Model) -> list[Any]:
    """Everything that results depend on, to recognise a cut-off evaluation; neither batch nor device count do."""
    values = to_dict(model.config)
    evaluation = {key: value for key, value in values["eval"].items() if key not in ("batch", "after_training")}
    return [model.step, evaluation, *(values[key] for key in ("init_from", "data", "sde", "model", "sampler"))]


def _carried(model: Model, stream: int) -> tuple[Any, Array]:
    return model.params, jax.random.fold_in(jax.random.key(model.config.eval.seed), stream)


def _spread(total: int, wanted: int) -> np.ndarray:
    """Numbers of `wanted` examples spread evenly over `total`; all of them for 0."""
    count = min(wanted, total) or total
    return np.arange(count) * total // count


def _labels(dataset: data_lib.Dataset) -> np.ndarray:
    assert dataset.labels is not None  # `build.network` refuses conditional models of data without labels
    return dataset.labels


def _report_progress(batches: Batches, what: str, start: int, total: int) -> Batches:
    """Pass batches on, saying how far `what` is."""
    bar = metrics.Progress(total, start=start)
    for first, end, results in batches:
        yield first, end, results
        bar.update(end)
    logging.info("%s: %d done", what, total)
