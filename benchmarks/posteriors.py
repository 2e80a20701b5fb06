"""How well methods draw from posteriors that are known exactly: coverage, widths, errors of means, shares of modes.

    python benchmarks/posteriors.py [--worlds w1 w2 w3] [--only WORDS ...] [--replicates=300] [--picture=FILE]

Every method is given the exact score of the prior, so that what is measured is the method and not a network. VP,
99 draws of each posterior. Columns: coverage of central 90 % intervals of the coordinates and of 90 % regions of
highest density (both 0.900); median of the standard deviation of the draws over the exact one (1); by how many decibels
the mean of the draws is worse than the posterior mean (0.044 for exact draws); root mean square error of the shares of
the modes, whose floor is that of exact draws; evaluations of the score for the 99 draws, in thousands. All methods meet
the same data and measurements, so that they are held against exact draws. Nothing is tuned to a world: the standard
deviation of its data and the noise of its measurement are all that a method is given.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
import jax.numpy as jnp
import numpy as np

import scorejax as sj
from scorejax import calibration, guidance, posterior, samplers
from scorejax.guidance import likelihoods

SDE, DRAWS = sj.vp(), 99
GRID, HALF, SHORT = (sj.times.log_snr(SDE, n) for n in (100, 50, 20))
SOLVER = samplers.sde_dpm_solver()
Draw = Callable[[jax.Array, jax.Array, int], jax.Array]
WORLDS: dict[str, Callable] = {
    **{name: getattr(sj.worlds, name) for name in ("w1", "w2", "w3")},
    **{
        f"levy-{seen}": partial(sj.worlds.levy, "gaussian", seen)
        for seen in ("identity", "blur", "sampling", "fourier")
    },
}


class Setting:
    """One world as methods see it: its prior's score, its likelihood, and the standard deviation of its data."""

    def __init__(self, world) -> None:
        self.world, self.score, self.dim = world, world.law.score(SDE), world.law.means.shape[1]
        self.linear = hasattr(world, "operator")
        self.operator = world.operator if self.linear else world.measure
        self.std = float(np.sqrt(np.trace(world.law.covariance()) / self.dim))
        # of the widest coupling that the exact kernel allows
        self.rho = (
            world.sigma_y / float(np.linalg.norm(np.asarray(self.operator.matrix), 2)) if self.linear else world.sigma_y
        )

    def likelihood(self, y):
        return likelihoods.gaussian(self.operator, y[None], self.world.sigma_y)

    def potential(self, y, kind, **options):
        return guidance.potential(SDE, self.score, self.likelihood(y), kind=kind, data_std=self.std, **options)


def sampled(s: Setting, score: Callable, stepper=None, times=GRID) -> Draw:
    """Plain samples of a score of the measurement."""
    stepper = samplers.ancestral() if stepper is None else stepper
    return lambda key, y, n: sj.sample(key, SDE, score(y), (n, s.dim), stepper=stepper, times=times).x


def guided(s: Setting, kind: str, stepper=None) -> Draw:
    return sampled(s, lambda y: s.potential(y, kind).score, stepper)


def weighed(s: Setting, kind: str | None, particles: int, stepper=None, **options) -> Draw:
    """Twisted sequential Monte Carlo."""

    def draw(key, y, n):
        own = jax.random.split(key)
        twist = None if kind is None else s.potential(y, kind, **options)
        found = posterior.smc(
            own[0], SDE, s.score, (1, s.dim), particles=particles, potential=twist, log_likelihood=s.likelihood(y),
            times=GRID, stepper=stepper,
        )  # fmt: skip
        return found.draw(own[1], n)[0]

    return draw


def refined(s: Setting, draw: Draw) -> Draw:
    """Metropolis-adjusted moves after another method."""

    def moved(key, y, n):
        own = jax.random.split(key)
        x = draw(own[0], y, n)
        return posterior.refine(own[1], SDE, s.score, x, s.likelihood(y)).x

    return moved


def gibbs(s: Setting, draw: Draw | None, rho, sweeps: int, *, exact: bool = False, stepper=None) -> Draw:
    """Split Gibbs, from draws of another method or of the prior."""

    def moved(key, y, n):
        own = jax.random.split(key)
        x = None if draw is None else draw(own[0], y, n)
        return posterior.split_gibbs(
            own[1], SDE, s.score, (n, s.dim), likelihood=s.likelihood(y), rho=rho, sweeps=sweeps, exact=exact, x_init=x,
            stepper=stepper,
        ).x  # fmt: skip

    return moved


def methods(s: Setting) -> dict[str, tuple[Draw, float]]:
    """Each method by name, with thousands of evaluations for 99 draws."""
    exact, many = s.world.draw, DRAWS * 101 / 1000
    falling = np.geomspace(10.0 * s.rho, 0.3 * s.rho, 30)
    smc = {n: n * 101 / 1000 for n in (64, 256)}
    moves = DRAWS * 251 / 1000

    def alternating(method, times, **options) -> Draw:
        return lambda key, y, n: (
            method(key, SDE, s.score, (n, s.dim), likelihood=s.likelihood(y), times=times, **options).x
        )

    found: dict[str, tuple[Draw, float]] = {"exact draws": (exact, 0.0)}
    if s.linear:
        right = lambda y: s.world.posterior(y).score(SDE)  # noqa: E731
        for n, times in ((25, sj.times.log_snr(SDE, 25)), (50, HALF), (100, GRID)):
            found[f"exact score, ancestral, {n} steps"] = (sampled(s, right, times=times), DRAWS * (n + 1) / 1000)
            found[f"exact score, sde_dpm_solver, {n} steps"] = (
                sampled(s, right, SOLVER, times), DRAWS * (n + 1) / 1000,
            )  # fmt: skip
        found["exact score, unipc of order 3, 20 steps"] = (
            sampled(s, right, samplers.unipc(3), SHORT), DRAWS * 21 / 1000,
        )  # fmt: skip
    found["dps, sigma_y"] = (guided(s, "dps"), many)
    if s.linear:
        zeta = lambda y: guidance.dps(SDE, s.score, s.operator, y[None], zeta=1.0)  # noqa: E731
        found["dps, zeta=1"] = (sampled(s, zeta), many)
        found["pigdm"] = (guided(s, "pigdm"), many)
        found["moment_matching"] = (guided(s, "mmps"), many)
        found["pigdm, sde_dpm_solver"] = (guided(s, "pigdm", SOLVER), many)
        found["moment_matching, sde_dpm_solver"] = (guided(s, "mmps", SOLVER), many)
        found["ddrm"] = (
            lambda key, y, n: guidance.ddrm(
                key, SDE, s.score, s.operator, jnp.broadcast_to(y, (n, *y.shape)), s.world.sigma_y, shape=(n, s.dim),
                times=GRID,
            ).x,
            many,
        )  # fmt: skip
        for renewed in (1.0, 0.3):
            found[f"diffpir, renewed={renewed:g}"] = (alternating(posterior.diffpir, GRID, renewed=renewed), many)
    else:
        found["widened"] = (guided(s, "widened"), many)
    found["daps, 50 levels of 5"] = (alternating(posterior.daps, HALF), DRAWS * 251 / 1000)
    found["split_gibbs, 30 sweeps, rho falling"] = (gibbs(s, None, falling, 30), DRAWS * (31 * 21) / 1000)
    if s.linear:
        found["pigdm, then 10 exact sweeps"] = (
            gibbs(s, guided(s, "pigdm", SOLVER), s.rho, 10, exact=True), many + DRAWS * 210 / 1000,
        )  # fmt: skip
        for name, stepper in {
            "ancestral": samplers.ancestral(),
            "forward": samplers.ancestral("forward"),
            "sde": SOLVER,
        }.items():
            found[f"exact draws, then 10 exact sweeps, {name}"] = (
                gibbs(s, exact, s.rho, 10, exact=True, stepper=stepper), DRAWS * 210 / 1000,
            )  # fmt: skip
        found["smc without potential, N=256"] = (weighed(s, None, 256), smc[256])
        found["smc, dps, N=256"] = (weighed(s, "dps", 256), smc[256])
        for n in (64, 256):
            found[f"smc, pigdm, N={n}"] = (weighed(s, "pigdm", n), smc[n])
            found[f"smc, pigdm, sde_dpm_solver, N={n}"] = (weighed(s, "pigdm", n, SOLVER), smc[n])
        found["smc, moment_matching, sde_dpm_solver, N=64"] = (weighed(s, "mmps", 64, SOLVER), smc[64])
        best = weighed(s, "pigdm", 256, SOLVER)
        found["pigdm, sde_dpm_solver, then refine"] = (refined(s, guided(s, "pigdm", SOLVER)), many + moves)
    else:
        for n in (64, 256):
            found[f"smc, dps, N={n}"] = (weighed(s, "dps", n), smc[n])
            found[f"smc, widened, N={n}"] = (weighed(s, "widened", n), smc[n])
        best = weighed(s, "widened", 256, SOLVER)
        found["smc, widened, sde_dpm_solver, N=256"] = (best, smc[256])
        found["smc, widened twice, sde_dpm_solver, N=256"] = (weighed(s, "widened", 256, SOLVER, kappa=2.0), smc[256])
    found["dps, then refine"] = (refined(s, guided(s, "dps")), many + moves)
    found["smc, sde_dpm_solver, N=256, then refine"] = (refined(s, best), smc[256] + moves)
    return found


def measure(s: Setting, draw: Draw, replicates: int) -> calibration.Calibration:
    world = s.world
    return calibration.run(
        jax.random.key(0), world.simulate, draw, replicates=replicates, draws=DRAWS, chunk=50, exact=world.exact,
        regions=world.regions, log_density=world.log_joint,
    )  # fmt: skip


def row(name: str, found: calibration.Calibration, thousands: float) -> str:
    cells = []
    for each, digits in (
        (found.coverage, 3), (found.hpd, 3), (found.std_ratio, 3), (found.gap_db, 3), (found.shares, 3),
    ):  # fmt: skip
        assert each is not None
        cells.append("not finite" if np.isnan(each.value) else f"{each.value:.{digits}f} ± {each.stderr:.{digits}f}")
    return f"| {name} | {' | '.join(cells)} | {thousands:.1f} |"


def picture(where: Path, replicates: int) -> None:
    """Draws of one posterior of the first world by six methods, and the ranks of the truth among them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    s = Setting(WORLDS["w1"]())
    shown = {
        "exact draws": "exact",
        "dps, sigma_y": "dps",
        "pigdm": "pigdm",
        "split_gibbs, 30 sweeps, rho falling": "split_gibbs",
        "smc, pigdm, sde_dpm_solver, N=256": "smc",
        "smc, sde_dpm_solver, N=256, then refine": "smc, then refine",
    }
    # a measurement that leaves both modes open
    y, every = jnp.array([0.0]), methods(s)
    share = float(s.world.exact(y).shares[0])
    figure = Figure(figsize=(15.0, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(shown))
    for column, (name, title) in enumerate(shown.items()):
        draw = every[name][0]
        x = np.asarray(jax.jit(lambda key, draw=draw: draw(key, y, 600))(jax.random.key(1)))
        top, bottom = axes[:, column]
        top.scatter(*x.T, s=4, color="C0" if column else "0.3")
        top.set(xlim=(-4, 4), ylim=(-1.5, 2.0), title=f"{title}\nleft {np.mean(x[:, 0] < 0):.2f}, exact {share:.2f}")
        found = measure(s, draw, replicates)
        bottom.hist(found.ranks[:, 0], bins=np.arange(0, DRAWS + 2, 10) - 0.5, color="C0" if column else "0.3")
        bottom.axhline(replicates / 10, color="C3", lw=1)
        bottom.set(xlabel=f"90 % intervals hold {found.coverage.value:.1%}", ylim=(0, 0.28 * replicates))
    axes[0, 0].set_ylabel("draws of one posterior")
    axes[1, 0].set_ylabel(f"ranks, {replicates} posteriors")
    figure.savefig(where, dpi=80)
    print(where)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=["w1", "w2", "w3"])
    parser.add_argument("--only", nargs="+", help="methods whose names hold one of these")
    parser.add_argument("--replicates", type=int, default=300)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    if args.picture:
        picture(args.picture, args.replicates)
        return
    for name in args.worlds:
        s = Setting(WORLDS[name]())
        print(f"\n{name}, {args.replicates} posteriors\n")
        print("| method | coverage | HPD | std | gap, dB | shares | evaluations |\n|---|---|---|---|---|---|---|")
        for method, (draw, thousands) in methods(s).items():
            if args.only and not any(word in method for word in args.only):
                continue
            began = time.perf_counter()
            found = measure(s, draw, args.replicates)
            print(row(method, found, thousands), flush=True)
            print(f"{method}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
