"""Bits/dim of test examples by the variational bound of a reverse chain; what was cut off goes on where it stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import data as data_lib
from scorejax import likelihood
from scorejax.experiment import assemble
from scorejax.experiment import config as configs
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import variances
from scorejax.experiment.evaluation.bits import labels_of
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result, Work
from scorejax.experiment.evaluation.subject import ELBO, Subject, carried, settings
from scorejax.numerics import keys
from scorejax.reverse import ReverseChain
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.runtime.ledger import Ledger
from scorejax.sdes import LinearSDE
from scorejax.sdes.discrete import Chain

PARTS = ("prior", "kl", "decoder")
_PLACE = 2**20  # stream of an example's key, apart from those of the bound


class Bound(NamedTuple):
    """A bound to be computed; something missing shows when it is made.

    Attributes:
        model: with what its chain needs; its settings draw from the same chain.
        chain: as the stepper of the model's settings has it.
        grid: the name of its time grid.
    """

    model: Subject
    chain: ReverseChain
    grid: str


def check(config: Config) -> None:
    """Refuse, before anything is read, settings that no bound has.

    Raises:
        ConfigError: a bound that is infinite, an unknown variance, or too few or too many steps.
    """
    c = config.eval
    if not c.elbo:
        return
    if c.elbo < 2:
        raise ConfigError(f"eval.elbo = {c.elbo}; a bound takes at least 2 network evaluations, 0 is none")
    if not 0.0 < c.elbo_eta <= 1.0:
        raise ConfigError(
            f"eval.elbo_eta = {c.elbo_eta}; it must lie in (0, 1]: without noise (0, DDIM) the bound is infinite, and "
            "the exact bits/dim of the probability-flow ODE are the likelihood"
        )
    sde = assemble.gaussian(assemble.sde(config), "eval.elbo")
    _check_levels(sde, c.elbo)
    with user_errors("eval.elbo"):
        assemble.needed(of_chain(config, c.elbo_variance or "posterior"), sde)


def of_chain(config: Config, variance: str) -> Config:
    """The config whose sampler draws from the chain of `eval.elbo`, with this variance."""
    c, own = config.eval, configs.copy(config)
    clip = {key: value for key, value in config.sampler.stepper.own().items() if key == "clip"}
    own.sampler.stepper = {"name": "reverse_chain", "variance": variance, "eta": c.elbo_eta, **clip}
    # what is drawn may be clipped in any way; the bound is that of the chain, with the chain's own clip
    own.sampler.update({"steps": c.elbo - 1, "time_grid": c.elbo_time_grid, "clip": "auto"})
    if variance != assemble.STATISTIC and own.sampler.time_grid.name != "optimal":
        own.sampler.gamma = None  # it is for the sampler that is drawn from
    return own


def asked(model: Subject, workdir: str | Path) -> Bound:
    """Prepare the bound that `eval.elbo` asks for.

    Raises:
        RunError: settings that no bound has, or a variance that was not fitted.
    """
    check(model.config)
    own = model._replace(own_config=of_chain(model.config, model.config.eval.elbo_variance or _best(model, workdir)))
    own = variances.with_fitted(own, workdir)
    with user_errors("eval.elbo"):
        found = of_sampler(own)
    assert found is not None  # a reverse chain is one
    return found


def of_sampler(model: Subject) -> Bound | None:
    """The bound of the chain that the sampler of a config draws from, for a model with what that needs.

    None where it draws from none, or the bound is infinite.

    Raises:
        ConfigError: a chain that cannot be.
    """
    config, sde = model.config, model.sde
    stepper = assemble.make_stepper(config, model.fitted, model.space.interval)
    if not isinstance(sde, LinearSDE):
        return None
    with user_errors("variational bound"):
        chain = stepper.chain(sde, assemble.time_grid(config, sde, stepper, model.fitted))
    if chain is None or eta_of(config) == 0.0:
        return None
    _check_levels(sde, len(chain.times))
    return Bound(model, chain, assemble.grid_name(config, sde, stepper))


def bits_per_dim(bound: Bound, test: data_lib.Dataset, examples: int, workdir: str | Path) -> tuple[Result, Ledger]:
    """Bits/dim of `examples` test examples (0: all), each counted once, and its three parts, which sum to it.

    Returns the numbers, and the ledger of the examples, to be removed when the numbers are kept elsewhere.
    """
    model, chain, grid = bound
    c = model.config.eval
    chosen = data_lib.spread(len(test), examples)
    arrays = [model.sent(test, chosen)]
    if model.model.conditional:
        arrays.append(labels_of(test)[chosen])
    depends = {**settings(model), "split": c.split, "examples": len(chosen), "seed": c.seed}
    depends |= {"sampler": configs.chosen(model.config, "sampler"), **variances.about(model.fitted)}
    ledger = Ledger(Path(workdir) / "eval", "bound", len(chosen), depends)
    batches = model.compute.rows(
        "variational bound",
        _terms(bound),
        (*carried(model, ELBO), model.fitted.head),
        tuple(arrays),
        stop=len(chosen),
        batch_size=min(c.batch, len(chosen)),
        start=ledger.done,
    )
    rows = ledger.fill(batches)
    parts = np.stack([rows[part].astype(np.float64) for part in PARTS])
    total, count = parts.sum(axis=0), len(chosen)
    return {
        "bits_per_dim": float(total.mean()),
        "standard_error": float(total.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan,
        **{part: float(values.mean()) for part, values in zip(PARTS, parts, strict=True)},
        "evaluations": len(chain.times),
        "variance": variance_name(model.config),
        "eta": eta_of(model.config),
        "times": grid,
        "t_min": float(chain.times[-1]),
        "clip": chain.clip,
        "levels": test.level_count,
        "examples": count,
        "of": len(test),
    }, ledger


def _check_levels(process: LinearSDE, evaluations: int) -> None:
    if isinstance(process, Chain) and evaluations > process.levels:
        raise ConfigError(
            f"a bound of {evaluations} network evaluations, but this chain has {process.levels} levels; take at most "
            "as many"
        )


def _terms(bound: Bound) -> Callable[..., dict[str, Array]]:
    """The function of one batch: the parts of the bound of its examples, under keys by their numbers."""
    model, space, dimension = bound.model, bound.model.space, bound.model.form.dimension
    sde = assemble.gaussian(model.sde, "the bound of a reverse chain")

    def fn(held: tuple, index: Array, examples: Array, labels: Array | None = None) -> dict[str, Array]:
        params, key, head = held
        of = model.at(params)
        score = of.score_given(labels if of.conditional else None)
        chain = variances.on_network(bound.chain, head, of, labels)
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        if isinstance(space, data_lib.GrayLevels):
            found = likelihood.elbo(
                each, sde, score, examples, chain, levels=space.gray_levels, centered=space.centered
            )
            decoder = found.decoder
        else:
            x = space.to_model(keys.fold_in(each, _PLACE), examples)
            found = likelihood.elbo(each, sde, score, x, chain)
            # the decoder's density, in the user's units
            density = -found.decoder * dimension * math.log(2.0) + space.log_volumes(x)
            decoder = likelihood.bits_per_dim(density, dimension, 1.0)
        return {"prior": found.prior, "kl": jnp.sum(found.kl, axis=1), "decoder": decoder}

    return fn


def _best(model: Subject, workdir: str | Path) -> str:
    """The variance with the best likelihood that a run has: NPR-DPM's, else Analytic-DPM's; SN-DPM's is poor."""
    if variances.trained("npr", workdir):
        return "npr"
    if model.config.sampler.gamma or variances.gamma_path(workdir, model.step).is_file():
        return "analytic"
    raise ConfigError(
        "eval.elbo needs a reverse variance that was fitted to this network: run --mode=train_head "
        "--config.head.kind=npr (best) or --mode=calibrate first, or set eval.elbo_variance to posterior or forward"
    )


def variance_name(config: Config) -> str:
    """The variance of the chain that a sampler draws from, by its setting or by its own name."""
    stepper = config.sampler.stepper
    return getattr(stepper, "variance", None) or stepper.name


def eta_of(config: Config) -> float:
    """The forward family of the chain that a sampler draws from; 1 is DDPM."""
    return getattr(config.sampler.stepper, "eta", 1.0)


def _prepare(held: Held) -> Work:
    bound = asked(held.subject, held.workdir)

    def measure(workdir: Path) -> Result:
        found, rows = bits_per_dim(bound, held.test, held.config.eval.likelihood_examples, workdir)
        rows.remove()
        return found

    return measure


def _lines(bound: Result) -> list[str]:
    """The variational bound and its parts."""
    about = f"{bound['variance']} variance, {bound['times']} times, {bound['evaluations']} evaluations"
    parts = f"prior {bound['prior']:.4f}, KL {bound['kl']:.4f}, decoder {bound['decoder']:.4f} bits/dim"
    return [
        f"  variational bound   {bound['bits_per_dim']:.4f} +- {bound['standard_error']:.4f} bits/dim   ({about})",
        f"    its parts         {parts}",
    ]


READS = ("seed", "split", "likelihood_examples", "elbo", "elbo_variance", "elbo_eta", "elbo_time_grid")
EVALUATION = Evaluation(
    "elbo",
    ("score",),
    lambda config: config.eval.elbo > 0,
    _prepare,
    _lines,
    without="eval.elbo=0",
    units={
        **dict.fromkeys(("bits_per_dim", "standard_error", *PARTS), "bits/dim"),
        "evaluations": "network evaluations",
    },
    check=check,
    reads=("sampler.t_min", "sampler.gamma", "sampler.stepper.clip", *(f"eval.{key}" for key in READS)),
)
