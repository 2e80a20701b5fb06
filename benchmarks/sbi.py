"""How well posteriors of parameters are learned from simulations, by the reference posteriors of sbibm.

    pip download --no-deps sbibm==1.1.0
    python benchmarks/sbi.py sbibm-1.1.0-py2.py3-none-any.whl [--tasks two_moons ...] [--simulations=10000]
                             [--observations=10] [--draws=10000] [--work=runs/sbi] [--picture=FILE] [KEY=VALUE ...]

The wheel is read as an archive of files (Lueckmann et al., arXiv 2101.04653): observations, and 10,000 reference draws
of the posterior of each. A posterior is trained on simulations of the prior, the same for all observations, and each
is judged by C2ST as published, the accuracy of a network of two layers that is to say which points are its draws and
which are reference draws, in the mean over five folds: 0.5 is a guess, 1 is always right. Columns: the mean over the
observations with its standard error; the least and the largest; what NPE reaches with as many simulations, as
published; CPU seconds of training, and of drawing for all observations. What was trained in the folder already is not
trained again.
"""

from __future__ import annotations

import argparse
import bz2
import os
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
import jax.numpy as jnp
import numpy as np

import scorejax as sj


class Task(NamedTuple):
    """A prior, a simulator `(key, theta [N, D]) -> x [N, K]`, and the published C2ST of NPE by simulations."""

    prior: sj.sbi.Prior
    simulate: Callable[[jax.Array, jax.Array], jax.Array]
    published: dict[int, float]


def two_moons(key: jax.Array, theta: jax.Array) -> jax.Array:
    """A noisy half circle, moved by the parameters."""
    of_angle, of_radius = jax.random.split(key)
    angle = jax.random.uniform(of_angle, (len(theta),), minval=-jnp.pi / 2, maxval=jnp.pi / 2)
    radius = 0.1 + 0.01 * jax.random.normal(of_radius, (len(theta),))
    circle = jnp.stack([radius * jnp.cos(angle) + 0.25, radius * jnp.sin(angle)], axis=1)
    away = jnp.stack([-jnp.abs(theta[:, 0] + theta[:, 1]), theta[:, 1] - theta[:, 0]], axis=1)
    return circle + away / jnp.sqrt(2.0)


def gaussian_linear(key: jax.Array, theta: jax.Array) -> jax.Array:
    """The parameters with noise of variance 0.1."""
    return theta + 0.1**0.5 * jax.random.normal(key, theta.shape)


def gaussian_mixture(key: jax.Array, theta: jax.Array) -> jax.Array:
    """The parameters with noise that is wide or narrow."""
    of_width, of_noise = jax.random.split(key)
    width = jnp.where(jax.random.bernoulli(of_width, 0.5, (len(theta), 1)), 1.0, 0.1)
    return theta + width * jax.random.normal(of_noise, theta.shape)


def slcp(key: jax.Array, theta: jax.Array) -> jax.Array:
    """Four points of a normal law whose mean and covariance are the parameters."""
    first, second = theta[:, 2] ** 2, theta[:, 3] ** 2
    rho = jnp.tanh(theta[:, 4])
    z = jax.random.normal(key, (len(theta), 4, 2))
    x = theta[:, None, 0] + first[:, None] * z[..., 0]
    y = theta[:, None, 1] + second[:, None] * (rho[:, None] * z[..., 0] + jnp.sqrt(1.0 - rho**2)[:, None] * z[..., 1])
    return jnp.stack([x, y], axis=-1).reshape(len(theta), 8)


TASKS = {
    "two_moons": Task(sj.sbi.uniform([-1.0] * 2, [1.0] * 2), two_moons, {1000: 0.725, 10_000: 0.606, 100_000: 0.542}),
    "gaussian_linear": Task(
        sj.sbi.normal([0.0] * 10, [0.1**0.5] * 10), gaussian_linear, {1000: 0.694, 10_000: 0.552, 100_000: 0.506}
    ),
    "gaussian_mixture": Task(
        sj.sbi.uniform([-10.0] * 2, [10.0] * 2), gaussian_mixture, {1000: 0.731, 10_000: 0.661, 100_000: 0.555}
    ),
    "slcp": Task(sj.sbi.uniform([-3.0] * 5, [3.0] * 5), slcp, {1000: 0.975, 10_000: 0.901, 100_000: 0.831}),
}


def reference(wheel: Path, task: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """An observation `[K]` and the draws of its posterior `[10000, D]`."""
    folder = f"sbibm/tasks/{task}/files/num_observation_{number}"
    with zipfile.ZipFile(wheel) as file:
        observed = np.loadtxt(file.read(f"{folder}/observation.csv").decode().splitlines()[1:], delimiter=",", ndmin=1)
        text = bz2.decompress(file.read(f"{folder}/reference_posterior_samples.csv.bz2")).decode()
    return observed, np.loadtxt(text.splitlines()[1:], delimiter=",", ndmin=2)


def c2st(draws: np.ndarray, wanted: np.ndarray) -> float:
    """Accuracy of a classifier of draws and reference draws, as sbibm defines it."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    mean, std = wanted.mean(axis=0), wanted.std(axis=0, ddof=1)
    data = np.concatenate([(wanted - mean) / std, (draws - mean) / std])
    labels = np.repeat([0, 1], [len(wanted), len(draws)])
    width = 10 * data.shape[1]
    network = MLPClassifier((width, width), activation="relu", max_iter=10_000, solver="adam", random_state=1)
    folds = KFold(n_splits=5, shuffle=True, random_state=1)
    return float(cross_val_score(network, data, labels, cv=folds, scoring="accuracy").mean())


def draw_picture(where: Path, found: list[tuple[np.ndarray, np.ndarray]], task: str) -> None:
    """Draws over reference draws, of the first two parameters, an observation each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = found[:4]
    figure, axes = plt.subplots(1, len(shown), figsize=(3.2 * len(shown), 3.2), squeeze=False)
    for i, (axis, (draws, wanted)) in enumerate(zip(axes[0], shown, strict=True), 1):
        axis.plot(wanted[:2000, 0], wanted[:2000, 1], ".", ms=2, color="0.6", label="reference")
        axis.plot(draws[:2000, 0], draws[:2000, 1], ".", ms=2, color="C1", alpha=0.5, label="learned")
        axis.set_title(f"{task}, observation {i}", fontsize=9)
    axes[0, 0].legend(fontsize=8, markerscale=4)
    figure.tight_layout()
    figure.savefig(where, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=TASKS)
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--observations", type=int, default=10)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--work", type=Path, default=Path("runs/sbi"))
    parser.add_argument("--picture", type=Path)
    args = parser.parse_intermixed_args()
    print("| task | C2ST | least, largest | NPE, published | CPU s, training | CPU s, draws |")
    print("|---|---|---|---|---|---|")
    for name in args.tasks:
        task, key = TASKS[name], jax.random.key(7)
        theta = task.prior.sample(jax.random.fold_in(key, 0), args.simulations)
        x = task.simulate(jax.random.fold_in(key, 1), theta)
        folder, began = args.work / f"{name}-{args.simulations}", time.process_time()
        if (folder / "checkpoints").is_dir():
            posterior = sj.sbi.load(folder)
        else:
            posterior = sj.sbi.fit(key, theta, x, prior=task.prior, workdir=folder, settings=tuple(args.settings))
        trained = time.process_time()
        found, wanted = [], []
        for number in range(1, args.observations + 1):
            observed, draws = reference(args.wheel, name, number)
            found.append(np.asarray(posterior.sample(jax.random.fold_in(key, number), observed, args.draws)))
            wanted.append(draws[: args.draws])
        drawn = time.process_time()
        values = np.array([c2st(a, b) for a, b in zip(found, wanted, strict=True)])
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        published = task.published.get(args.simulations)
        print(
            f"| {name} | {values.mean():.3f} +- {error:.3f} | {values.min():.3f}, {values.max():.3f} | "
            f"{'-' if published is None else published} | {trained - began:.0f} | {drawn - trained:.0f} |",
            flush=True,
        )
        if args.picture is not None and name == args.tasks[0]:
            draw_picture(args.picture, list(zip(found, wanted, strict=True)), name)


if __name__ == "__main__":
    main()
