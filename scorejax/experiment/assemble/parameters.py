"""What a checkpoint holds of a score: the parameters of its network, of its process, and of the weighting."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.numerics.trees import PyTree
from scorejax.sdes import SDE
from scorejax.sdes.learned import Learned


def with_process(process: SDE, params: PyTree, examples: Callable[[], np.ndarray] | None = None) -> PyTree:
    """All that a checkpoint holds: the parameters of a network, and what its process learns or takes from the data.

    Args:
        process: the forward process.
        params: of the network.
        examples: of the training data, in the units of the model, for a process that is fitted to them.
    """
    if isinstance(process, Learned):
        return {"network": params, "process": {"gamma_min": process.gamma_min, "gamma_max": process.gamma_max}}
    if not process.asks_for_data:
        return params
    with jax.ensure_compile_time_eval():  # numbers, also where a compiled program makes the parameters
        found = process.fit(_made_up(process) if examples is None else examples())
    # flat, so that no decay of weights takes them for weights
    return {"network": params, "process": {name: jnp.asarray(v, jnp.float32).ravel() for name, v in found.items()}}


def with_weighting(params: PyTree, coefficients: Array | None) -> PyTree:
    """The same with what the weighting of the loss trains, which is no part of the score."""
    if coefficients is None:
        return params
    return (params if "process" in params else {"network": params}) | {"weighting": coefficients}


def process_of(process: SDE, params: PyTree) -> SDE:
    """The process with what it learned, or took from the data, put in; any other as it is."""
    if isinstance(process, Learned):
        return process.replace(**params["process"])
    if not process.asks_for_data:
        return process
    with jax.ensure_compile_time_eval():
        shapes = {name: value.shape for name, value in process.fit(_made_up(process)).items()}
    held = jax.lax.stop_gradient(params["process"])
    return process.fitted({name: held[name].reshape(shape) for name, shape in shapes.items()})


def stand_in(process: SDE) -> SDE:
    """The process as it is when it is fitted to two made-up examples, to try out what will be done with it."""
    return process_of(process, with_process(process, {}))


def _made_up(process: SDE) -> np.ndarray:
    """Two examples that say no more than the shape."""
    assert process.shape is not None  # what is fitted to examples is made for their shape
    return np.stack([np.zeros(process.shape), np.ones(process.shape)]).astype(np.float32)


def of_network(params: PyTree) -> PyTree:
    """The parameters of the network, out of what `with_process` and `with_weighting` made."""
    return params["network"] if _has_more(params) else params


def with_network(params: PyTree, change: Callable[[PyTree], PyTree]) -> PyTree:
    """The same with other parameters of the network."""
    return params | {"network": change(params["network"])} if _has_more(params) else change(params)


def _has_more(params: PyTree) -> bool:
    return {"network"} < set(params) <= {"network", "process", "weighting"}
