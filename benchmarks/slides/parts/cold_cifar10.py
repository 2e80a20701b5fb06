"""Cold diffusion on CIFAR-10: color images, with the published degradations and a network for a CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.slides import Given, part
from benchmarks.slides.parts.cold import KINDS, closer, measured, naive, restorations, verdict
from scorejax import pictures

PUBLISHED = {"blur": (80.08, 83.69), "inpaint": (8.92, 9.97)}  # of algorithm 2 and of direct restoration
SHOWN = 12  # images of each degradation in the picture


@part(
    title="Cold diffusion of color images",
    slides="the title of the paper alone, as one of the other forward processes, with no numbers.",
    order=131,
    needs=("data_dir",),
    pictures={
        "cold-cifar10": "For each degradation of the table in turn: test images, degraded, restored directly, by "
        "algorithm 1, and by algorithm 2"
    },
)
def cold_cifar10(
    given: Given, *, degradations: str = "blur,inpaint,pixelate,decolor,snow", steps: int = 400, restored: int = 200
) -> dict:
    rows, page = {}, []
    for name in degradations.split(","):
        settings = (f"train.steps={steps}", f"eval.restored={restored}")
        run = given.run(f"cold_cifar10:{name},small", name, *settings)
        rows[name] = given.kept(
            f"measured-{name}", lambda run=run: measured(given, run), {"steps": steps, "restored": restored}
        )
        arrays = Path(rows[name].pop("folder"))
        page += [np.load(arrays / f"{kind}.npy")[:SHOWN] for kind in ("clean", *KINDS)]
    pictures.save_grid(given.picture("cold-cifar10"), np.concatenate(page), columns=SHOWN)
    return {"rows": rows, "steps": steps, "restored": restored}


@cold_cifar10.says
def text(numbers: dict) -> str:
    any_row = next(iter(numbers["rows"].values()))
    floor = any_row["kinds"]["clean"]["frechet_distance"]
    return f"""
Published degradations of CIFAR-10 ({", ".join(numbers["rows"])}), the network of `configs/cold_cifar10.py:small` for each, {numbers["steps"]} steps of
batch 32, and {numbers["restored"]} test images. The images are a copy of CIFAR-10 that was stored as JPEG of quality 75. The
Frechet distance is that to 10,000 training images in the features `{any_row["features"]}`, where the test images themselves
have {floor:.2f}; its error is a jackknife over ten groups.

{restorations(numbers["rows"], PUBLISHED)}

The published distances are of Inception features and 700,000 steps: their order can be compared, their values cannot. The
paper has algorithm 2 ahead of direct restoration in the distance, for blurs and for holes. {verdict(numbers["rows"])}
In RMSE {closer(numbers["rows"])}. Algorithm 1 {naive(numbers["rows"])}.
"""
