"""The bound of bits/dim of a model with latent variables, next to the baselines; goes on where it was cut off."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import data, likelihood
from scorejax.experiment.evaluation.bits import baseline_lines, baselines, verdict
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result, Work
from scorejax.experiment.evaluation.subject import EVIDENCE, Subject, carried, settings
from scorejax.numerics import keys
from scorejax.runtime.ledger import Ledger


def bound(held: Held, workdir: str | Path) -> Result:
    """An upper bound of the bits/dim of test examples, each counted once, by `likelihood.evidence`.

    Args:
        held: the model, with the capability `evidence`, and its data.
        workdir: folder of the run.
    """
    model, c, test = held.subject, held.config.eval, held.test
    chosen = data.spread(len(test), c.likelihood_examples)
    examples = model.sent(test, chosen)
    effort = {"samples": c.evidence, "temperatures": c.evidence_temperatures}
    depends = {**settings(model), **effort, "split": c.split, "examples": len(chosen), "seed": c.seed}
    ledger = Ledger(Path(workdir) / "eval", "evidence", len(chosen), depends)
    rows = ledger.fill(
        model.compute.rows(
            "evidence",
            _rows(model, effort),
            carried(model, EVIDENCE),
            (examples,),
            stop=len(chosen),
            batch_size=min(c.batch, len(chosen)),
            start=ledger.done,
        )
    )
    nats, count = rows["nats"].astype(np.float64), len(chosen)
    error = nats.std(ddof=1) / math.sqrt(count) if count > 1 else math.nan
    per_dim = 1.0 / (math.log(2.0) * model.form.dimension)
    binary = model.model.binarizes
    result: Result = {
        "bits_per_dim": float(-nats.mean() * per_dim),
        "standard_error": float(error * per_dim),
        "nats": float(-nats.mean()),
        "nats_standard_error": float(error),
        **effort,
        "effective_samples": float(rows["effective"].mean()),
        "accepted": float(rows["accepted"].mean()) if c.evidence_temperatures else None,
        "binarized": binary,
        "levels": 2 if binary else test.level_count,
        "examples": count,
        "of": len(test),
        "uniform_baseline": 1.0 if binary else None,
        "gaussian_baseline": None,
    }
    if not binary:
        result |= baselines(model, held.train, test, chosen)
        if test.levels is None:  # of a density, which needs a volume to be a probability
            bits = ("bits_per_dim", "standard_error", "gaussian_baseline", "mixture_baseline")
            result["units"] = dict.fromkeys(bits, "bits/dim of bin width 1")
    if said := verdict(result):
        result["verdict"] = said
    ledger.remove()
    return result


def _rows(model: Subject, effort: dict[str, int]) -> Callable[..., dict[str, Array]]:
    """The function of one batch: the bounds of its examples, under keys by their numbers."""
    space = model.space

    def fn(held: tuple, index: Array, examples: Array) -> dict[str, Array]:
        params, key = held
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        of = model.at(params).evidence
        assert of is not None  # what the evaluation needs
        found: likelihood.Evidence = of(each, examples, **effort)
        volume = 0.0 if isinstance(space, data.GrayLevels) else space.log_volumes(space.middle(examples))
        return {"nats": found.value + volume, "effective": found.effective, "accepted": found.accepted}

    return fn


def _lines(found: Result) -> list[str]:
    """The bound, next to what it is held against."""
    binary = found["binarized"]
    what = "   (of black and white pixels)" if binary else "" if found["levels"] else "   (vectors: of bin width 1)"
    temperatures = found["temperatures"]
    how = f"annealed through {temperatures} laws" if temperatures else "by importance sampling"
    lines = [
        f"  bits/dim at most    {found['bits_per_dim']:.4f} +- {found['standard_error']:.4f}{what}",
        f"  -log p(x) at most   {found['nats']:.2f} +- {found['nats_standard_error']:.2f} nats   "
        f"({found['samples']} draws {how}, {found['effective_samples']:.1f} of them effective)",
    ]
    if temperatures:
        lines[-1] = f"{lines[-1][:-1]}, {100 * found['accepted']:.0f} % of moves accepted)"
    return lines + baseline_lines(found)


def _prepare(held: Held) -> Work:
    return lambda workdir: bound(held, workdir)


READS = ("seed", "split", "likelihood_examples", "evidence", "evidence_temperatures", "baseline_examples", "mixture")
EVALUATION = Evaluation(
    "evidence",
    ("evidence",),
    lambda config: config.eval.evidence > 0,
    _prepare,
    _lines,
    without="eval.evidence=0",
    units={
        **dict.fromkeys(
            ("bits_per_dim", "standard_error", "gaussian_baseline", "mixture_baseline", "uniform_baseline"), "bits/dim"
        ),
        **dict.fromkeys(("nats", "nats_standard_error"), "nats"),
        "effective_samples": "draws",
    },
    reads=tuple(f"eval.{key}" for key in READS),
)
