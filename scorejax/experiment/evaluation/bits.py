"""Exact bits/dim of test examples, beside those of the baselines; a cut-off evaluation goes on where it stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from scorejax import data as data_lib
from scorejax import likelihood, metrics, objectives
from scorejax.experiment import assemble as build
from scorejax.experiment.config import to_dict
from scorejax.experiment.model import BITS, Model, carried, fingerprint, report_progress, settings
from scorejax.experiment.recipes import dequantization
from scorejax.numerics import keys
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError
from scorejax.runtime.ledger import Ledger
from scorejax.scores import analytic
from scorejax.scores.predictions import Score

DEQUANTIZATIONS = ("uniform", "variational")
OTHERS = ("batch", "after_training", "exact")  # settings that no row depends on
_BOUND = 2**20  # stream of an example's key, beyond those of its passes


def bits_per_dim(model: Model, train: data_lib.Dataset, test: data_lib.Dataset, workdir: str | Path) -> dict[str, Any]:
    """Exact bits/dim of test examples, each counted once, beside those of the baselines.

    Raises:
        RunError: an unknown `eval.dequantization`, or no trained dequantizer.
    """
    c = model.config.eval
    dequantizer = _dequantizer(model, train, workdir)
    chosen = data_lib.spread(len(test), c.likelihood_examples)
    examples = np.asarray(test.examples[chosen])
    arrays = (examples,) if not model.config.model.conditional else (examples, _labels(test)[chosen])
    asked = {k: v for k, v in to_dict(model.config)["eval"].items() if k not in OTHERS and not k.startswith("elbo")}
    depends = {**settings(model), "eval": asked, "dequantizer": fingerprint(dequantizer)}
    ledger = Ledger(Path(workdir) / "eval", "likelihood", len(chosen), depends)
    rows = ledger.fill(
        report_progress(
            parallel.map_batches(
                _bits(model, train),
                (*carried(model, BITS), dequantizer),
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
    fitted_to = train.examples[data_lib.spread(len(train), c.baseline_examples)]
    values, ok = rows["bits"].astype(np.float64), np.array(rows["ok"])
    result = {
        "bits_per_dim": float(values[ok].mean()) if ok.any() else math.nan,
        "standard_error": float(values[ok].std(ddof=1) / math.sqrt(ok.sum())) if ok.sum() > 1 else math.nan,
        "examples": len(chosen),
        "of": len(test),
        "failed": int((~ok).sum()),
        "passes": c.likelihood_passes if test.gray_levels else 1,
        "dequantization": c.dequantization if test.gray_levels else None,
        "levels": test.gray_levels,
        "evaluations_mean": float(rows["nfe"].mean()),
        "gaussian_baseline": _gaussian_baseline(fitted_to, examples),
        "uniform_baseline": metrics.uniform_bits_per_dim(test.gray_levels) if test.gray_levels else None,
    }
    if c.bound:
        bounds = rows["bound"].astype(np.float64)
        result["bound"] = float(bounds.mean())
        result["bound_standard_error"] = float(bounds.std(ddof=1) / math.sqrt(len(bounds)))
        result["bound_times"] = c.bound
    ledger.remove()
    if test.name == "gaussian":
        truth = analytic.gaussian(data_lib.GAUSSIAN_MEAN, data_lib.GAUSSIAN_COVARIANCE)
        exact = likelihood.bits_per_dim(truth.log_prob(jnp.asarray(examples)), examples.shape[1], 1.0)
        result["truth"] = float(np.mean(np.asarray(exact, np.float64)))
    return result


def _gaussian_baseline(train: np.ndarray, test: np.ndarray) -> float | None:
    """None if there are no more examples than dimensions: some then have no variance, and the number no meaning."""
    return metrics.gaussian_bits_per_dim(train, test) if len(train) > math.prod(train.shape[1:]) else None


def _dequantizer(model: Model, train: data_lib.Dataset, workdir: str | Path) -> likelihood.Dequantizer | None:
    chosen = model.config.eval.dequantization
    if chosen not in DEQUANTIZATIONS:
        raise ConfigError(f"unknown eval.dequantization {chosen!r}; choose one of {', '.join(DEQUANTIZATIONS)}")
    return dequantization.restore(workdir, train) if chosen == "variational" else None


def _bits(model: Model, train: data_lib.Dataset) -> Callable[..., dict[str, Array]]:
    """The function of one batch: bits/dim of its examples, under keys by their numbers."""
    c = model.config.eval
    solver = {"divergence": c.divergence, "probes": c.probes, "rtol": c.rtol, "atol": c.atol}

    def fn(held: tuple, index: Array, examples: Array, labels: Array | None = None) -> dict[str, Array]:
        params, key, dequantizer = held
        score = build.score(model.config, model.process, model.module, params, class_labels=labels)
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        rows = {}
        own = model.config.objective.name == "continuous_vlb"
        if c.bound and own:
            rows["bound"] = _trained_bound(model, keys.fold_in(each, _BOUND), score, examples, train.gray_levels)
        if train.gray_levels:
            asked = {"dequantizer": dequantizer, "centered": model.config.data.centered, "passes": c.likelihood_passes}
            bits = likelihood.dequantized_bits(
                each, model.process, score, examples, train.gray_levels, **asked, **solver
            )  # fmt: skip
            if c.bound and not own:
                rows["bound"] = likelihood.bound_bits(
                    keys.fold_in(each, _BOUND),
                    model.process,
                    score,
                    examples,
                    train.gray_levels,
                    samples=c.bound,
                    **asked,
                ).value
            return {"bits": bits.value, "nfe": bits.nfe, "ok": bits.ok, **rows}
        result = likelihood.log_prob(each, model.process, score, examples, **solver)
        value = likelihood.bits_per_dim(result.value, examples.shape[1], 1.0)
        if c.bound and not own:
            bound = likelihood.likelihood_bound(
                keys.fold_in(each, _BOUND), model.process, score, examples, samples=c.bound
            )
            rows["bound"] = likelihood.bits_per_dim(-bound.value, examples.shape[1], 1.0)
        return {"bits": value, "nfe": result.nfe, "ok": result.ok, **rows}

    return fn


def _trained_bound(model: Model, each: Array, score: Score, examples: Array, levels: int | None) -> Array:
    """The bound that `continuous_vlb` trains, of each example the mean over `eval.bound` times, equally far apart."""
    count, process = model.config.eval.bound, model.process
    first = keys.uniform(keys.fold_in(each, count), each.shape)

    def once(i: Array) -> Array:
        t = process.time_of(jnp.mod(first + i / count, 1.0))
        return objectives.continuous_vlb(
            keys.fold_in(each, i), process, score, examples, levels=levels, centered=model.config.data.centered, t=t
        )

    return jnp.mean(lax.map(once, jnp.arange(count)), axis=0)


def _labels(dataset: data_lib.Dataset) -> np.ndarray:
    assert dataset.labels is not None  # `build.network` refuses conditional models of data without labels
    return dataset.labels
