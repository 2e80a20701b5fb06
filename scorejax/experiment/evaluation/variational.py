"""Bits/dim of test examples by the variational bound of a reverse chain; what was cut off goes on where it stopped."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import data as data_lib
from scorejax import likelihood
from scorejax.experiment import assemble as build
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import variances
from scorejax.experiment.model import ELBO, Model, carried, report_progress, settings
from scorejax.numerics import keys
from scorejax.reverse import ReverseChain
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.runtime.ledger import Ledger
from scorejax.sdes import LinearSDE
from scorejax.sdes.discrete import Chain

PARTS = ("prior", "kl", "decoder")


class Bound(NamedTuple):
    """A bound to be computed: making one finds out what is missing.

    Attributes:
      model: with what its chain needs.
      plan: of the chain.
      chain: as `build.chain` makes it.
    """

    model: Model
    plan: build.Plan
    chain: ReverseChain


def check(config: Config) -> None:
    """Refuse, before anything is read, settings that no bound has.

    Raises:
      ConfigError: a bound that is infinite, an unknown variance, or too few or too many steps.
    """
    c = config.eval
    if c.elbo and c.elbo < 2:
        raise ConfigError(f"eval.elbo = {c.elbo}; a bound takes at least 2 network evaluations, 0 is none")
    if c.elbo and not 0.0 < c.elbo_eta <= 1.0:
        raise ConfigError(
            f"eval.elbo_eta = {c.elbo_eta}; it must lie in (0, 1]: without noise (0, DDIM) the bound is infinite, and "
            "the exact bits/dim of the probability-flow ODE are the likelihood"
        )
    _check_levels(build.sde(config), c.elbo)
    if c.elbo_variance is not None:
        build.pick("eval.elbo_variance", c.elbo_variance, dict.fromkeys(build.VARIANCES))


def asked(model: Model, train: data_lib.Dataset, workdir: str | Path) -> Bound:
    """The bound of `eval.elbo`.

    Raises:
      RunError: settings that no bound has, or a variance that was not fitted.
    """
    check(model.config)
    c = model.config.eval
    variance = c.elbo_variance or _best(model, workdir)
    clip = model.config.sampler.clip is not False
    plan = build.Plan(variance, c.elbo_times, c.elbo - 1, c.elbo_eta, clip, model.config.sampler.t_min)
    fitted = variances.find(build.needs(plan.variance, plan.times), model, train, workdir)
    with user_errors("eval.elbo"):
        return of_plan(plan, model._replace(fitted=fitted))


def of_plan(plan: build.Plan, model: Model) -> Bound:
    """The bound of the chain of a plan, for a model with what that needs.

    Raises:
      ConfigError: a chain that cannot be.
    """
    _check_levels(model.process, plan.steps + 1)
    with user_errors("variational bound"):
        return Bound(model, plan, build.chain(model.config, model.process, plan, model.fitted))


def bits_per_dim(
    bound: Bound, test: data_lib.Dataset, examples: int, workdir: str | Path
) -> tuple[dict[str, Any], Ledger]:
    """Bits/dim of `examples` test examples (0: all), each counted once, and its three parts, which sum to it.

    Returns the numbers, and the ledger of the examples, to be removed when the numbers are kept elsewhere.
    """
    model, plan, chain = bound
    c = model.config.eval
    chosen = data_lib.spread(len(test), examples)
    arrays = [np.asarray(test.examples[chosen])]
    if model.config.model.conditional:
        assert test.labels is not None  # `build.network` refuses conditional models of data without labels
        arrays.append(test.labels[chosen])
    depends = {**settings(model), "split": c.split, "examples": len(chosen), "seed": c.seed}
    depends |= {"chain": dataclasses.asdict(plan), **variances.about(model.fitted)}
    ledger = Ledger(Path(workdir) / "eval", "bound", len(chosen), depends)
    batches = parallel.map_batches(
        _terms(bound, test),
        (*carried(model, ELBO), model.fitted.head),
        tuple(arrays),
        stop=len(chosen),
        batch_size=min(c.batch, len(chosen)),
        start=ledger.done,
    )
    rows = ledger.fill(report_progress(batches, "bound", ledger.done, len(chosen)))
    parts = np.stack([rows[part].astype(np.float64) for part in PARTS])
    total, count = parts.sum(axis=0), len(chosen)
    return {
        "bits_per_dim": float(total.mean()),
        "standard_error": float(total.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan,
        **{part: float(values.mean()) for part, values in zip(PARTS, parts, strict=True)},
        "evaluations": len(chain.times),
        "variance": plan.variance,
        "eta": plan.eta,
        "times": plan.times,
        "t_min": float(chain.times[-1]),
        "clip": chain.clip,
        "levels": test.gray_levels,
        "examples": count,
        "of": len(test),
    }, ledger


def _check_levels(process: LinearSDE, evaluations: int) -> None:
    if isinstance(process, Chain) and evaluations > process.levels:
        raise ConfigError(
            f"a bound of {evaluations} network evaluations, but this chain has {process.levels} levels; take at most "
            "as many"
        )


def _terms(bound: Bound, test: data_lib.Dataset) -> Callable[..., dict[str, Array]]:
    """The function of one batch: the parts of the bound of its examples, under keys by their numbers."""
    model = bound.model

    def fn(held: tuple, index: Array, examples: Array, labels: Array | None = None) -> dict[str, Array]:
        params, key, head = held
        score = build.score(model.config, model.process, model.module, params, class_labels=labels)
        chain = variances.on_network(bound.chain, head, model, params, labels, score)
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        found = likelihood.elbo(
            each, model.process, score, examples, chain, levels=test.gray_levels, centered=model.config.data.centered
        )
        return {"prior": found.prior, "kl": jnp.sum(found.kl, axis=1), "decoder": found.decoder}

    return fn


def _best(model: Model, workdir: str | Path) -> str:
    """The variance with the best likelihood that a run has: NPR-DPM's, else Analytic-DPM's; SN-DPM's is poor."""
    if variances.trained("npr", workdir):
        return "npr"
    if model.config.sampler.gamma or variances.gamma_path(workdir, model.step).is_file():
        return "analytic"
    raise ConfigError(
        "eval.elbo needs a reverse variance that was fitted to this network: run --mode=train_head "
        "--config.head.kind=npr (best) or --mode=calibrate first, or set eval.elbo_variance to posterior or forward"
    )
