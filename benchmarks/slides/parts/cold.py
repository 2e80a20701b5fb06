"""Cold diffusion on MNIST: what going through the levels gains over restoring at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.slides import Given, part, table
from scorejax import pictures
from scorejax.runtime.files import read_json

KINDS = {"degraded": "degraded", "direct": "direct", "naive": "algorithm 1", "corrected": "algorithm 2"}
PUBLISHED = {"blur": (4.69, 5.10), "inpaint": (1.61, 2.24)}  # of algorithm 2 and of direct restoration
SHOWN = 12  # images of each degradation in the picture


@part(
    title="Cold diffusion",
    slides="the title of the paper alone, as one of the other forward processes, with no numbers.",
    order=130,
    needs=("data_dir",),
    pictures={
        "cold": "Blurs, holes, and 3 x 3 pixels: test digits, degraded, restored directly, by algorithm 1, and by "
        "algorithm 2"
    },
)
def cold(given: Given, *, steps: int = 600, restored: int = 300) -> dict:
    rows, page = {}, []
    for name in ("blur", "inpaint", "pixelate"):
        run = given.run(f"cold_mnist:{name}", name, f"train.steps={steps}", f"eval.restored={restored}")
        rows[name] = given.kept(f"measured-{name}", lambda run=run: measured(given, run))
        arrays = Path(rows[name].pop("folder"))
        page += [np.load(arrays / f"{kind}.npy")[:SHOWN] for kind in ("clean", *KINDS)]
    pictures.save_grid(given.picture("cold"), np.concatenate(page), columns=SHOWN, scale=2)
    return {"rows": rows, "steps": steps, "restored": restored}


def measured(given: Given, run: Path) -> dict:
    """The restorations of a run, measured and kept."""
    given.main(f"--workdir={run}", "--mode=eval", "--config.eval.samples=0")
    (report,) = (run / "eval").glob("step-*.json")
    return read_json(report, dict, "delete it")["restoration"]


@cold.says
def text(numbers: dict) -> str:
    any_row = next(iter(numbers["rows"].values()))
    floor = any_row["kinds"]["clean"]["frechet_distance"]
    return f"""
Three of the published degradations of MNIST, a network of 179,000 parameters for each, {numbers["steps"]} steps of batch 32
(about two and a half minutes of CPU time), and {numbers["restored"]} test digits. RMSE is in units of the range of gray levels. The
Frechet distance is that to 10,000 training digits in the features of a small classifier of digits
(`{any_row["features"]}`), where the test digits themselves have {floor:.2f}; its error is a jackknife over ten groups.

{restorations(numbers["rows"], PUBLISHED)}

The published distances are of Inception features and of networks that were trained for 700,000 steps, so that the two columns
cannot be compared, but their order can. The paper has algorithm 2 ahead of direct restoration in the distance, for blurs and for
holes.
{verdict(numbers["rows"])}
In RMSE {closer(numbers["rows"])}; the paper too has direct restoration nearer to the original and algorithm 2 nearer to the
data. Algorithm 1 {naive(numbers["rows"])}.

Of a blur this wide, 20 times with a standard deviation of 7 pixels, hardly more than the mean is left after two levels. The
network then has to go by small differences from it, which takes a longer training. Where part of the image is left, as with
holes, the levels help already: direct restoration is blurred inside of the hole, and algorithm 2 draws strokes.
"""


def restorations(rows: dict, published: Mapping[str, tuple[float, float]]) -> str:
    """The table of every degradation and way to restore, next to the published distances (algorithm 2, direct)."""
    lines = []
    for name, row in rows.items():
        for kind, words in KINDS.items():
            own = row["kinds"][kind]
            printed = published.get(name, ("", ""))
            lines.append(
                [
                    f"{name}, {row['levels']} levels" if kind == "degraded" else "",
                    words,
                    *(f"{own[key]['mean']:.3f} +- {own[key]['standard_error']:.3f}" for key in ("rmse", "ssim")),
                    f"{own['frechet_distance']:.2f} +- {own['frechet_error']:.2f}",
                    {"corrected": printed[0], "direct": printed[1]}.get(kind, ""),
                ]
            )
    return table(["degradation", "restored", "RMSE", "SSIM", "Frechet distance", "published"], lines)


def verdict(rows: dict) -> str:
    """For each degradation, whether algorithm 2 is ahead in the Frechet distance, beyond twice the errors."""
    found: dict[str, list[str]] = {"ahead": [], "behind": [], "level": []}
    for name, row in rows.items():
        (two, e2), (one, e1) = (
            (row["kinds"][kind]["frechet_distance"], row["kinds"][kind]["frechet_error"])
            for kind in ("corrected", "direct")
        )
        place = "level" if abs(two - one) < 2 * (e1**2 + e2**2) ** 0.5 else "ahead" if two < one else "behind"
        found[place].append(f"`{name}` ({two:.1f} to {one:.1f})")
    words = {"ahead": "it is ahead", "behind": "it is behind", "level": "the two are level within the errors"}
    said = [f"{words[place]} for {' and '.join(names)}" for place, names in found.items() if names]
    return f"Here {'; '.join(said)}."


def closer(rows: dict) -> str:
    """For which degradations direct restoration has the smaller error of each image, beyond twice the errors."""
    first = []
    for name, row in rows.items():
        one, two = (row["kinds"][kind]["rmse"] for kind in ("direct", "corrected"))
        error = (one["standard_error"] ** 2 + two["standard_error"] ** 2) ** 0.5
        first += [f"`{name}`"] if two["mean"] - one["mean"] > 2 * error else []
    return f"direct restoration is ahead for {' and '.join(first)}" if first else "no way is ahead of the other"


def naive(rows: dict) -> str:
    """How often algorithm 1 is worse than algorithm 2."""
    worse = [
        name
        for name, row in rows.items()
        if row["kinds"]["naive"]["frechet_distance"] > row["kinds"]["corrected"]["frechet_distance"]
    ]
    names = ", ".join(f"`{name}`" for name in worse)
    return f"is further from the data than algorithm 2 for {names}" if worse else "is nowhere behind algorithm 2"
