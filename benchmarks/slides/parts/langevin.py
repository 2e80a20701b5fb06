"""Plain against annealed Langevin dynamics on the mixture 1/5 N((-5, -5), I) + 4/5 N((5, 5), I)."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

import scorejax as sj
from benchmarks.slides import Given, draw, line, part, table

WEIGHTS, MEANS, REACH = [0.2, 0.8], [[-5.0, -5.0], [5.0, 5.0]], 8.0
ALPHA, STEPS, SIGMAS = 0.1, 1000, np.geomspace(20.0, 1.0, 10)  # x <- x + alpha / 2 score + sqrt(alpha) z
STILL = sj.still()


def on_the_diagonal(std: float, alpha: float) -> line.Step:
    """A Langevin step along the diagonal, on the mixture whose components have this standard deviation."""
    law = sj.analytic.mixture(WEIGHTS, MEANS, [std, std])

    def step(u: np.ndarray, z: float) -> np.ndarray:
        x = np.zeros((_MOST, 2), np.float32)  # of one shape, compiled once
        x[: len(u)] = u[:, None] / 2**0.5
        moved = np.asarray(_moved(law, x, alpha, z), np.float64)
        return moved[: len(u)].sum(1) / 2**0.5

    return step


_MOST = 4096


@jax.jit
def _moved(law: sj.analytic.Mixture, x: jax.Array, alpha: jax.Array, z: jax.Array) -> jax.Array:
    score = law.score_at(STILL, x, jnp.asarray(0.0))
    return sj.samplers.langevin_step(x, score, alpha / 2, jnp.sqrt(alpha), jnp.full_like(x, z / 2**0.5))


def exact_weight(stds: Iterable[float], sizes: Iterable[float], steps: int, early: int = 30) -> float:
    """The weight of the mode at (5, 5) after as many steps of each size, from a uniform square."""
    u = line.grid(12.0, 0.02)
    density = line.uniform_square(u, REACH)
    for std, alpha in zip(stds, sizes, strict=True):
        step, reach = on_the_diagonal(std, alpha), 10.0 + 4.6 * std
        # A step is resolved by points as far apart as most of its noise, and the border of the basins by a hundredth of
        # the variance of the modes: that fine only as long as chains are near the border.
        for spacing, count in ((min(0.8 * alpha**0.5, std**2 / 60), early), (0.8 * alpha**0.5, steps - early)):
            onto = line.grid(reach, max(spacing, 2 * reach / (_MOST - 2)))
            u, density = onto, line.advance(u, density, step, count, onto)
    return line.above(u, density)


@part(
    title="Plain against annealed Langevin dynamics",
    slides="samples of the mixture 1/5 N((-5, -5), I) + 4/5 N((5, 5), I). Plain Langevin dynamics makes its modes about "
    "equally heavy; annealed Langevin dynamics gets their weights about right.",
    order=20,
    pictures={"langevin": "Independent samples, plain Langevin dynamics, annealed Langevin dynamics"},
)
def langevin(given: Given, *, chains: int = 16_000, shown: int = 1280, seed: int = 0) -> dict:
    plain_key, annealed_key, start_key, data_key = jax.random.split(jax.random.key(seed), 4)
    law = sj.analytic.mixture(WEIGHTS, MEANS, [1.0, 1.0])
    points = sj.analytic.mixture(WEIGHTS, MEANS, [0.0, 0.0])  # blurred by sigma, as the published toy
    start = jax.random.uniform(start_key, (chains, 2), minval=-REACH, maxval=REACH)
    found = {
        "independent samples": law.sample(data_key, chains),
        "plain Langevin": sj.sample(
            plain_key, STILL, law.score(STILL), start.shape, x_init=start, denoise=False,
            stepper=sj.samplers.ula(ALPHA, STEPS, convention="half"), times=sj.times.uniform(STILL, 1),
        ).x,
    }  # fmt: skip
    levels = sj.smld(1.0, 20.0, 10)
    found["annealed Langevin"] = sj.sample(
        annealed_key, levels, points.score(levels), start.shape, x_init=start, denoise=False,
        stepper=sj.samplers.annealed_langevin(ALPHA / 2, STEPS // 10), times=sj.times.uniform(levels, 9),
    ).x  # fmt: skip
    figure, axes = draw.panels(1, 3, width=4.0, height=4.2, sharex=True, sharey=True)
    for panel, (title, x) in zip(axes[0], found.items(), strict=True):
        panel.scatter(*np.asarray(x[:shown]).T, s=4, color=draw.ORANGE, alpha=0.5, linewidths=0)
        panel.set_title(f"{title}: {float(np.mean(x.sum(1) > 0)):.3f} at (5, 5)")
        panel.set_xlim(-9, 9)
        panel.set_ylim(-9, 9)
    draw.save(figure, given.picture("langevin"))

    honest = list(np.sqrt(1.0 + SIGMAS**2))
    many = np.geomspace(20.0, 1.0, 20)
    sizes = [ALPHA * s**2 for s in SIGMAS]
    inside = found["plain Langevin"][found["plain Langevin"].sum(1) > 0]
    return {
        "drawn": {name: float(np.mean(x.sum(1) > 0)) for name, x in found.items()},
        "chains": chains,
        "plain": exact_weight([1.0], [ALPHA], STEPS),
        "annealed": exact_weight(list(SIGMAS), sizes, STEPS // 10),
        "honest": exact_weight(honest, sizes, STEPS // 10),
        "honest_20": exact_weight(list(np.sqrt(1.0 + many**2)), [ALPHA * s**2 for s in many], STEPS // 10),
        "honest_long": exact_weight(honest, sizes, STEPS),
        "variance": float(np.var(np.asarray(inside), axis=0).mean()),
    }


@langevin.says
def text(numbers: dict) -> str:
    drawn, n = numbers["drawn"], numbers["chains"]

    def of(name: str) -> str:
        return f"{drawn[name]:.4f} +- {(drawn[name] * (1 - drawn[name]) / n) ** 0.5:.4f}"

    basin = 0.5 + 16 * np.log(4) / 10 / 256
    rows = [
        ["independent samples", "0.8", of("independent samples"), "4/5"],
        ["plain, 1,000 steps of alpha = 0.1", numbers["plain"], of("plain Langevin"), "about 1/2"],
        [
            "annealed, sigma from 20 to 1, 10 levels of 100 steps",
            numbers["annealed"],
            of("annealed Langevin"),
            "about 4/5",
        ],
        ["the same on the mixture blurred by N(0, sigma^2)", numbers["honest"], None, None],
        ["20 levels", numbers["honest_20"], None, None],
        ["10 levels of 1,000 steps", numbers["honest_long"], None, None],
    ]
    return f"""
Both start uniformly in the square [-8, 8]^2. The law of the chains is also computed without drawing: the mixture has its two
modes on the diagonal, along which a chain is one of its own, and its density after a step is an integral over the density
before. The weight of the mode at (5, 5):

{table(["dynamics", "exact law of the chain", f"of {n:,} chains", "the slides' picture"], rows)}

The two agree with the slides, and the plain chain does what theory says: the score hardly knows the weights, so each mode
keeps the basin it was started in, the side of the line on which the two terms of the density are equal, whose share of the
square is {basin:.4f}. Annealing begins where both modes are one, and loses a little on the way down; more levels or more
steps lose less. The published toy replaces the variance of the components by sigma^2, which changes next to nothing. Within
a mode the samples of plain Langevin dynamics have variance {numbers["variance"]:.3f} +- {numbers["variance"] / (n * numbers["plain"]) ** 0.5:.3f}, where the data have 1: a chain
with steps of alpha has 1 / (1 - alpha / 4) = {1 / (1 - ALPHA / 4):.4f}.
"""
