"""The public reference networks with made-up weights, and what they computed."""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import golden_weights
import jax
import numpy as np
from golden_weights import GOLDEN

from scorejax.models.pretrained import from_score_sde


class Reference(NamedTuple):
    sidecar: dict[str, Any]
    golden: dict[str, np.ndarray]  # images as [B, H, W, C]; gradients as the reference lays them out
    state: dict[str, np.ndarray]
    module: nn.Module
    params: dict[str, Any]
    apply: Callable[[Any, Any, Any], jax.Array]  # compiled once


def state_dict(sidecar: dict[str, Any]) -> dict[str, np.ndarray]:
    """The state dict of the reference, with the noise levels it holds too."""
    model = sidecar["config"]["model"]
    sigmas = np.geomspace(model["sigma_max"], model["sigma_min"], model["num_scales"])
    return golden_weights.state_dict(sidecar) | {"sigmas": sigmas}


@functools.cache
def sidecar(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"score_sde_{name}_small.json").read_text())


@functools.cache
def reference(name: str) -> Reference:
    stored = dict(np.load(GOLDEN / f"score_sde_{name}_small.npz"))
    golden = {
        key: value.transpose(0, 2, 3, 1) if value.ndim == 4 and not key.startswith("grad__") else value
        for key, value in stored.items()
    }
    state = state_dict(sidecar(name))
    module, params = from_score_sde(state, sidecar(name)["config"])
    apply = jax.jit(functools.partial(evaluate, module))
    return Reference(sidecar(name), golden, state, module, params, apply)


def evaluate(module: nn.Module, params: Any, x: Any, labels: Any) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        out = module.apply({"params": params}, x, labels)
    assert isinstance(out, jax.Array)
    return out
