"""Intermediate samples of annealed Langevin dynamics, by a noise conditional score network of the digits."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import scorejax as sj
from benchmarks.slides import Given, part, shared, table
from scorejax import pictures

SHOWN = 8


@part(
    title="Annealed Langevin dynamics on the way to its samples",
    slides="rows of samples of a noise conditional score network (NCSN), from uniform noise to an image, one column for each "
    "level of noise; FID 25.32 and Inception Score 8.87 (8.91 in the first version) on CIFAR-10.",
    order=70,
    pictures={"annealed": "From uniform noise through the ten levels of noise to samples"},
)
def annealed(given: Given, *, samples: int = 300, epsilon: float = 2e-5, inner: int = 100, seed: int = 0) -> dict:
    run = sj.load(given.run(f"{shared.CONFIG}:ncsn", "ncsn"))
    sde: Any = run.sde
    shape = (samples, *run.shape)
    key, start = jax.random.split(jax.random.key(seed))
    drawn = sj.trajectory(
        key, sde, run.model.score_given(None), shape, x_init=jax.random.uniform(start, shape),
        stepper=sj.samplers.annealed_langevin(epsilon, inner), times=sj.times.uniform(sde, sde.levels - 1),
    )  # fmt: skip
    frames = np.stack([shared.gray(run.from_model(frame[:SHOWN])) for frame in drawn.x])
    last = shared.gray(run.from_model(drawn.denoised[-1][:SHOWN]))
    pictures.save_trajectory(given.picture("annealed"), np.concatenate([frames, last[None]]), scale=8)
    unfinished, floor = shared.distance(np.asarray(run.from_model(drawn.x[5])))
    found, floor = shared.distance(np.asarray(run.from_model(drawn.x[-1])))
    cleaned, _ = shared.distance(np.asarray(run.from_model(drawn.denoised[-1])))
    levels = [float(sde.sigma(t)) for t in drawn.t]
    spread = [float(np.std(np.asarray(frame))) for frame in drawn.x]
    return {
        "sigmas": levels,
        "spread": spread,
        "unfinished": unfinished,
        "distance": found,
        "denoised": cleaned,
        "floor": floor,
        "samples": samples,
        "nfe": int(drawn.nfe),
    }


@annealed.says
def text(numbers: dict) -> str:
    rows = [
        ["after six of the ten levels", numbers["unfinished"]],
        ["samples", numbers["distance"]],
        ["the same, with a last denoising (NCSNv2)", numbers["denoised"]],
        ["as many real digits", numbers["floor"]],
    ]
    return f"""
The network is one of dense layers for the 8x8 digits; everything else is as published: ten levels from 1 down to 0.01, a
hundred Langevin steps of size 2e-5 sigma^2 / 0.01^2 at each, {numbers["nfe"]:,} evaluations in all, from uniform noise.

{table([f"{numbers['samples']} images", "Frechet distance, features of random convolutions"], rows)}

The picture agrees with the slides': noise becomes a rough shape at the large levels, which decide what digit it is, and the
small ones only sharpen it. The standard deviation of the pixels falls from {numbers["spread"][1]:.2f} at the second level to
{numbers["spread"][-1]:.3f}. FID and Inception Score of the slides are of CIFAR-10 and of 200,000 training steps, which nobody
repeated here; what can be said is how far the samples are from as many real digits, and that is the table.
"""
