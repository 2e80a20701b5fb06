"""Cold diffusion from nothing: digits from mean colors, from flat grays, and from other digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.slides import Given, draw, part, table
from scorejax.runtime.files import read_json

KINDS = {
    "generate": "mean colors of blurred images, with a little noise",
    "color": "one gray, which a hole that has grown over the image shows",
    "animorph": "other digits",
    "noise": "noise, with the noise estimated at each level",
}
SHOWN = 14  # samples in a row of the picture; two rows each


@part(
    title="Cold diffusion from nothing",
    slides="the title of the paper alone, as one of the other forward processes, with no numbers.",
    order=132,
    needs=("data_dir",),
    pictures={
        "cold-generation": "Digits by algorithm 2, two rows each, from mean colors, flat grays, digits, and noise"
    },
)
def cold_generation(given: Given, *, steps: int = 600, samples: int = 256) -> dict:
    rows, pages = {}, []
    for name in KINDS:
        run = given.run(f"cold_mnist:{name}", name, f"train.steps={steps}", f"eval.samples={samples}")
        rows[name] = given.kept(f"measured-{name}", lambda run=run: _measured(given, run))
        images = np.load(Path(rows[name].pop("folder")) / "x.npy", mmap_mode="r")[: 2 * SHOWN]
        pages.append(np.concatenate([np.concatenate(list(row), axis=1) for row in images.reshape(2, SHOWN, 28, 28, 1)]))
    figure, axes = draw.panels(len(pages), 1, width=8.0, height=1.2)
    for panel, name, page in zip(axes[:, 0], rows, pages, strict=True):
        draw.image(panel, page)
        panel.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    draw.save(figure, given.picture("cold-generation"))
    return {"rows": rows, "steps": steps}


def _measured(given: Given, run: Path) -> dict:
    """The samples of a run, measured and kept."""
    given.main(f"--workdir={run}", "--mode=eval", "--config.eval.restored=0")
    (report,) = (run / "eval").glob("step-*.json")
    drawn = read_json(report, dict, "delete it")["samples"]
    return {key: drawn[key] for key in ("folder", "n", "nfe", "frechet_distance", "frechet_floor")}


@cold_generation.says
def text(numbers: dict) -> str:
    lines = [
        [KINDS[name], row["nfe"], f"{row['frechet_distance']:.1f}", f"{row['frechet_floor']:.1f}"]
        for name, row in numbers["rows"].items()
    ]
    return f"""
`configs/cold_mnist.py` with `:generate`, `:color`, `:animorph` and `:noise`, a network of 179,000 parameters and {numbers["steps"]:,} steps
of batch 32 for each. The Frechet distance is that of {next(iter(numbers["rows"].values()))["n"]} samples in the features of a classifier
of digits, next to that of as many real digits.

{table(["digits from", "evaluations", "Frechet distance", "real digits"], lines)}

{_best(numbers["rows"])} The published models of this kind were trained for 700,000 steps on faces; what a step of restoration
cannot know, such as which digit it is to be, it averages over, and from a flat start that is nearly everything: digits of a
flat start are smooth strokes, alike one to another.
"""


def _best(rows: dict) -> str:
    first, second, *_ = sorted(rows, key=lambda name: rows[name]["frechet_distance"])
    return (
        f"Nearest to digits at this budget is the start from {KINDS[first].partition(',')[0]}, then that from "
        f"{KINDS[second].partition(',')[0]}."
    )
