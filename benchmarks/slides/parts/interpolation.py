"""Interpolation between images along great circles of their latents under the probability-flow ODE."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import scorejax as sj
from benchmarks.slides import Given, part, shared
from scorejax import data, pictures

PAIRS = ((0, 6), (1, 7), (3, 8), (4, 9), (5, 2))


@part(
    title="Interpolation of latents",
    slides="the probability-flow ODE gives every image a latent, and a path between two latents is a smooth path between "
    "their images, with no numbers.",
    order=110,
    pictures={"interpolation": "Test digits at both ends, and what lies between their latents"},
)
def interpolation(given: Given, *, points: int = 11, rtol: float = 1e-4, seed: int = 0) -> dict:
    run = shared.digits(given)
    test = data.load("digits", "test")
    ends = [np.flatnonzero(test.labels == k)[3] for pair in PAIRS for k in pair]
    # Each gray level is a bin: in the middle of all bins at once no image lies, and its latent would be short.
    keys = jax.random.split(jax.random.key(seed), len(ends))
    _, x = data.prepare(keys, jnp.asarray(test.examples[np.asarray(ends)]), run.space)
    tolerance: Any = {"rtol": rtol, "atol": rtol}

    def score(count: int) -> Any:
        return run.model.score_given(jnp.full(count, run.model.null_condition, jnp.int32))  # of no class

    latent = sj.encode(run.sde, score(len(x)), x, **tolerance)
    path = sj.interpolate(latent.x[::2], latent.x[1::2], points)  # [points, pairs, ...]
    flat = path.reshape(-1, *x.shape[1:])
    back = sj.decode(run.sde, score(len(flat)), flat, **tolerance)
    images = back.x.reshape(path.shape)
    shown = np.stack([shared.gray(run.from_model(image)) for image in images])
    pictures.save_trajectory(given.picture("interpolation"), shown, scale=8)

    def length(a: jax.Array, b: jax.Array) -> np.ndarray:
        return np.asarray(jnp.sqrt(jnp.sum((a - b) ** 2, axis=(-1, -2, -3))))

    again = jnp.stack([images[0], images[-1]], 1).reshape(x.shape)
    norms = np.asarray(jnp.sqrt(jnp.sum(latent.x**2, axis=(1, 2, 3))))
    middle = np.asarray(jnp.sqrt(jnp.sum(((latent.x[::2] + latent.x[1::2]) / 2) ** 2, axis=(1, 2, 3))))
    steps = length(images[1:], images[:-1])
    pixels = length(x[::2], x[1::2])
    return {
        "round_trip": float(np.max(np.abs(np.asarray(again - x)))),
        "norm": float(norms.mean()),
        "radius": float(np.sqrt(x[0].size)),
        "middle_of_the_line": float(middle.mean()),
        "largest_step": float((steps.max(axis=0) / pixels).mean()),
        "even_step": 1 / (points - 1),
        "nfe": int(np.max(np.asarray(latent.nfe))),
        "tolerance": rtol,
        "points": points,
    }


@interpolation.says
def text(numbers: dict) -> str:
    return f"""
Ten test digits are carried to their latents by the probability-flow ODE ({numbers["nfe"]} evaluations at a tolerance of
{numbers["tolerance"]:g}), {numbers["points"]} points of the great circle between two latents are carried back. The ends come
back as they were, with an error of at most {numbers["round_trip"]:.3f} in units in which black is -1 and white is 1 (a gray
level is 0.12 wide): the map is invertible, as the slides say. The latents have length {numbers["norm"]:.2f} on average, where
normal noise has {numbers["radius"]:.0f}, and a straight line between two of them would pass the middle at
{numbers["middle_of_the_line"]:.2f}, among latents that no image has. That is why the circle is taken. The paths are smooth, as the
slides claim, but not even: the largest of the {numbers["points"] - 1} steps is {numbers["largest_step"]:.0%} of the distance of
the two ends, where equal steps would be {numbers["even_step"]:.0%} each, and lies where one digit turns into the other.
"""
