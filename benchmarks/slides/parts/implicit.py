"""Autoencoders whose entropy is followed by an estimated score: Table 2 of sliced score matching, in short."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.slides import draw
from benchmarks.slides.frame import Given, part, table
from scorejax.experiment import run as runs
from scorejax.runtime.files import read_json

PRINTED = {
    "VAE, ELBO": 96.87,
    "VAE, SSM": 95.50,
    "VAE, Stein": 96.71,
    "VAE, spectral": 96.60,
    "WAE, SSM": 98.24,
}
"""Negative log-likelihoods in nats with 8 latent numbers, after 100,000 steps on 80 % of the training images."""
LONGER = ("VAE, ELBO", "VAE, SSM", "WAE, SSM")
"""The rows that are trained for longer, too: those whose steps are cheap."""


@part(
    title="Autoencoders trained by scores of implicit laws",
    slides="They name implicit laws as a use of sliced score matching; the paper's Table 2 gives negative "
    "log-likelihoods of binarized MNIST by annealed importance sampling.",
    order=70,
    pictures={"implicit": "Means of the decoder at the same latent vectors from the prior, one row for each model"},
    needs=("data_dir",),
)
def implicit(
    given: Given,
    *,
    steps: int = 1000,
    longer: int = 5000,
    estimated_from: int = 50,
    images: int = 100,
    draws: int = 8,
    temperatures: int = 60,
    shown: int = 8,
) -> dict[str, Any]:
    """Train every row with the same settings, and measure it on the same test images."""
    asked = {"likelihood_examples": images, "evidence": draws, "evidence_temperatures": temperatures}
    asked |= {"estimated_from": estimated_from}
    found = {count: {name: _kept(given, name, count, asked) for name in names}
             for count, names in ((steps, tuple(PRINTED)), (longer, LONGER))}  # fmt: skip
    rows = [(name, count, values) for count, each in found.items() for name, values in each.items()]
    figure, panels = draw.panels(len(rows), shown, width=0.9, height=0.95)
    for row, (name, count, values) in zip(panels, rows, strict=True):
        samples = runs.load(values["folder"]).sample(shown, seed=1)
        for axes, pixels in zip(row, samples, strict=True):
            draw.image(axes, pixels)
        row[0].set_title(f"{name}, {count:,} steps", fontsize=9, loc="left")
    draw.save(figure, given.picture("implicit"))
    numbers = {
        str(count): {name: {key: values[key] for key in values if key != "folder"} for name, values in each.items()}
        for count, each in found.items()
    }
    return {**given.settings, "rows": numbers}


@implicit.says
def text(numbers: dict[str, Any]) -> str:
    """The table, and what of it agrees."""
    short, long = (numbers["rows"][str(numbers[key])] for key in ("steps", "longer"))
    cell = lambda row: f"{row['nats']:.1f} +- {row['error']:.1f}" if row else ""  # noqa: E731
    cells = [[name, cell(short[name]), cell(long.get(name)), f"{printed:.2f}"] for name, printed in PRINTED.items()]
    header = ["model", f"{numbers['steps']:,} steps", f"{numbers['longer']:,} steps", "printed (100,000 steps)"]
    most = max(abs(short[f"VAE, {name}"]["nats"] - short["VAE, ELBO"]["nats"]) for name in ("Stein", "spectral"))
    gap = {each: rows["VAE, SSM"]["nats"] - rows["VAE, ELBO"]["nats"] for each, rows in (("s", short), ("l", long))}
    vae = {name: row["nats"] for name, row in short.items() if name.startswith("VAE")}
    order = ", ".join(name.split(", ")[1] for name in sorted(vae, key=lambda name: vae[name]))
    about = f"""\
Negative log-likelihoods of test images, in nats. Networks, the 8 latent numbers, the binarization and the batch of 128
are those of the paper; the optimizer is Adam, the trainings are much shorter, and the Stein and the spectral estimator
see {numbers["estimated_from"]} draws of each posterior in the place of 100. The numbers are upper bounds by annealed
importance sampling from the encoder ({numbers["draws"]} chains through {numbers["temperatures"]} laws) on
{numbers["images"]} of the 10,000 images, the same ones for all rows; most of the error is the difference between
images, which the rows share."""
    verdict = f"""\
After {numbers["steps"]:,} steps the order of the VAEs, from the best, is {order}; in print it is SSM, spectral, Stein,
ELBO, within 1.4 nats. The two estimators in closed form agree with the known entropy of the Gaussian posterior within
{most:.1f} nats, as they do in print. The score network of sliced score matching has to learn first, and until it
follows the encoder it misleads it: {gap["s"]:+.1f} nats next to the ELBO after {numbers["steps"]:,} steps and
{gap["l"]:+.1f} after {numbers["longer"]:,}, where print has -1.4 after 100,000. The WAE, whose prior has ten times the
weight and whose score network is as slow, has not begun to use its latent numbers in either training: its row is that of
one law for all images. No row reaches its printed value, for want of training."""
    return "\n\n".join([" ".join(about.splitlines()), table(header, cells), " ".join(verdict.splitlines())])


def _kept(given: Given, name: str, steps: int, asked: dict[str, int]) -> dict[str, Any]:
    """A row of the table, which is computed once."""
    key = f"{name.lower().replace(', ', '-')}-{steps}"
    return given.kept(f"row-{key}", lambda: _row(given, name, steps, given.work / key, **asked), asked)


def _row(given: Given, name: str, steps: int, folder: Path, *, estimated_from: int, **asked: int) -> dict[str, Any]:
    kind, entropy = name.split(", ")
    recipe = {
        "posterior": "gaussian" if entropy == "ELBO" else "implicit",
        "penalty": {"VAE": "elbo", "WAE": "wae"}[kind],
        "entropy": {"ELBO": "exact", "SSM": "sliced"}.get(entropy, entropy.lower()),
        "weight": 10.0 if kind == "WAE" else 1.0,
        "estimated_from": estimated_from,
        "decoder_noise": "false",
    }
    settings = [f"recipe.{key}={value}" for key, value in recipe.items()]
    settings += [f"train.steps={steps}", f"train.checkpoint_every={steps}", "eval.samples=0"]
    settings += [f"eval.{key}={value}" for key, value in asked.items()]
    # many small eigenvalue problems: threads of one of them only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    given.main(
        "--config=configs/autoencoder.py:mnist",
        f"--workdir={folder}",
        *(f"--config.{text}" for text in [f"data.data_dir={given.data_dir}", *settings]),
    )
    found = read_json(folder / "eval" / f"step-{steps}.json", dict, "delete it")["evidence"]
    names = {"nats": "nats", "error": "nats_standard_error", "effective": "effective_samples", "accepted": "accepted"}
    return {**{short: found[key] for short, key in names.items()}, "folder": str(folder)}
