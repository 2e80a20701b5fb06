"""The made-up weights that the golden numbers were computed with, from the tensors' names alone."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


def rule(name: str, shape: list[int] | tuple[int, ...], fourier: bool = False) -> np.ndarray:
    """A tensor of a state dict; `fourier` if its name does not say that it is a frequency."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    last = name.rpartition(".")[2]
    if fourier or (last == "W" and len(shape) == 1):
        return np.float32(16) * z
    if last == "W":
        return (z / np.sqrt(shape[0])).astype(np.float32)
    if name.endswith("embed.weight"):  # columns gamma, alpha, beta
        return np.repeat(np.float32([1, 1, 0]), shape[1] // 3) + np.float32(0.1) * z
    if len(shape) >= 2:
        return (z / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    return np.float32(1) + np.float32(0.1) * z if last in ("weight", "alpha", "gamma") else np.float32(0.1) * z


def state_dict(sidecar: dict[str, Any]) -> dict[str, np.ndarray]:
    """The state dict of a reference, checked against the first two values of each tensor."""
    state = {name: rule(name, shape) for name, shape, how, _ in sidecar["params"] if how == "rule"}
    for name, _, how, first in sidecar["params"]:
        if how == "rule":
            np.testing.assert_allclose(state[name].ravel()[: len(first)], first, rtol=1e-6)
    return state


def load(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Configuration, state dict and arrays of a golden network of score_sde, e.g. "ddpm_small"."""
    sidecar = json.loads((GOLDEN / f"score_sde_{name}.json").read_text())
    return sidecar["config"], state_dict(sidecar), dict(np.load(GOLDEN / f"score_sde_{name}.npz"))
