"""The partition function of an energy with its error, and the bits/dim of test examples that it makes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import data as data_lib
from scorejax.experiment.evaluation import bits
from scorejax.experiment.evaluation.density import log_density
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result, Work
from scorejax.experiment.evaluation.normalized import Estimator, keep, with_log_z
from scorejax.experiment.evaluation.subject import PARTITION, Subject, carried, settings
from scorejax.likelihood.partition import LEVEL_95
from scorejax.numerics import keys
from scorejax.runtime.ledger import Ledger

_FEW, _FEWEST = 0.1, 10  # share of the chains, and number, that must carry the weight


def partition(held: Held, estimator: Estimator, workdir: str | Path) -> Result:
    """The log partition function in nats, and bits/dim of test examples, next to those of the baselines."""
    model, c = held.subject, held.config.eval
    x = model.space.middle(
        jnp.asarray(model.sent(held.train, data_lib.spread(len(held.train), c.baseline_examples or 5000)))
    )
    found = estimator.estimate(model, np.asarray(x, np.float64), workdir)
    test = data_lib.spread(len(held.test), c.likelihood_examples)
    examples, dimension = model.sent(held.test, test), model.form.dimension
    passes = c.likelihood_passes if model.form.levels else 1
    asked = {"seed": c.seed, "split": c.split, "examples": c.likelihood_examples, "passes": passes}
    ledger = Ledger(Path(workdir) / "eval", "energies", len(test), {**settings(model), "eval": asked})
    rows = ledger.fill(
        model.compute.rows(
            "energies",
            _energies(model, passes),
            carried(model, PARTITION),
            (examples,),
            stop=len(test),
            batch_size=c.batch,
            start=ledger.done,
        )
    )
    # `-log_2 exp(-E) / D` of each example; the partition function adds the same to all of them.
    values = rows["bits"].astype(np.float64)
    nat = 1 / (dimension * math.log(2.0))
    ledger.remove()
    value = float(values.mean()) + nat * found.log_z
    of_examples = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    error = math.hypot(of_examples, nat * found.stderr)
    result: Result = {
        **found.report(),
        "temperature": model.model.temperature,
        "bits_per_dim": value,
        "standard_error": error,
        "standard_error_of_examples": of_examples,
        "low": value - LEVEL_95 * error,
        "high": value + LEVEL_95 * error,
        "examples": len(test),
        "of": len(held.test),
        "passes": passes,
        "levels": held.test.level_count,
        **bits.baselines(model, held.train, held.test, test),
    }
    if held.test.levels is None:
        units = [key for key, unit in EVALUATION.units.items() if unit == "bits/dim"]
        result["units"] = dict.fromkeys(units, "bits/dim of bin width 1")
    if not math.isfinite(value):
        result["note"] = "the energy is not finite at some of the chains or examples: nothing can be said of its law"
    elif found.chains and not found.ess > max(_FEW * found.chains, _FEWEST):
        result["note"] = (
            f"{found.ess:.1f} of {found.chains} chains carry the weight, and the interval is too narrow: take more "
            "eval.partition.levels or eval.partition.leapfrog_steps"
        )
    if said := bits.verdict(result):
        result["verdict"] = said
    keep(found, model, workdir)
    return result


def _energies(model: Subject, passes: int) -> Callable[..., dict[str, Array]]:
    """The function of one batch: bits/dim of its examples under `exp(-E)`, under keys by their numbers."""
    space = model.space

    def fn(held: tuple, index: Array, examples: Array) -> dict[str, Array]:
        params, key = held
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        of = with_log_z(model.at(params), jnp.float32(0.0))
        found = log_density(of, space, each, examples, None, dequantizer=None, passes=passes)
        return {"bits": found.bits_per_dim}

    return fn


def _prepare(held: Held) -> Work:
    estimator = held.config.eval.partition.make()
    estimator.check(held.subject.form)
    return lambda workdir: partition(held, estimator, workdir)


def _lines(p: Result) -> list[str]:
    """The partition function, and the bits/dim next to what they are held against."""
    of = "" if p["levels"] else "   (vectors: of bin width 1)"
    how = f"by {p['method']}"
    if p["chains"]:
        how += f", {p['chains']} chains, effective {p['ess']:.1f}, acceptance {p['acceptance']:.0%}"
    lines = [
        f"  log Z               {p['log_z']:.4f} +- {p['log_z_standard_error']:.4f} nats   ({how})",
        f"  temperature         {p['temperature']:.4g}",
        f"  bits/dim            {p['bits_per_dim']:.4f} +- {p['standard_error']:.4f}   95 %: {p['low']:.4f} to "
        f"{p['high']:.4f}{of}",
    ]
    return lines + bits.baseline_lines(p) + ([f"  note: {p['note']}"] if "note" in p else [])


READS = ("partition", "seed", "split", "likelihood_examples", "likelihood_passes", "baseline_examples", "mixture")
EVALUATION = Evaluation(
    "partition",
    ("energy",),
    lambda config: config.eval.partition.name != "none",
    _prepare,
    _lines,
    without="eval.partition=none",
    units={
        **dict.fromkeys(("log_z", "log_z_standard_error", "log_z_low", "log_z_high"), "nats"),
        **dict.fromkeys(("bits_per_dim", "standard_error", "standard_error_of_examples", "low", "high"), "bits/dim"),
        **dict.fromkeys(("gaussian_baseline", "mixture_baseline", "uniform_baseline"), "bits/dim"),
        "acceptance": "share of the moves",
        "ess": "chains",
    },
    reads=tuple(f"eval.{key}" for key in READS),
)
