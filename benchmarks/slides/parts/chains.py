"""The forward chain that turns digits into noise, and the reverse chain that turns noise into digits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import scorejax as sj
from benchmarks.slides import Given, part, shared, table
from scorejax import data, pictures

CHECKED = 256


@part(
    title="The forward and the reverse chain of DDPM",
    slides="an image that a Markov chain turns into noise step by step, and the reverse chain, which turns noise into an "
    "image; samples with FID 3.17 on CIFAR-10.",
    order=80,
    pictures={
        "chains-forward": "Forward: a test digit of each of five classes, and its noisy versions down to pure noise",
        "chains-reverse": "Reverse: from pure noise to one sample of each of five classes",
    },
)
def chains(given: Given, *, steps: int = 200, columns: int = 9, seed: int = 0) -> dict:
    run = shared.digits(given)
    sde, shape = run.sde, run.shape
    grid = np.asarray(sj.times.uniform(sde, steps))  # from noise to data
    shown = np.linspace(0, steps, columns).round().astype(int)
    forward_key, reverse_key = jax.random.split(jax.random.key(seed))
    test = data.load("digits", "test")
    assert test.labels is not None
    x = run.to_model(test.examples[:CHECKED])
    states = [x]
    for i, (s, t) in enumerate(zip(grid[::-1][:-1], grid[::-1][1:], strict=True)):
        a, v = sde.transition(s, t)
        x = a * x + jnp.sqrt(v) * jax.random.normal(jax.random.fold_in(forward_key, i), x.shape)
        states.append(x)
    first = [int(np.flatnonzero(test.labels[:CHECKED] == digit)[0]) for digit in range(5)]

    def page(frames: list[jax.Array]) -> np.ndarray:
        return np.stack([shared.gray(run.from_model(jnp.asarray(frame))) for frame in frames])

    frames = page([states[i][jnp.asarray(first)] for i in shown])
    pictures.save_trajectory(given.picture("chains-forward"), frames, scale=8)

    wanted = jnp.arange(CHECKED) % 10
    drawn = sj.trajectory(
        reverse_key, sde, run.model.score_given(wanted), (CHECKED, *shape), stepper=sj.samplers.ancestral(), times=grid,
        clip=(-1.0, 1.0),
    )  # fmt: skip
    frames = page([*[drawn.x[i][:5] for i in shown[:-1]], drawn.denoised[-1][:5]])
    pictures.save_trajectory(given.picture("chains-reverse"), frames, scale=8)
    last = np.asarray(states[-1])
    levels = np.asarray(run.from_model(drawn.denoised[-1]))
    right = shared.seen(levels) == np.asarray(wanted)
    rows = []
    for i in shown:
        t = float(grid[::-1][i])
        rows.append(
            {
                "step": int(i),
                "alpha": float(sde.alpha(t)),
                "sigma": float(sde.sigma(t)),
                "forward": float(np.std(np.asarray(states[i]))),
                "reverse": float(np.std(np.asarray(drawn.x[steps - i]))),
            }
        )
    return {
        "rows": rows,
        "mean_at_the_end": float(last.mean()),
        "std_at_the_end": float(last.std()),
        "numbers_at_the_end": last.size,
        "seen": float(right.mean()),
        "judge": shared.judge()[1],
        "checked": CHECKED,
        "nfe": int(drawn.nfe),
    }


@chains.says
def text(numbers: dict) -> str:
    rows = [[row["step"], row["alpha"], row["sigma"], row["forward"], row["reverse"]] for row in numbers["rows"]]
    error = (numbers["seen"] * (1 - numbers["seen"]) / numbers["checked"]) ** 0.5
    seen = "every one" if numbers["seen"] == 1 else f"{numbers['seen']:.1%} +- {error:.1%}"
    return f"""
{table(["step", "alpha", "sigma", "pixels' standard deviation, forward", "reverse, at the same noise"], rows)}

The chain ends where the slides have it end: its last state has mean {numbers["mean_at_the_end"]:.3f} and standard deviation
{numbers["std_at_the_end"]:.3f} over {numbers["numbers_at_the_end"]:,} numbers, pure noise. The reverse chain passes the
same noise levels on its way back, as it must if its score is right. Of {numbers["checked"]} samples a support vector machine of
real digits ({numbers["judge"]:.1%} of the test images) sees {seen} in the class that was asked
for. The FID of the slides is of CIFAR-10 and of days on a TPU, and nothing here can be set next to it; the distance of the
digits to the data is in the table of samplers below.
"""
