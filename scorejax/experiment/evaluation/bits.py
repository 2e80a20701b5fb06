"""Exact bits/dim of test examples, next to those of the baselines; a cut-off evaluation goes on where it stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import data as data_lib
from scorejax import likelihood, metrics
from scorejax.data.laws import LAWS
from scorejax.experiment import assemble
from scorejax.experiment.config import Config, to_dict
from scorejax.experiment.evaluation.density import log_density
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result, Work
from scorejax.experiment.evaluation.report import counted
from scorejax.experiment.evaluation.subject import BITS, Subject, carried, fingerprint, settings
from scorejax.experiment.evaluation.variances import restored_beside
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Params
from scorejax.numerics import keys
from scorejax.runtime.errors import ConfigError
from scorejax.runtime.ledger import Ledger

OTHERS = ("batch", "after_training", "exact", "mixture")  # settings that no row depends on
_BOUND, _PLACE = 2**20, 2**20 + 1  # streams of an example's key, beyond those of its passes


def bits_per_dim(
    model: Subject, train: data_lib.Dataset, test: data_lib.Dataset, workdir: str | Path, dequantizer: Params | None
) -> Result:
    """Exact bits/dim of test examples, each counted once, next to those of the baselines.

    Args:
        model: with a score or a density.
        train: its training data.
        test: the examples.
        workdir: folder of the run.
        dequantizer: a `likelihood.Dequantizer`; None: uniform noise.
    """
    c, dimension = model.config.eval, model.form.dimension
    chosen = data_lib.spread(len(test), c.likelihood_examples)
    sent = model.sent(test, chosen)
    arrays = (sent,) if not model.model.conditional else (sent, labels_of(test)[chosen])
    asked = {k: v for k, v in to_dict(model.config)["eval"].items() if k not in OTHERS and not k.startswith("elbo")}
    depends = {**settings(model), "eval": asked, "dequantizer": fingerprint(dequantizer)}
    ledger = Ledger(Path(workdir) / "eval", "likelihood", len(chosen), depends)
    rows = ledger.fill(
        model.compute.rows(
            "bits/dim",
            _bits(model),
            (*carried(model, BITS), dequantizer),
            arrays,
            stop=len(chosen),
            batch_size=c.batch,
            start=ledger.done,
        )
    )
    values, ok = rows["bits"].astype(np.float64), np.array(rows["ok"])
    result = {
        "bits_per_dim": float(values[ok].mean()) if ok.any() else math.nan,
        "standard_error": float(values[ok].std(ddof=1) / math.sqrt(ok.sum())) if ok.sum() > 1 else math.nan,
        "examples": len(chosen),
        "of": len(test),
        "failed": int((~ok).sum()),
        "passes": c.likelihood_passes if test.levels else 1,
        "dequantization": c.dequantization if test.levels else None,
        "levels": test.level_count,
        "evaluations_mean": float(rows["nfe"].mean()),
        **baselines(model, train, test, chosen),
    }
    if c.bound:
        bounds = rows["bound"].astype(np.float64)
        result["bound"] = float(bounds.mean())
        result["bound_standard_error"] = float(bounds.std(ddof=1) / math.sqrt(len(bounds)))
        result["bound_times"] = c.bound
    if test.levels is None:  # of a density, which needs a volume to be a probability
        keys_of_bits = [key for key, unit in EVALUATION.units.items() if unit == "bits/dim"]
        result["units"] = dict.fromkeys(keys_of_bits, "bits/dim of bin width 1")
        result["nats_per_dim"] = -result["bits_per_dim"] * math.log(2.0)
    if said := verdict(result):
        result["verdict"] = said
    ledger.remove()
    if (law := LAWS.get(model.config.data.name)) is not None:
        truth = law(**model.config.data.own())
        exact = likelihood.bits_per_dim(truth.log_prob(jnp.asarray(test.examples[chosen])), dimension, 1.0)
        result["truth"] = float(np.mean(np.asarray(exact, np.float64)))
    return result


def verdict(bits: Result) -> str | None:
    """What the bits/dim are worth, next to a Gaussian with the mean and covariance of the data, or the uniform law.

    None where there is neither, or no number.
    """
    known = {
        "Gaussian": (bits["gaussian_baseline"], "the mean and covariance of the data"),
        "uniform": (bits["uniform_baseline"], "the number of gray levels"),
    }
    law, (baseline, knows) = next((each for each in known.items() if each[1][0] is not None), ("", (math.nan, "")))
    gain = baseline - bits["bits_per_dim"]
    if not math.isfinite(gain):
        return None
    said = f"{'better' if gain > 0 else 'worse'} than the {law} baseline by {abs(gain):.4f} bits/dim"
    if gain > 0:
        return said
    if -gain < 2 * bits["standard_error"]:
        return f"{said} (within 2 standard errors): it learned {knows}, and no more"
    return (
        f"{said}, which knows {knows} alone: train longer (a larger train.steps, in a --workdir of its own where the "
        "learning rate decays), or shorter where the loss of examples held out rises (train.validate_every)"
    )


def baselines(model: Subject, train: data_lib.Dataset, test: data_lib.Dataset, chosen: np.ndarray) -> Result:
    """The bits/dim of a Gaussian and, if asked for, of a mixture of them, and of the uniform law over all levels."""
    c, count, levels = model.config.eval, model.form.level_count, model.form.levels
    found = train.examples[data_lib.spread(len(train), c.baseline_examples)], test.examples[chosen]
    if levels is not None and model.form.gray_levels is None:
        found = tuple(levels.index(each) for each in found)
    fitted_to, measured = map(np.asarray, found)
    return {
        **gaussian_baseline(fitted_to, measured),
        **(_mixture(c.mixture, fitted_to, measured) if c.mixture else {}),
        "uniform_baseline": metrics.uniform_bits_per_dim(count) if count else None,
        **({"counted": True} if count and model.form.gray_levels is None else {}),
    }


def _mixture(components: int, train: np.ndarray, test: np.ndarray) -> Result:
    """The bits/dim of a mixture of Gaussians, or None with the reason that there is none."""
    try:
        found = metrics.mixture_bits_per_dim(train, test, components)
    except ValueError as error:
        return {"mixture_baseline": None, "mixture_baseline_reason": str(error).rstrip(".")}
    return {"mixture_baseline": found.bits_per_dim, "mixture_components": found.components}


def gaussian_baseline(train: np.ndarray, test: np.ndarray) -> Result:
    """The baseline, or None with the reason that there is none.

    With no more examples than dimensions some of these have no variance, and the number no meaning.
    """
    if train.dtype.kind == "f" and np.isnan(train).any():
        return {"gaussian_baseline": None, "gaussian_baseline_reason": "some numbers are missing"}
    dim, reason = math.prod(train.shape[1:]), None
    if len(train) <= dim:
        reason = f"it needs more training examples than an example has numbers: {len(train)} for {dim}"
    else:
        try:
            return {"gaussian_baseline": metrics.gaussian_bits_per_dim(train, test)}
        except ValueError as error:
            reason = str(error).rstrip(".")
    return {"gaussian_baseline": None, "gaussian_baseline_reason": reason}


def _check(config: Config) -> None:
    """Refuse, before training, what can only be fitted after it."""
    chosen = config.eval.dequantization
    if chosen == "variational":
        raise ConfigError(
            "eval.dequantization = 'variational' needs a flow that is trained next to a trained model: train with "
            "eval.after_training=false, then --mode=train_dequantizer, then --mode=eval"
        )
    if config.eval.bound:
        assemble.gaussian(assemble.sde(config), "eval.bound")


def _prepare(held: Held) -> Work:
    chosen = held.config.eval.dequantization
    found = None
    if chosen == "variational":
        found = restored_beside(held.subject, held.workdir, "dequantizer").model.dequantizer
    return lambda workdir: bits_per_dim(held.subject, held.train, held.test, workdir, found)


def _bits(model: Subject) -> Callable[..., dict[str, Array]]:
    """The function of one batch: bits/dim of its examples, under keys by their numbers."""
    c, space = model.config.eval, model.space
    solver = {"divergence": c.divergence, "probes": c.probes, "rtol": c.rtol, "atol": c.atol}

    def fn(held: tuple, index: Array, examples: Array, labels: Array | None = None) -> dict[str, Array]:
        params, key, dequantizer = held
        of = model.at(params)
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        asked = {"dequantizer": dequantizer, "passes": c.likelihood_passes}
        found = log_density(of, space, each, examples, labels, **asked, **solver)
        rows = {"bits": found.bits_per_dim, "nfe": found.nfe, "ok": found.ok}
        if c.bound and of.log_prob is None:
            rows["bound"] = _bound(of, space, keys.fold_in(each, _BOUND), examples, labels, c.bound, asked)
        return rows

    return fn


def _bound(
    model: Model,
    space: data_lib.Space,
    each: Array,
    examples: Array,
    labels: Array | None,
    times: int,
    asked: dict[str, Any],
) -> Array:
    """The upper bound of the bits/dim: the one that was trained, else that of the score, in the user's units."""
    score = model.score_given(labels if model.conditional else None)
    assert model.sde is not None  # a score counts only together with its process
    sde = assemble.gaussian(model.sde, "eval.bound")
    if isinstance(space, data_lib.GrayLevels):
        if model.bound_bits is not None:
            return model.bound_bits(each, score, examples, times)
        asked = {"centered": space.centered, "samples": times, **asked}
        return likelihood.bound_bits(each, sde, score, examples, space.gray_levels, **asked).value
    x, dimension = space.to_model(keys.fold_in(each, _PLACE), examples), math.prod(examples.shape[1:])
    if model.bound_bits is not None:
        of_model = model.bound_bits(each, score, x, times)
    else:
        nats = likelihood.likelihood_bound(each, sde, score, x, samples=times).value
        of_model = likelihood.bits_per_dim(-nats, dimension, 1.0)
    return of_model + likelihood.bits_per_dim(space.log_volumes(x), dimension, 1.0)


def labels_of(dataset: data_lib.Dataset) -> np.ndarray:
    """The labels of a data set that must have some, that of a conditional model."""
    assert dataset.labels is not None  # the recipe refuses conditions of data without labels
    return dataset.labels


def _lines(bits: Result) -> list[str]:
    """The exact bits/dim, next to what they are held against."""
    of = "" if bits["levels"] else f"   (log density {bits['nats_per_dim']:.4f} nats/dim in your units)"
    lines = [f"  bits/dim            {bits['bits_per_dim']:.4f} +- {bits['standard_error']:.4f}{of}"]
    lines += baseline_lines(bits)
    if bits["failed"]:
        lines.append(f"  {bits['failed']} examples left out: the ODE solver did not arrive; try a larger eval.rtol")
    return lines


def baseline_lines(bits: Result) -> list[str]:
    """What bits/dim are held against."""
    lines, kind = [], "levels" if bits.get("counted") else "gray levels"
    if bits["gaussian_baseline"] is not None:
        lines.append(f"  Gaussian baseline   {bits['gaussian_baseline']:.4f} bits/dim")
    elif "gaussian_baseline_reason" in bits:
        lines.append(f"  Gaussian baseline   none: {bits['gaussian_baseline_reason']}")
    if bits.get("mixture_baseline") is not None:
        of = counted(bits["mixture_components"], "Gaussian")
        lines.append(f"  mixture baseline    {bits['mixture_baseline']:.4f} bits/dim   ({of})")
    elif "mixture_baseline_reason" in bits:
        lines.append(f"  mixture baseline    none: {bits['mixture_baseline_reason']}")
    if bits["uniform_baseline"] is not None:
        lines.append(f"  uniform baseline    {bits['uniform_baseline']:.4f} bits/dim   ({bits['levels']:,} {kind})")
    if "bound" in bits:
        lines.append(f"  upper bound         {bits['bound']:.4f} +- {bits['bound_standard_error']:.4f} bits/dim")
    if "verdict" in bits:
        lines.append(f"  verdict             {bits['verdict']}")
    return lines


READS = (
    *("seed", "split", "likelihood_examples", "likelihood_passes", "dequantization", "bound", "divergence", "probes"),
    *("rtol", "atol", "baseline_examples", "mixture"),
)
EVALUATION = Evaluation(
    "likelihood",
    ("log_prob", "score"),
    lambda config: config.eval.exact,
    _prepare,
    _lines,
    without="eval.exact=false",
    units={
        **dict.fromkeys(("bits_per_dim", "standard_error", "gaussian_baseline", "uniform_baseline"), "bits/dim"),
        **dict.fromkeys(("mixture_baseline", "bound", "bound_standard_error", "truth"), "bits/dim"),
        "evaluations_mean": "network evaluations",
        "nats_per_dim": "nats/dim, density in the units of the data",
    },
    check=_check,
    reads=tuple(f"eval.{key}" for key in READS),
)
