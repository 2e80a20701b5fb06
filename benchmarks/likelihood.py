"""Error of the log-likelihood against evaluations of the network: adaptive, multistep, and SciPy's RK45.

    python benchmarks/likelihood.py WORKDIR [--examples=48]

`WORKDIR` is a trained run of gray levels, such as that of `configs/vp_digits.py`. All solvers have the same weights,
images, places within gray levels and probe, which is fixed along the path: what is left is the error of the solver. The
reference is the multistep method with 2,049 nodes. RK45 is used as Score-SDE does: the whole batch is one state, with
`rtol = atol`, and each stage is a call from the host. Columns: evaluations, the mean over the images; root mean square
error in bits/dim; seconds for all images, compiled before, the least of three runs.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import scorejax as sj
from scorejax.experiment.assemble import dataset
from scorejax.scores.jacobian import draw, score_and_products

KEY = jax.random.key(11)


def best_of(run: Callable[[], object], times: int = 3) -> float:
    """The least seconds of some runs, after one that compiles."""
    jax.block_until_ready(run())
    found = []
    for _ in range(times):
        began = time.perf_counter()
        jax.block_until_ready(run())
        found.append(time.perf_counter() - began)
    return min(found)


def rk45(sde: sj.LinearSDE, score: Callable, x: jax.Array, tolerance: float) -> tuple[np.ndarray, int]:
    """Log densities by SciPy's RK45 of the flattened batch, and its evaluations."""
    shape, dimension = x.shape, math.prod(x.shape[1:])
    vectors = draw(jax.random.split(KEY, len(x)), x, "rademacher", 1)
    products = score_and_products(score)

    @jax.jit
    def field(x: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        times = jnp.full(len(x), t)
        value, product = products(x, times, vectors)
        half = 0.5 * sde.diffusion_squared(t)
        trace = jnp.sum((vectors * product).reshape(len(x), -1), axis=1)
        return sde.drift(x, times) - half * value, sde.drift_rate(t) * dimension - half * trace

    def slope(t: float, state: np.ndarray) -> np.ndarray:
        found = field(jnp.asarray(state[: -len(x)].reshape(shape), jnp.float32), jnp.float32(t))
        return np.concatenate([np.asarray(part, np.float64).ravel() for part in found])

    start = np.concatenate([np.asarray(x, np.float64).ravel(), np.zeros(len(x))])
    ends = float(sde.t_min), float(sde.t_max)
    solved = solve_ivp(slope, ends, start, rtol=tolerance, atol=tolerance, method="RK45")
    end, change = solved.y[: -len(x), -1].reshape(shape), solved.y[-len(x) :, -1]
    return np.asarray(sde.prior_logp(jnp.asarray(end, jnp.float32))) + change, solved.nfev


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir")
    parser.add_argument("--examples", type=int, default=48)
    args = parser.parse_args()
    run = sj.load(args.workdir)
    held_out = dataset(run.config, "test")
    raw = jnp.asarray(np.asarray(held_out.examples[: args.examples]))
    x = run.space.to_model(jax.random.split(jax.random.key(3), len(raw)), raw)
    sde, score = run.sde, run.model.score_given(None)
    keys, bits = jax.random.split(KEY, len(x)), math.prod(x.shape[1:]) * math.log(2.0)

    def multistep(nodes: int) -> sj.LogProb:
        return sj.log_prob(keys, sde, score, x, method="multistep", nodes=nodes, probing="fixed", doubling=False)

    def adaptive(tolerance: float) -> sj.LogProb:
        return sj.log_prob(keys, sde, score, x, rtol=tolerance, atol=tolerance)

    truth = np.asarray(multistep(2049).value, np.float64)

    def row(name: str, value: np.ndarray, evaluations: float, seconds: float) -> None:
        error = np.sqrt(np.mean((np.asarray(value, np.float64) - truth) ** 2)) / bits
        print(f"| {name} | {evaluations:.0f} | {error:.1e} | {seconds:.2f} |", flush=True)

    print("| method | evaluations | bits/dim, rms | seconds |")
    print("|---|---|---|---|")
    for nodes in (33, 65, 97, 193, 385):
        found = multistep(nodes)
        row(f"multistep, {nodes} nodes", found.value, nodes, best_of(lambda nodes=nodes: multistep(nodes).value))
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-5):
        found = adaptive(tolerance)
        seconds = best_of(lambda tolerance=tolerance: adaptive(tolerance).value)
        row(f"adaptive, {tolerance:g}", found.value, float(found.nfe.mean()), seconds)
    for tolerance in (1e-3, 1e-4, 1e-5):
        value, evaluations = rk45(sde, score, x, tolerance)
        began = time.perf_counter()
        rk45(sde, score, x, tolerance)
        row(f"RK45 (SciPy), {tolerance:g}", value, evaluations, time.perf_counter() - began)


if __name__ == "__main__":
    main()
