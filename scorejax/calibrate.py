"""How much noise a trained network finds: `eval/gamma-step-N.npz`, which optimal variances and trajectories need."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import build, gamma, keys, parallel
from scorejax import data as data_lib
from scorejax.config import Config
from scorejax.errors import ConfigError
from scorejax.evaluate import restore
from scorejax.evaluation.model import CALIBRATION, Model, carried, report_progress
from scorejax.gamma import Gamma
from scorejax.sdes.discrete import Chain
from scorejax.sdes.linear import LinearSDE

GRID = 1000  # times of a continuous process


def calibrate(config: Config, workdir: str | Path) -> Path:
    """Estimate the statistic of the newest checkpoint on `eval.calibration_examples`, write it and return its path.

    Args:
      config: of the run.
      workdir: of the run.

    Raises:
      RunError: no readable checkpoint, or a config that does not fit.
    """
    train = build.dataset(config, "train")
    model = restore(config, workdir, train)
    found = statistic(model, train, config.eval.calibration_examples)
    path = gamma_path(workdir, model.step)
    if parallel.is_main_process():
        path.parent.mkdir(parents=True, exist_ok=True)
        found.save(path)
        print(
            f"{found.count} examples, {len(found.times)} times, E |eps|^2 / D from {found.mean_square.min():.4g} to "
            f"{found.mean_square.max():.4g}: {path}"
        )
    return path


def gamma_path(workdir: str | Path, step: int) -> Path:
    """Where the statistic of a checkpoint is."""
    return Path(workdir) / "eval" / f"gamma-step-{step}.npz"


def load(workdir: str | Path, step: int, sde: LinearSDE) -> Gamma:
    """Read the statistic of a checkpoint.

    Raises:
      ConfigError: there is none, or it belongs to another process.
    """
    path = gamma_path(workdir, step)
    try:
        return Gamma.load(path, sde)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: run --mode=calibrate first") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def statistic(model: Model, train: data_lib.Dataset, examples: int = 0) -> Gamma:
    """The statistic of a model on `examples` training examples, each seen once; neither batch nor devices matter."""
    c, process = model.config, model.process
    chosen = data_lib.spread(len(train), examples)
    count = len(chosen)
    arrays = [np.asarray(train.examples[chosen])]
    if c.model.conditional:
        assert train.labels is not None  # `build.network` refuses conditional models of data without labels
        arrays.append(train.labels[chosen])
    times = grid(process)

    def fn(held: tuple, index: Array, raw: Array, labels: Array | None = None) -> dict[str, Array]:
        params, key = held
        score = build.score(c, process, model.module, params, class_labels=labels)
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        x0 = data_lib.to_model(
            keys.fold_in(each, 0), raw, train.levels, centered=c.data.centered, dequantize=c.data.dequantize
        )
        return {"squares": gamma.estimate(keys.fold_in(each, 1), process, score, x0, times)}

    held = carried(model, CALIBRATION)
    batches = parallel.map_batches(fn, held, tuple(arrays), stop=count, batch_size=min(c.eval.batch, count))
    rows = report_progress(batches, "calibration", 0, count)
    return reduce(Gamma.merge, (Gamma.of(process, times, row["squares"]) for _, _, row in rows))


def grid(sde: LinearSDE) -> np.ndarray:
    """The times of the estimate: all levels of a chain, or a thousand of a continuous process."""
    if isinstance(sde, Chain):
        return np.arange(1, sde.levels + 1) / sde.levels
    return np.linspace(sde.t_min, sde.t_max, GRID)
