"""How much noise a trained network finds: `eval/gamma-step-N.npz`, which optimal variances and trajectories need."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import jax.numpy as jnp
from absl import logging
from jax import Array

from scorejax import data as data_lib
from scorejax.experiment import assemble
from scorejax.experiment.config import Config
from scorejax.experiment.config.values import Value
from scorejax.experiment.evaluation import places, variances
from scorejax.experiment.evaluation.bits import labels_of
from scorejax.experiment.evaluation.subject import CALIBRATION, Subject, carried, settings
from scorejax.experiment.trained import restore
from scorejax.numerics import keys
from scorejax.reverse import gamma
from scorejax.reverse.gamma import Gamma
from scorejax.runtime import parallel
from scorejax.runtime.files import replacing
from scorejax.runtime.ledger import Ledger

_BLOCK = 1000  # examples in memory at a time


def calibrate(config: Config, workdir: str | Path) -> Path:
    """Estimate the statistic of the newest checkpoint on `eval.calibration_examples`, write it and return its path.

    Args:
        config: of the run.
        workdir: of the run.

    Raises:
        RunError: no readable checkpoint, or a config that does not fit.
    """
    model = Subject(restore(config, workdir))
    model.trained.need("--mode=calibrate", "score")
    train = model.trained.recipe.given.examples
    found = statistic(model, train, workdir, config.eval.calibration_examples)
    path = usual = variances.gamma_path(workdir, model.step)
    if parallel.is_main_process():
        path = places.place(usual, {"examples": found.count}, _held)
        with replacing(path) as partial:
            found.save(partial)
        if path != usual:
            print(f"{usual} is of other examples, and is what is read; for this one, set sampler.gamma={path}")
        print(
            f"{found.count} examples, {len(found.times)} times, E |eps|^2 / D from {found.mean_square.min():.4g} to "
            f"{found.mean_square.max():.4g}: {path}"
        )
    return path


def _held(path: Path) -> dict[str, Value] | None:
    """How many examples a statistic is of; None if there is none, or it is damaged."""
    try:
        return {"examples": Gamma.load(path).count} if path.is_file() else None
    except ValueError as error:
        logging.warning("%s; it is written again", error)
        return None


def statistic(model: Subject, train: data_lib.Dataset, workdir: str | Path, examples: int = 0) -> Gamma:
    """The statistic of a model on `examples` training examples, each seen once; neither batch nor devices matter.

    A cut-off calibration goes on where it stopped.
    """
    c, sde, space = model.config, assemble.gaussian(model.sde, "the statistic of --mode=calibrate"), model.space
    chosen = data_lib.spread(len(train), examples)
    count = len(chosen)
    arrays = [model.sent(train, chosen)]
    if model.model.conditional:
        arrays.append(labels_of(train)[chosen])
    times = gamma.grid(sde)

    def fn(held: tuple, index: Array, raw: Array, labels: Array | None = None) -> dict[str, Array]:
        params, key = held
        of = model.at(params)
        score = of.score_given(labels if of.conditional else None)
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        x0 = space.to_model(keys.fold_in(each, 0), raw)
        return {"squares": gamma.estimate(keys.fold_in(each, 1), sde, score, x0, times)}

    depends = {**settings(model), "examples": count, "seed": c.eval.seed}
    ledger = Ledger(Path(workdir) / "eval", "calibration", count, depends)
    batches = model.compute.rows(
        "calibration",
        fn,
        carried(model, CALIBRATION),
        tuple(arrays),
        stop=count,
        batch_size=min(c.eval.batch, count),
        start=ledger.done,
    )
    squares = ledger.fill(batches)["squares"]
    blocks = (squares[first : first + _BLOCK] for first in range(0, count, _BLOCK))
    found = reduce(Gamma.merge, (Gamma.of(sde, times, block) for block in blocks))
    ledger.remove()
    return found
