"""Samples of wanted classes without and with guidance."""

from __future__ import annotations

import numpy as np

from benchmarks.slides import Given, part, shared, table
from scorejax import data, pictures

SCALES = (0.0, 1.0, 2.0, 4.0, 8.0)


@part(
    title="Without and with guidance",
    slides="samples without and with guidance by a classifier, the second clearer and more alike, and the rule of "
    "classifier-free guidance, with no numbers.",
    order=100,
    pictures={"guidance": "The ten classes, three of each: no class at all, scale 1, scale 4"},
)
def guidance(given: Given, *, samples: int = 300, steps: int = 50, seed: int = 0) -> dict:
    run = shared.digits(given)
    wanted = np.arange(samples) % 10
    train = data.load("digits", "train")
    assert train.labels is not None
    real = variety(train.examples, train.labels)
    rows, page = {}, {}
    for scale in SCALES:
        levels = run.sample(
            samples, seed=seed, condition=list(wanted), guidance=f"classifier_free:scale={scale}", stepper="ancestral",
            steps=steps,
        )  # fmt: skip
        right = float(np.mean(shared.seen(levels) == wanted))
        rows[f"{scale:g}"] = {
            "accuracy": right,
            "variety": variety(levels, wanted) / real,
            "distance": shared.distance(levels)[0],
        }
        page[scale] = levels[:30]
    shown = np.concatenate([page[scale] for scale in (0.0, 1.0, 4.0)])
    pictures.save_grid(given.picture("guidance"), shared.gray(shown), columns=10, scale=8)
    return {
        "rows": rows,
        "judge": shared.judge()[1],
        "samples": samples,
        "steps": steps,
        "floor": shared.distance(levels)[1],
    }


def variety(levels: np.ndarray, labels: np.ndarray) -> float:
    """Variance within a class of images of unit length, summed over the pixels, mean over the classes."""
    flat = np.asarray(levels, float).reshape(len(levels), -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)  # strong guidance makes strokes blacker, which is no variety
    return float(np.mean([flat[labels == k].var(axis=0, ddof=1).sum() for k in range(10)]))


@guidance.says
def text(numbers: dict) -> str:
    n = numbers["samples"]
    rows = [
        [
            scale,
            f"{row['accuracy']:.3f} +- {(row['accuracy'] * (1 - row['accuracy']) / n) ** 0.5:.3f}",
            f"{row['variety']:.2f}",
            row["distance"],
        ]
        for scale, row in numbers["rows"].items()
    ]
    return f"""
One model of all ten classes and of none, {n} samples at each scale, {numbers["steps"]} steps of `ancestral`. A support vector
machine of real digits ({numbers["judge"]:.1%} of the test images) says what it sees. Variety is the variance within a class of
images of unit length, as a share of that of the data.

{table(["scale", "seen in the wanted class", "variety within a class", "Frechet distance"], rows)}

Scale 0 leaves the class out, so that about a tenth of the samples are of the wanted one, and "within a class" means within all.
The slides show guidance by a classifier of an unconditional model; here guidance is classifier-free, and the statement is the
same: without it samples are of any class, with it of the one that was asked for. What the slides do not show is the price. For
a network that knows the classes scale 1, the plain conditional law, already has the wanted class, and more of it gains nothing
that the judge could see. The distance to the data, whose floor is {numbers["floor"]:.2f}, is
{numbers["rows"]["1"]["distance"]:.2f} at scale 1, {numbers["rows"]["2"]["distance"]:.2f} at 2 and
{numbers["rows"]["8"]["distance"]:.2f} at 8. Such strong guidance drives pixels to black and white, each where it may, which
counts as variety and is none that the data have.
"""
