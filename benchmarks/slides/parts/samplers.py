"""The table of samplers: one trained model, several samplers, several numbers of steps."""

from __future__ import annotations

import json

from benchmarks.slides import Given, part, shared, table
from scorejax import pictures

ROWS = {
    "euler_maruyama": ("Euler-Maruyama", "EULER-MARUYAMA"),
    "reverse_chain:variance=forward": ("ancestral sampling, variance beta", "ANCESTRAL SAMPLING"),
    "probability_flow": ("probability flow, Euler steps", "PROBABILITY FLOW"),
    "analytic": ("Analytic-DPM", "A-DPM"),
    "npr": ("NPR-DPM", "NPR-DPM"),
    "sn": ("SN-DPM", "SN-DPM"),
    "ancestral": ("ancestral sampling, posterior variance", None),
    "dpm_solver:order=2": ("DPM-Solver++, order 2", None),
}
PRINTED = {
    "EULER-MARUYAMA": (292.20, 170.17, 90.79, 47.46, 21.92, 2.55),
    "ANCESTRAL SAMPLING": (235.28, 129.29, 68.52, 31.99, 12.81, 2.72),
    "PROBABILITY FLOW": (107.74, 21.34, 7.78, 4.33, 3.27, 2.82),
    "A-DPM": (35.10, 11.57, 6.54, 4.71, 3.61, 2.98),
    "NPR-DPM": (33.70, 10.44, 5.83, 3.97, 3.05, 3.04),
    "SN-DPM": (25.30, 7.34, 4.46, 3.27, 2.83, 2.71),
}
STEPS = (10, 25, 50, 100, 200)


@part(
    title="The table of samplers",
    slides="FID on CIFAR-10 (VP SDE) with 10 to 1,000 steps: Euler-Maruyama, ancestral sampling, the probability flow, and "
    "Analytic-DPM, NPR-DPM and SN-DPM, the last three far better with few steps.",
    order=90,
    pictures={"samplers": "Frechet distance to the digits against network evaluations"},
)
def samplers(given: Given, *, samples: int = 300, head_steps: int = 600, calibration: int = 200) -> dict:
    folder = given.run(shared.CONFIG, "digits", shared=True)
    common = [f"--workdir={folder}"]
    given.kept(
        "calibrated",
        lambda: given.main(*common, "--mode=calibrate", f"--config.eval.calibration_examples={calibration}") and 1,
    )
    for kind in ("npr", "sn"):
        head = [f"--config.head.{text}" for text in (f"kind={kind}", f"steps={head_steps}", "batch=64", "lr=2e-3")]
        given.kept(f"head-{kind}", lambda head=head: given.main(*common, "--mode=train_head", *head) and 1)
    given.main(
        *common, "--mode=sweep", f"--config.eval.samples={samples}", f"--config.sweep.samplers={','.join(ROWS)}",
        f"--config.sweep.steps={STEPS}",
    )  # fmt: skip
    (where,) = (folder / "eval").glob("sweep-*.json")
    report = json.loads(where.read_text())
    points = {(point["sampler"], point["steps"]): point for point in report["points"]}
    curves = {
        name: [(points[text, n]["nfe"], points[text, n]["distance"]) for n in STEPS] for text, (name, _) in ROWS.items()
    }
    pictures.save_curves(
        given.picture("samplers"), curves, labels=("network evaluations", "Frechet distance"), floor=report["floor"]
    )
    return {
        "distance": {text: [points[text, n]["distance"] for n in STEPS] for text in ROWS},
        "floor": report["floor"],
        "features": report["features"],
        "samples": report["n"],
    }


@samplers.says
def text(numbers: dict) -> str:
    rows = [[name, *numbers["distance"][text]] for text, (name, _) in ROWS.items()]
    printed = [[name, *values] for name, values in PRINTED.items()]
    shown = {label: name.partition(",")[0] for name, label in ROWS.values() if label}
    here = {label: numbers["distance"][text][0] for text, (_, label) in ROWS.items() if label}
    there = {label: values[0] for label, values in PRINTED.items()}
    ours, theirs = (
        ", ".join(shown[label] for label in sorted(of, key=lambda label: of[label])) for of in (here, there)
    )
    flow = numbers["distance"]["probability_flow"]
    last = [values[-1] for values in numbers["distance"].values()]
    return f"""
Here, on the digits of ten classes in turn: Frechet distance of {numbers["samples"]} samples in the features of random
convolutions, whose floor, the distance of as many real digits from the others, is {numbers["floor"]:.2f}. Each number of steps
has one more evaluation, for the last denoising.

{table(["steps", *STEPS], rows)}

The slides, FID of 50,000 samples on CIFAR-10:

{table(["steps", *STEPS, 1000], printed)}

At ten steps the order, best first, is here: {ours}; on the slides: {theirs}. What agrees:
Euler-Maruyama is last by far, ancestral sampling with the variance beta next to last, and the three chains with estimated variances
are ahead of both; with many steps all rows meet, here between {min(last):.2f} and {max(last):.2f}. NPR-DPM and SN-DPM are equal
at ten steps, and with more NPR-DPM is ahead, where the slides have SN-DPM first up to 200 steps: the heads of this table were
trained for a few hundred steps. What does not agree is the probability flow, which is first here at ten steps, with
{flow[0]:.2f}, and moves from there to {flow[-1]:.2f}: so few steps have an error that happens to help. Predictions are clipped to the
range of images, whose pixels are black or white more often than not, and a method without noise adds none to them. The slides'
row of ancestral sampling is the one with the variance beta; with the posterior variance it is as good as the other chains.
DPM-Solver++ is not in the slides' table.
"""
