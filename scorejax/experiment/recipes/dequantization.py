"""A run's learned dequantizer: built from its settings, bound to its weights, read from its folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import data, models
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.numerics import keys
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import ConfigError

FOLDER = "dequantizer"  # inside the run's
ARCHITECTURE = ("features", "components", "blocks", "heads", "flows")  # fields of the flow


def network(config: Config, examples: data.Dataset) -> models.FlowDequantizer:
    """The flow of the section `dequantizer`.

    Raises:
      ConfigError: the data have no grey levels, or their width is odd.
    """
    if examples.gray_levels is None:
        raise ConfigError(f"{examples.name!r} holds vectors: only grey levels are dequantized")
    if examples.shape[1] % 2:
        raise ConfigError(f"{examples.name!r} is {examples.shape[1]} pixels wide; the dequantizer needs an even width")
    c = config.dequantizer
    return models.FlowDequantizer(**{key: c[key] for key in ARCHITECTURE if c[key] is not None})


def init_params(key: Array, module: models.FlowDequantizer, shape: tuple[int, ...]) -> Any:
    """Initial parameters for examples of the given shape."""
    nothing = jnp.zeros((1, *shape))
    return module.init(key, nothing, nothing)["params"]


def bind(module: models.FlowDequantizer, params: Any, levels: int) -> Partial:
    """The flow as a `likelihood.Dequantizer`; a pytree, so that other parameters do not compile anything again."""
    return Partial(_Draw(module, levels), params)


def restore(workdir: str | Path, examples: data.Dataset) -> Partial:
    """The dequantizer that was trained in a run's folder, with its averaged weights.

    Raises:
      RunError: there is none, or none that can be read.
    """
    folder = Path(workdir) / FOLDER
    if not checkpoint.steps(folder):
        raise ConfigError(f"no dequantizer in {folder}: train it first, with --mode=train_dequantizer")
    module = network(workdir_lib.saved_config(folder), examples)
    shapes = jax.eval_shape(lambda: init_params(jax.random.key(0), module, examples.shape))
    assert examples.gray_levels is not None  # `network` refuses vectors
    return bind(module, checkpoint.restore_ema(folder, shapes).fields["ema"], examples.gray_levels)


@dataclasses.dataclass(frozen=True)
class _Draw:
    """Static part of a bound flow; equal for equal settings, so that compiled programs are found again."""

    module: models.FlowDequantizer
    levels: int

    def __call__(self, params: Any, own: Array, examples: Array) -> tuple[Array, Array]:
        u = keys.uniform(own, examples.shape, jnp.float32)
        # the middle of one of 2^23 cells: never 0, whose logit is infinite
        noise = jax.scipy.special.logit(jnp.clip(u, 2.0**-24, 1.0 - 2.0**-24))
        images = 2.0 * (examples.astype(jnp.float32) + 0.5) / self.levels - 1.0
        return self.module.apply({"params": params}, noise, images)  # pyright: ignore[reportReturnType]
