"""What the recipe of EDM is worth next to that of VP: the same network, steps and batch, measured at several budgets.

    python benchmarks/recipes.py [digits | mnist] [--data-dir=DIR] [--work=runs/recipes] [--only NAME ...]
                                 [--budgets 10 20 50 1000] [--samples=1000] [--stepper=dpm_solver] [KEY=VALUE ...]

Trains `configs/vp_digits.py` and `configs/edm_digits.py` (or those of MNIST) by `main.py`, and evaluates each. Printed
are the CPU seconds of each training, which another job on the machine does not change much; bits/dim of test examples;
and the Frechet distance of as many samples for each budget of network evaluations, from the same noise. With a
deterministic sampler the distances of one row differ by its discretization alone, not by chance. Other settings, such
as `train.steps=600`, go to both trainings and their evaluations. What is trained or
measured in the folder already is not done again.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

from scorejax.runtime.files import read_json, write_json

ROOT = Path(__file__).resolve().parent.parent
GRIDS = {"vp": "log_snr", "edm": "karras"}
"""By recipe, the time grid of its sampler."""


def main_py(*arguments: str) -> float:
    """Run `main.py ARGUMENTS` and return the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, str(ROOT / "main.py"), *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"main.py {' '.join(arguments)} ended with code {done.returncode}: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(where: Path, *arguments: str) -> dict:
    """The report of an evaluation, which is kept at `where`."""
    if not where.exists():
        run = next(part.partition("=")[2] for part in arguments if part.startswith("--workdir="))
        main_py("--mode=eval", *arguments)
        report = max((Path(run) / "eval").glob("step-*.json"), key=lambda path: path.stat().st_mtime)
        write_json(where, read_json(report, dict, "delete it"))
    return read_json(where, dict, "delete it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="digits", choices=("digits", "mnist"))
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--data-dir", help="prepared tensorflow-datasets")
    parser.add_argument("--work", default="runs/recipes")
    parser.add_argument("--only", nargs="*", default=list(GRIDS), choices=GRIDS)
    parser.add_argument("--budgets", nargs="*", type=int, default=[10, 20, 50, 1000])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--stepper", default="dpm_solver")
    args = parser.parse_intermixed_args()
    given = [f"--config.{each}" for each in args.settings]
    if args.data_dir:
        given.append(f"--config.data.data_dir={args.data_dir}")
    budgets = "".join(f" {n} evaluations |" for n in args.budgets)
    print(f"| recipe | CPU seconds | bits/dim |{budgets} real examples |")
    print(f"|---|---|---|{'---|' * len(args.budgets)}---|")
    for name in args.only:
        run = Path(args.work) / args.data / name
        if not (run / "seconds.json").exists():
            config = f"--config=configs/{name}_{args.data}.py"
            seconds = main_py(config, f"--workdir={run}", "--config.eval.after_training=false", *given)
            write_json(run / "seconds.json", {"cpu": seconds})
        seconds = read_json(run / "seconds.json", dict, "delete it")["cpu"]
        bits = measured(run / "bits.json", f"--workdir={run}", "--config.eval.samples=0", *given)["likelihood"]
        found = [
            measured(
                run / f"{args.stepper}-{n}.json", f"--workdir={run}", "--config.eval.likelihood_examples=1",
                "--config.eval.exact=false", f"--config.eval.samples={args.samples}",
                f"--config.sampler.stepper={args.stepper}", f"--config.sampler.steps={n}",
                f"--config.sampler.time_grid={GRIDS[name]}", *given,
            )["samples"]
            for n in args.budgets
        ]  # fmt: skip
        distances = "".join(f" {each['frechet_distance']:.2f} |" for each in found)
        error = f"{bits['bits_per_dim']:.3f} +- {bits['standard_error']:.3f}"
        print(f"| `{name}` | {seconds:.0f} | {error} |{distances} {found[0]['frechet_floor']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
