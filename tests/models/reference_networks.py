"""The public reference networks: made-up weights from the tensors' names alone, and what they computed with them."""

import functools
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from scorejax.pretrained import from_score_sde

# Half of the time to compile is for speed, which a program that runs a few times does not need.
FAST_COMPILE = {"xla_backend_optimization_level": 0}
FOLDER = Path(__file__).parents[1] / "golden"


class Reference(NamedTuple):
    sidecar: dict[str, Any]
    golden: dict[str, np.ndarray]  # images as [B, H, W, C]; gradients as the reference lays them out
    state: dict[str, np.ndarray]
    module: nn.Module
    params: dict[str, Any]
    apply: Callable[[Any, Any, Any], jax.Array]  # compiled once


def weights(name: str, shape: list[int]) -> np.ndarray:
    """The weights that the golden numbers were computed with."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    last = name.rsplit(".", 1)[-1]
    if last == "W":
        return (z / np.sqrt(shape[0])).astype(np.float32) if len(shape) == 2 else 16 * z
    if name.endswith("embed.weight"):  # columns gamma, alpha, beta
        return np.repeat(np.float32([1, 1, 0]), shape[1] // 3) + np.float32(0.1) * z
    if len(shape) >= 2:
        return (z / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    return np.float32(1) + np.float32(0.1) * z if last in ("weight", "alpha", "gamma") else np.float32(0.1) * z


def state_dict(sidecar: dict[str, Any]) -> dict[str, np.ndarray]:
    """The state dict of the reference, checked against the first two values of each tensor."""
    state = {name: weights(name, shape) for name, shape, how, _ in sidecar["params"] if how == "rule"}
    for name, _, how, first in sidecar["params"]:
        if how == "rule":
            np.testing.assert_allclose(state[name].ravel()[: len(first)], first, rtol=1e-6)
    model = sidecar["config"]["model"]
    state["sigmas"] = np.geomspace(model["sigma_max"], model["sigma_min"], model["num_scales"])
    return state


@functools.cache
def sidecar(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"score_sde_{name}_small.json").read_text())


@functools.cache
def reference(name: str) -> Reference:
    stored = dict(np.load(FOLDER / f"score_sde_{name}_small.npz"))
    golden = {
        key: value.transpose(0, 2, 3, 1) if value.ndim == 4 and not key.startswith("grad__") else value
        for key, value in stored.items()
    }
    state = state_dict(sidecar(name))
    module, params = from_score_sde(state, sidecar(name)["config"])
    apply = jax.jit(functools.partial(evaluate, module), compiler_options=FAST_COMPILE)
    return Reference(sidecar(name), golden, state, module, params, apply)


def evaluate(module: nn.Module, params: Any, x: Any, labels: Any) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        out = module.apply({"params": params}, x, labels)
    assert isinstance(out, jax.Array)
    return out
