"""The weights that the golden outputs of score_sde were computed with."""

import json
import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden"


def rule(name, shape, fourier=False):
    """A tensor of the state dict, from its name alone; `fourier` if its name does not say that it is a frequency."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    last = name.rpartition(".")[2]
    if fourier or (last == "W" and len(shape) == 1):
        return np.float32(16) * z
    if last == "W":
        return (z / np.sqrt(shape[0])).astype(np.float32)
    if len(shape) >= 2:
        return (z / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    return np.float32(1) + np.float32(0.1) * z if last == "weight" else np.float32(0.1) * z


def load(name):
    """Configuration, state dict and arrays of a golden network, e.g. "ddpm_small"."""
    sidecar = json.loads((GOLDEN / f"score_sde_{name}.json").read_text())
    state = {n: rule(n, shape) for n, shape, how, _ in sidecar["params"] if how == "rule"}
    for n, _, how, first in sidecar["params"]:
        if how == "rule":
            np.testing.assert_allclose(state[n].ravel()[: len(first)], first, rtol=1e-6)
    return sidecar["config"], state, dict(np.load(GOLDEN / f"score_sde_{name}.npz"))
