"""What processes with a noise level for every mode cost: a training step, and the transforms themselves.

    python benchmarks/bases.py [--batch=64] [--rounds=5]

Prints a Markdown section for docs/benchmarks.md: ratios of times measured side by side in one run, and the operations
that the compiler counts, which do not depend on the machine's mood.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
import jax.numpy as jnp

import scorejax as sj
from benchmarks.ratios import ratio
from scorejax.models import NETWORKS

SIZES = ((8, 256, 1), (28, 128, 1), (32, 128, 3), (64, 32, 3), (128, 16, 3), (256, 4, 3), (512, 2, 3))


def step_of(network, params, sde, x):
    """The gradient of the denoising objective as a compiled program."""

    def loss(params, key, x):
        score = sj.make_score(sde, lambda p, x, t: network.apply({"params": p}, x, t), params, label=sde.label)
        return sj.objectives.denoising(key, sde, score, x).mean()

    return jax.jit(jax.grad(loss)).lower(params, jax.random.key(0), x).compile()


def training(batch: int, rounds: int) -> list[str]:
    """Rows of the ratio of a training step with blur to one without."""
    network = NETWORKS["ddpmpp"](
        features=16, channel_multipliers=(1, 2, 4), blocks_per_level=1, attention_resolutions=(7,), dropout=0.0
    )
    x = jax.random.uniform(jax.random.key(1), (batch, 28, 28, 1))
    params = network.init(jax.random.key(0), x[:1], jnp.zeros(1))["params"]
    plain, rows = step_of(network, params, sj.ddpm(), x), []
    args = (params, jax.random.key(0), x)
    for growth in ("none", "quartic"):
        other = step_of(network, params, sj.blur(shape=(28, 28, 1), growth=growth), x)
        counted = other.cost_analysis()["flops"] / plain.cost_analysis()["flops"]
        timed, each = ratio(lambda other=other: other(*args), lambda: plain(*args), 1.0, rounds)
        rows.append(f"| training step, blur ({growth}) / plain | {timed:.3f} | {counted:.4f} | {1e3 * each:.0f} ms |")
    return rows


def transforms(rounds: int) -> list[str]:
    """Rows of the ratio of the fast cosine transform to two matrix products."""
    rows = []
    for n, batch, channels in SIZES:
        basis = sj.bases.dct((n, n, channels))
        x = jax.random.normal(jax.random.key(0), (batch, n, n, channels))
        product, fast = jax.jit(basis.to_modes), jax.jit(lambda x: jax.scipy.fft.dctn(x, axes=(1, 2), norm="ortho"))
        timed, each = ratio(lambda fast=fast, x=x: fast(x), lambda product=product, x=x: product(x), 1.0, rounds)
        size = f"{batch} x {n} x {n} x {channels}"
        rows.append(f"| fast transform / matrix products, {size} | {timed:.2f} | | {1e3 * each:.2f} ms |")
    return rows


def main() -> None:
    """Print the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print("| ratio | of times | of operations | |\n|---|---|---|---|")
    for row in [*training(given.batch, given.rounds), *transforms(given.rounds)]:
        print(row, flush=True)


if __name__ == "__main__":
    main()
