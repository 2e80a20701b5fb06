"""Time and memory of the objectives against the dimension: Figure 2 of sliced score matching."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from benchmarks.slides import Given, draw, part, table
from scorejax import score_matching
from scorejax.models import EnergyMLP

OBJECTIVES: dict[str, tuple[Callable[..., Array], dict[str, Any]]] = {
    "SM": (score_matching.exact, {}),
    "SSM-VR": (score_matching.sliced, {}),
    "SSM": (score_matching.sliced, {"variance_reduced": False}),
    "FD-SSM": (score_matching.finite_difference, {}),
    "DSM": (score_matching.denoising, {"sigma": 0.3}),
}
UNIT = "DSM"
REPEATS = 3


@part(
    title="What the objectives cost as the dimension grows",
    slides="Figure 2 of sliced score matching: time and memory of a step against the dimension of normal data.",
    order=30,
    pictures={"scaling": "Time of a gradient step in units of denoising, and memory, against the dimension"},
)
def scaling(
    given: Given,
    *,
    dimensions: Sequence[int] = (10, 100, 400),
    features: int = 128,
    batch: int = 64,
    rounds: int = 5,
) -> dict:
    """The gradient of each loss of an energy with respect to its parameters, on normal data."""
    found: dict[str, Any] = {name: {"ratio": [], "megabytes": []} for name in OBJECTIVES}
    for dimension in dimensions:
        network = EnergyMLP(features=features)
        x = jax.random.normal(jax.random.key(0), (batch, dimension))
        params = network.init(jax.random.key(1), x)
        programs = {name: _program(network, name, params, x) for name in OBJECTIVES}
        unit = _seconds(programs[UNIT], params, x, rounds)
        for name, program in programs.items():
            found[name]["megabytes"].append(program.memory_analysis().temp_size_in_bytes / 2**20)
            found[name]["ratio"].append(1.0 if name == UNIT else _seconds(program, params, x, rounds) / unit)
        given.say(f"dimension {dimension}")
    _picture(given, list(dimensions), found)
    return {"dimensions": list(dimensions), "objectives": found}


@scaling.says
def text(numbers: dict) -> str:
    """Ratios and megabytes at the lowest and the highest dimension."""
    dims, rows = numbers["dimensions"], numbers["objectives"]
    columns = ["", f"time, D = {dims[0]}", f"time, D = {dims[-1]}", f"MB, D = {dims[0]}", f"MB, D = {dims[-1]}"]
    cells = [
        [name, *(f"{row['ratio'][i]:.1f}" for i in (0, -1)), *(f"{row['megabytes'][i]:.1f}" for i in (0, -1))]
        for name, row in rows.items()
    ]
    words = (
        "Of an energy with three hidden layers and its gradient with respect to the parameters; processor time in units "
        f"of {UNIT} at the same dimension, memory as the compiled program asks for it. The published figure measures deep "
        "kernels on a GPU of 12 GB, where exact score matching runs out of memory above 400 dimensions; the shapes of "
        "the curves are what can be compared: exact score matching grows with the dimension in both, the others hardly."
    )
    return "\n\n".join([table(columns, cells), words])


def _program(network: EnergyMLP, name: str, params: Any, x: Array) -> Any:
    """The compiled gradient."""
    objective, options = OBJECTIVES[name]

    def loss(params: Any, x: Array) -> Array:
        score = score_matching.of_energy(Partial(network.apply, params))
        return jnp.mean(objective(jax.random.key(2), score, x, **options))

    return jax.jit(jax.grad(loss)).lower(params, x).compile()


def _seconds(program: Callable[..., Any], params: Any, x: Array, rounds: int) -> float:
    """Seconds of the processor, the fewest of several rounds: other programs on the machine do not count."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(REPEATS):
            jax.block_until_ready(program(params, x))
        found.append((time.process_time() - began) / REPEATS)
    return min(found)


def _picture(given: Given, dimensions: list[int], found: dict[str, Any]) -> None:
    figure, axes = draw.panels(1, 2, width=4.5)
    for axis, key, label in zip(
        axes[0], ("ratio", "megabytes"), (f"time of a step / that of {UNIT}", "temporary memory, MB"), strict=True
    ):
        for name, row in found.items():
            axis.loglog(dimensions, row[key], marker="o", markersize=3, label=name)
        axis.set_xlabel("dimension")
        axis.set_title(label, fontsize=10)
    axes[0, 0].legend(fontsize=8)
    draw.save(figure, given.picture("scaling"))
