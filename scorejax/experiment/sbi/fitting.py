"""The training of a posterior, and its folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from scorejax.experiment import config as configs
from scorejax.experiment import run as runs
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.sbi.posterior import Posterior
from scorejax.experiment.training.train import train
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.posterior.priors import Normal, Prior, Uniform, normal
from scorejax.runtime.errors import ConfigError
from scorejax.runtime.files import read_json, write_json

FILE = "sbi.json"
_FEWEST = 40  # simulations


def fit(
    key: Array,
    theta: ArrayLike,
    x: ArrayLike,
    *,
    prior: Prior | None = None,
    workdir: str | Path | None = None,
    settings: tuple[str, ...] = (),
) -> Posterior:
    """Train the posterior of parameters given data, and return it with the weights of the least validation loss.

    Args:
        key: a typed PRNG key, of the training.
        theta: parameters `[N, D]`, drawn from the prior.
        x: data `[N, K]`, one row for each row of parameters; summaries or networks of larger data are yours.
        prior: what the parameters were drawn from, of `uniform`, `normal` or `lognormal`, whose bounds the posterior
            keeps. None: unbounded, and several observations cannot be composed.
        workdir: folder of the run, which `load` reads again; a new temporary one if not given.
        settings: of the run, as the shell takes them: ("train.steps=8000", "model.features=256").

    Raises:
        ValueError: arrays of other shapes, too few, not finite, or parameters outside of the support of the prior.
        ConfigError: settings that do not fit, or a folder that holds another run.
    """
    theta, x = _rows("theta", theta), _rows("x", x)
    if len(theta) != len(x) or len(x) < _FEWEST:
        raise ValueError(f"theta and x must have as many rows, {_FEWEST} at least; got {len(theta)} and {len(x)}")
    if prior is not None:
        if prior.dimension != theta.shape[1]:
            raise ValueError(f"the prior is of {prior.dimension} parameters, but theta has shape {theta.shape}")
        outside = ~np.isfinite(np.asarray(prior.log_slope(jnp.asarray(theta, jnp.float32))))
        if outside.any():
            first = int(np.argmax(outside))
            raise ValueError(
                f"{outside.sum()} rows of theta lie outside of the prior, the first is {first}: {theta[first]}"
            )
    chosen = normal(theta.mean(axis=0), _spread(theta)) if prior is None else prior
    mean, std = x.mean(axis=0), _spread(x)
    folder = Path(tempfile.mkdtemp(prefix="sbi-") if workdir is None else workdir)
    folder.mkdir(parents=True, exist_ok=True)
    y = np.asarray(chosen.to_normal(jnp.asarray(theta, jnp.float32)))
    np.savez(folder / "simulations.npz", x=y, labels=((x - mean) / std).astype(np.float32))
    about = {"prior": _written(chosen), "known": prior is not None, "x_mean": mean.tolist(), "x_std": std.tolist()}
    write_json(folder / FILE, about)
    seed = int(jax.random.randint(keys_lib.per_example(key, 1)[0], (), 0, 2**31 - 1))
    config = configs.override(_config(folder, len(y), seed), list(settings))
    train(config, folder, validate=evaluate.validation(config, folder))
    return load(folder)


def load(workdir: str | Path) -> Posterior:
    """Return the posterior that `fit` left in a folder.

    Raises:
        ConfigError: none was trained there.
    """
    folder = Path(workdir).expanduser()
    if not (folder / FILE).is_file():
        raise ConfigError(f"{folder} holds no {FILE}: give the workdir of a posterior that scorejax.sbi.fit trained")
    about = read_json(folder / FILE, dict, "train again")
    mean, std = (np.asarray(about[name], np.float32) for name in ("x_mean", "x_std"))
    return Posterior(runs.load(folder), _read(about["prior"]), about["known"], mean, std)


def _config(folder: Path, count: int, seed: int) -> configs.Config:
    """A training for so many simulations."""
    config = configs.base()
    config.seed = seed
    config.data.name = "npz"
    config.data.update({"path": str(folder / "simulations.npz"), "axes": "NC", "normalize": "none"})
    config.sde.beta_max = 30.0  # the means of posteriors must be forgotten: they move log densities by alpha_T
    config.recipe.conditional = True
    config.model.update({"name": "mlp", "features": 128, "depth": 4})
    config.objective.time_sampling = "stratified"
    config.optim.update({"lr": 1e-3, "warmup": 200, "decay": "cosine"})
    config.ema.update({"decay": 0.999, "warmup": True})
    config.train.update({"steps": 6000, "batch": int(np.clip(count // 10, 16, 512)), "log_every": 1000})
    config.train.update({"checkpoint_every": 6000, "validate_every": 300})
    config.eval.update({"best": True, "after_training": False, "batch": 256})
    return config


def _rows(name: str, given: ArrayLike) -> np.ndarray:
    array = np.asarray(given)
    if array.ndim != 2 or array.dtype.kind not in "iuf" or not array.size:
        raise ValueError(f"{name} must be numbers of shape [N, D], got {array.dtype} of shape {array.shape}")
    array = array.astype(np.float64)
    doors.check_finite(array, name)
    return array


def _spread(rows: np.ndarray) -> np.ndarray:
    """Standard deviations of the columns; 1 for constant ones."""
    found = rows.std(axis=0)
    return np.where(found > 0, found, 1.0)


_KINDS: dict[str, type[Prior]] = {"uniform": Uniform, "normal": Normal}


def _written(prior: Prior) -> dict[str, Any]:
    """A prior for a file of JSON."""
    kind = next((name for name, each in _KINDS.items() if isinstance(prior, each)), None)
    if kind is None:
        raise ValueError(f"{type(prior).__name__} is no prior of scorejax.sbi; take uniform, normal or lognormal")
    return {"kind": kind, **{name: np.asarray(value).tolist() for name, value in vars(prior).items()}}


def _read(about: dict[str, Any]) -> Prior:
    fields = {name: jnp.asarray(value) for name, value in about.items() if name != "kind"}
    return _KINDS[about["kind"]](**fields)
