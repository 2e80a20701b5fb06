"""The history of generative models on one data set, at one budget of training."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.slides import Given, draw, part, table


class System(NamedTuple):
    """A row of the table.

    Attributes:
        title: its name and the year of its paper.
        measured: section of the evaluation with its bits/dim; None: it has none.
        called: what those are.
    """

    title: str
    measured: str | None
    called: str


SYSTEMS = {
    "vae": System("VAE (2014)", "evidence", "upper bound"),
    "gan": System("GAN (2014)", None, "none"),
    "flow": System("flow: RealNVP (2017)", "likelihood", "exact"),
    "ebm": System("energy (2019)", "partition", "estimate, annealed"),
    "dpm": System("diffusion: Sohl-Dickstein (2015)", "elbo", "upper bound"),
    "ddpm": System("DDPM (2020)", "elbo", "upper bound"),
    "score_sde": System("score SDE (2021)", "likelihood", "exact, by its ODE"),
}
SHOWN = 16  # samples in a row of the picture


@part(
    title="The history of generative models, at one budget",
    slides="A list of the early stage (VAE, GAN, normalizing flow) and of the current one (score matching, DDPM, SDE).",
    order=120,
    pictures={"history": "Samples of each after about the same CPU time of training, in the order of the table"},
    needs=("data_dir",),
)
def history(given: Given, *, systems: str = ",".join(SYSTEMS), samples: int = 256, timed: int = 16) -> dict[str, Any]:
    rows, pages = {}, []
    for name in systems.split(","):
        rows[name] = _row(given, name, samples, timed)
        pages.append(np.load(Path(rows[name].pop("folder")) / "x.npy", mmap_mode="r")[:SHOWN])
    figure, axes = draw.panels(len(pages), 1, width=8.0, height=0.62)
    for panel, name, page in zip(axes[:, 0], rows, pages, strict=True):
        draw.image(panel, np.concatenate(list(page), axis=1))
        panel.set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center", fontsize=9)
    draw.save(figure, given.picture("history"))
    return {"rows": rows}


@history.says
def text(numbers: dict[str, Any]) -> str:
    lines = []
    for name, row in numbers["rows"].items():
        bits = "none"
        if row["bits"] is not None:
            bits = f"{row['bits']:.2f} +- {row['bits_error']:.2f} ({SYSTEMS[name].called}; {row['examples']:,} images)"
        frechet = f"{row['frechet']:.1f}"
        each = row["sample_cpu_seconds"]
        lines.append([
            SYSTEMS[name].title, bits, frechet, f"{row['nfe']:,}", f"{1000 * each:,.1f}",
            f"{row['parameters'] / 1000:,.0f}", f"{row['training_cpu_seconds'] / 60:.1f}", f"{row['steps']:,}",
        ])  # fmt: skip
    rows = numbers["rows"]
    first = next(iter(rows.values()))
    nearest, farthest = (pick(rows, key=lambda name: rows[name]["frechet"]) for pick in (min, max))
    quickest, slowest = (pick(rows, key=lambda name: rows[name]["sample_cpu_seconds"]) for pick in (min, max))
    ratio = rows[slowest]["sample_cpu_seconds"] / rows[quickest]["sample_cpu_seconds"]
    minutes = [row["training_cpu_seconds"] / 60 for row in rows.values()]
    absent = [system.title for name, system in SYSTEMS.items() if name not in rows]
    left_out = (
        f" Not measured here: {', '.join(absent)}; `--set history.systems={','.join(SYSTEMS)}`." if absent else ""
    )
    energy = ""
    if (ess := rows.get("ebm", {}).get("ess")) is not None:
        energy = (
            " Those of the energy are no more than a hint: it is the energy of noisy images, and its partition function "
            f"rests on {ess:.1f} chains (effective number) of annealed importance sampling."
        )
    return "\n\n".join([
        table(
            ["", "bits/dim", "Frechet distance", "evaluations per sample", "CPU milliseconds per sample",
             "thousand parameters", "CPU minutes of training", "steps"],
            lines,
        ),
        f"MNIST, `configs/history.py`, {min(minutes):.1f} to {max(minutes):.1f} minutes of CPU time of the process that "
        f"trains, with its compilation. The Frechet distance is of {first['samples']} samples in the features of a "
        f"classifier of MNIST, where as many real images are {first['frechet_floor']:.1f} from the others. Samples were "
        "timed one model after the other, on a machine with other work. Bits/dim of the autoencoder and of the "
        "chains are of gray levels, to which a decoder gives probabilities (of DDPM "
        "with 100 of its 1,000 levels); those of the flow and of the SDE are of "
        "dequantized images, which have noise in them that a density must cover." + energy,
        "The slides print no number. At this budget the samples nearest to the data are those of "
        f"{SYSTEMS[nearest].title}, and farthest are those of {SYSTEMS[farthest].title}. "
        f"{SYSTEMS[quickest].title} draws {ratio:,.0f} times as fast as "
        f"{SYSTEMS[slowest].title}. What a minute of training makes of an idea says little about where it ends: the "
        "score model of `configs/vp_mnist.py` is the same idea as the last row with 18 minutes on both cores." + left_out,
    ])  # fmt: skip


def _row(given: Given, name: str, samples: int, timed: int) -> dict[str, Any]:
    """All numbers of a system; training, evaluation and timing are each done once."""
    folder = given.work / name

    def trained() -> dict[str, Any]:
        before = _cpu_of_children()
        given.run(f"configs/history.py:{name}", name)
        return {"cpu_seconds": _cpu_of_children() - before}

    training = given.kept(f"{name}-training", trained, settings={"system": name})

    def measured() -> dict[str, Any]:
        given.main(f"--workdir={folder}", "--mode=eval", f"--config.eval.samples={samples}")
        [report] = (folder / "eval").glob("step-*.json")
        return {"report": str(report)}

    report = given.kept(f"{name}-evaluation", measured, settings={"samples": samples})["report"]
    found = json.loads(Path(report).read_text())
    section = SYSTEMS[name].measured
    timing = given.kept(f"{name}-timing", lambda: _sampling(folder, timed), settings={"timed": timed})
    return {
        "bits": found[section]["bits_per_dim"] if section else None,
        "bits_error": found[section]["standard_error"] if section else None,
        "examples": found[section]["examples"] if section else None,
        "frechet": found["samples"]["frechet_distance"],
        "frechet_floor": found["samples"]["frechet_floor"],
        "ess": found[section].get("ess") if section else None,
        "samples": samples,
        "nfe": found["samples"]["nfe"],
        "folder": found["samples"]["folder"],
        "training_cpu_seconds": training["cpu_seconds"],
        "steps": found["step"],
        **timing,
    }


def _cpu_of_children() -> float:
    """CPU seconds of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _sampling(folder: Path, count: int) -> dict[str, Any]:
    """CPU seconds for each of `count` samples that are drawn at once, by a program that is compiled already."""
    from scorejax.experiment.evaluation import draw as drawing
    from scorejax.experiment.evaluation import variances
    from scorejax.experiment.evaluation.subject import Subject
    from scorejax.experiment.trained import restore
    from scorejax.experiment.workdir import saved_config

    trained = restore(saved_config(folder), folder)
    fn, held = drawing.batch_function(variances.with_fitted(Subject(trained), folder))
    program, index = jax.jit(fn), np.arange(count)
    jax.block_until_ready(program(held, index))
    began = time.process_time()
    jax.block_until_ready(program(held, index))
    seconds = (time.process_time() - began) / count
    return {"sample_cpu_seconds": seconds, "parameters": sum(leaf.size for leaf in jax.tree.leaves(trained.params))}
