"""What `table_mlp` is worth next to `mlp` on tables, at equal time of training.

    python benchmarks/tables.py [--steps=3000] [--seeds=3] [--tables moons digits] [--csv FILE ...]
                                [--table_mlp features=96 waves=2] [--mlp features=192]

Both networks are trained on the same rows by the same recipe: VP, denoising score matching at stratified times, Adam
with a cosine decay, averaged weights. `mlp` takes `--steps` steps, `table_mlp` as many as take the same time: the
ratio of their times is the median over pairs of runs that alternate. Printed is the bound of the negative log
likelihood of held-out rows that denoising errors at 32 levels amount to, in nats per column of the standardized
table, as mean over the seeds and standard error; lower is better. Columns of a file whose values repeat are given
noise as wide as their smallest gap, without which no density has a bound.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
import jax.numpy as jnp
import numpy as np
import optax

import scorejax as sj
from scorejax import data, likelihood, models, objectives

SDE = sj.vp()
Train = Callable[[Any, jax.Array, Any], Any]


def columns_of(path: str) -> np.ndarray:
    """The numbers of a text file with a header, separated by commas or semicolons, with noise of their own width."""
    with Path(path).open() as file:
        separator = ";" if ";" in file.readline() else ","
    table = np.loadtxt(path, delimiter=separator, skiprows=1)
    draw = np.random.default_rng(0)
    for column in table.T:
        values = np.unique(column)
        if len(values) < 0.99 * len(column):
            column += np.min(np.diff(values)) * draw.random(len(column))
    return table[np.random.default_rng(1).permutation(len(table))]


def rows_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and held-out rows, standardized by the former."""
    if Path(name).is_file():
        table = columns_of(name)
        train, test = table[len(table) // 5 :], table[: len(table) // 5]
    else:
        sets = [data.SOURCES[name](split).examples for split in ("train", "test")]
        draw = np.random.default_rng(0)
        noise = [draw.random(each.shape) if each.dtype == np.uint8 else 0 for each in sets]
        train, test = ((x + u).reshape(len(x), -1) for x, u in zip(sets, noise, strict=True))
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    return tuple(((x - mean) / deviation).astype(np.float32) for x in (train, test))


def score_of(network: Any, params: Any) -> Any:
    return sj.make_score(SDE, lambda params, x, label: network.apply({"params": params}, x, label), params)


def trainer(network: Any, rows: np.ndarray, batch: int, lr: float) -> tuple[Any, Train]:
    """The state at first, and `(state, key, decay steps) -> state` over a hundred steps."""

    def loss(params: Any, key: jax.Array) -> jax.Array:
        which, times, noise = jax.random.split(key, 3)
        x = jnp.asarray(rows)[jax.random.randint(which, (batch,), 0, len(rows))]
        t = objectives.draw_times(times, SDE, batch, "stratified")
        return jnp.mean(objectives.denoising(noise, SDE, score_of(network, params), x, t=t))

    adam = optax.scale_by_adam()

    def step(total: jax.Array, state: Any, key: jax.Array) -> tuple[Any, None]:
        params, memory, average, count = state
        updates, memory = adam.update(jax.grad(loss)(params, key), memory)
        rate = lr * jnp.minimum(1, (count + 1) / 100) * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(count / total, 1)))
        params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
        decay = jnp.minimum(0.999, (1 + count) / (10 + count))
        average = jax.tree.map(lambda a, p: a + (1 - decay) * (p - a), average, params)
        return (params, memory, average, count + 1), None

    @jax.jit
    def hundred(state: Any, key: jax.Array, total: jax.Array) -> Any:
        return jax.lax.scan(functools.partial(step, total), state, jax.random.split(key, 100))[0]

    def first(key: jax.Array) -> Any:
        params = network.init(key, jnp.zeros((1, rows.shape[1])), jnp.ones(1))["params"]
        return params, adam.init(params), params, jnp.float32(0)

    return jax.jit(first), hundred


def relative_time(one: Any, other: Any, rounds: int = 5) -> tuple[float, float]:
    """Median over rounds of the time of a hundred steps of `other` over that of `one`, and the milliseconds of one."""

    def seconds(trainer: Any) -> float:
        start, total = time.perf_counter(), jnp.float32(1000)
        jax.block_until_ready(trainer[1](trainer[0](jax.random.key(0)), jax.random.key(1), total))
        return time.perf_counter() - start

    seconds(one), seconds(other)
    pairs = [(seconds(one), seconds(other)) for _ in range(rounds)]
    return statistics.median(b / a for a, b in pairs), statistics.median(10 * a for a, _ in pairs)


def bound(network: Any, params: Any, rows: np.ndarray) -> float:
    """Nats per column that denoising errors of held-out rows amount to."""
    levels = likelihood.denoising_levels(SDE, 32)
    errors = likelihood.denoising_errors(jax.random.key(7), SDE, score_of(network, params), jnp.asarray(rows), levels)
    return -float(jnp.mean(likelihood.density_of_errors(errors)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="*", default=["moons", "digits"])
    parser.add_argument("--csv", nargs="*", default=[])
    for name in ("mlp", "table_mlp"):
        parser.add_argument(f"--{name}", nargs="*", default=[], help="settings of the network, such as features=96")
    args = parser.parse_args()
    print("| table | rows x columns | network | parameters | steps | held-out bound, nats per column |")
    print("|---|---|---|---|---|---|")
    for table in [*args.tables, *args.csv]:
        train, test = rows_of(table)
        networks = {}
        for name in ("mlp", "table_mlp"):
            settings = {
                k: float(v) if "." in v else int(v) for k, v in (each.split("=") for each in getattr(args, name))
            }
            networks[name] = models.NETWORKS[name](**settings)
        trainers = {name: trainer(network, train, args.batch, args.lr) for name, network in networks.items()}
        ratio, unit = relative_time(trainers["mlp"], trainers["table_mlp"])
        for name, network in networks.items():
            hundreds = max(1, round(args.steps / (100 * (ratio if name == "table_mlp" else 1))))
            first, hundred = trainers[name]
            found = []
            for seed in range(args.seeds):
                state, total = first(jax.random.key(seed)), jnp.float32(100 * hundreds)
                for i in range(hundreds):
                    state = hundred(state, jax.random.key(1000 * (seed + 1) + i), total)
                found.append(bound(network, state[2], test))
            size = sum(leaf.size for leaf in jax.tree.leaves(state[0]))
            error = np.std(found, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.nan
            print(
                f"| {Path(table).stem} | {len(train)} x {train.shape[1]} | `{name}` | {size:,} | {100 * hundreds} "
                f"| {np.mean(found):.4f} +- {error:.4f} |",
                flush=True,
            )
        print(f"<!-- {Path(table).stem}: a step of table_mlp is {ratio:.2f} of mlp's {unit:.1f} ms -->", flush=True)


if __name__ == "__main__":
    main()
