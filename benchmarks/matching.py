"""What each objective of one density costs, as a multiple of one evaluation of its network.

    python benchmarks/matching.py [--width=1000] [--dimension=784] [--batch=64]

Prints a Markdown table for docs/energies.md, for a score network and for an energy: the operations of the loss and of
its gradient, as the compiler counts them, and the memory that the gradient needs beyond parameters and data. Nothing
is run and no clock is read, so a busy machine prints the same table.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.objectives import score_matching as sm


class Network(nn.Module):
    """Three hidden layers with softplus."""

    out: int
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(3):
            x = nn.softplus(nn.Dense(self.width)(x))
        return nn.Dense(self.out)(x)


def contrastive(key: jax.Array, score: Any, x: jax.Array) -> jax.Array:
    """The loss of maximum likelihood for given samples of the model, without the chains that make them."""
    return score.of(x) - score.of(jax.lax.stop_gradient(x + 1.0))


OBJECTIVES: dict[str, tuple[Callable[..., jax.Array], tuple[str, ...]]] = {
    "`denoising`": (functools.partial(sm.denoising, sigma=0.1), ("score", "energy")),
    "`finite_difference`": (sm.finite_difference, ("score", "energy")),
    "`sliced` (SSM-VR)": (sm.sliced, ("score", "energy")),
    "`sliced`, `variance_reduced=false` (SSM)": (
        functools.partial(sm.sliced, variance_reduced=False),
        ("score", "energy"),
    ),
    "`sliced`, `probes=4`": (functools.partial(sm.sliced, probes=4), ("score", "energy")),
    "contrastive divergence, without its chains": (contrastive, ("energy",)),
    "`exact`": (sm.exact, ("score", "energy")),
}


def counted(function: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Operations of a compiled function, and megabytes of its intermediate results."""
    program = jax.jit(function).lower(*arguments).compile()
    analysis: Any = program.cost_analysis()
    memory: Any = program.memory_analysis()
    operations = (analysis[0] if isinstance(analysis, list) else analysis)["flops"]
    return float(operations), memory.temp_size_in_bytes / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimension", type=int, default=784)
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    sm._CHUNK = args.dimension  # the trace in one piece: of a loop the compiler counts the body once
    x = jax.ShapeDtypeStruct((args.batch, args.dimension), jnp.float32)
    networks = {kind: Network(out, args.width) for kind, out in (("score", args.dimension), ("energy", 1))}
    params = {kind: jax.eval_shape(network.init, jax.random.key(1), x) for kind, network in networks.items()}

    def loss(params: Any, x: jax.Array, kind: str, objective: Callable[..., jax.Array]) -> jax.Array:
        apply = functools.partial(networks[kind].apply, params)
        score = apply if kind == "score" else sm.of_energy(lambda y: apply(y)[:, 0])
        return jnp.mean(objective(jax.random.key(2), score, x))

    unit = {kind: counted(networks[kind].apply, params[kind], x)[0] for kind in networks}
    print(f"| objective | {' | '.join(f'{kind}: loss | gradient | MB' for kind in networks)} |")
    print("|---|---|---|---|---|---|---|")
    for name, (objective, kinds) in OBJECTIVES.items():
        cells: list[str] = []
        for kind in networks:
            if kind not in kinds:
                cells += ["", "", ""]
                continue
            of = functools.partial(loss, kind=kind, objective=objective)
            value, (gradient, memory) = counted(of, params[kind], x)[0], counted(jax.grad(of), params[kind], x)
            cells += [
                *(f"{n / unit[kind]:.{0 if n > 100 * unit[kind] else 1}f}" for n in (value, gradient)),
                f"{memory:.0f}",
            ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
