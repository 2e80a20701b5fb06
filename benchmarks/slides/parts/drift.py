"""A drift that is not affine: forward by simulation, learned by sliced score matching, and measured by quadrature."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import scorejax as sj
from benchmarks.slides import Given, draw, part, table
from scorejax import objectives
from scorejax.models import MLP

LAW = sj.analytic.mixture([0.3, 0.7], [[-1.2], [0.8]], [0.3, 0.25])
TIMES = (0.02, 0.1, 0.3, 1.0)
REACH = 2.6


def apply(network: Any, params: Any, x: jax.Array, label: jax.Array) -> jax.Array:
    return network.apply({"params": params}, x, label)


def score_of(sde: Any, network: Any, params: Any, predicts: str) -> Any:
    return sj.make_score(sde, functools.partial(apply, network), params, predicts, label=sde.label)


def trained(
    sde: Any, steps: int, batch: int, seed: int, objective: Callable[..., jax.Array], predicts: str = "score"
) -> Any:
    """Parameters of a network, averaged over training, on data and noise that are new at every step."""
    network: Any = MLP(features=64, depth=2)
    start, rest = jax.random.split(jax.random.key(seed))
    params = network.init(start, jnp.zeros((1, 1)), jnp.ones(1))["params"]
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))

    def step(carry: tuple, key: jax.Array) -> tuple:
        params, state, mean = carry
        data, times, noise = jax.random.split(key, 3)
        x0, t = LAW.sample(data, batch), objectives.draw_times(times, sde, batch, "stratified")

        def loss(params: Any) -> jax.Array:
            return jnp.mean(objective(noise, sde, score_of(sde, network, params, predicts), x0, t=t))

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
        mean = jax.tree.map(lambda old, new: 0.995 * old + 0.005 * new, mean, params)
        return (params, state, mean), None

    run = jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys)[0])
    return run((params, optimizer.init(params), params), jax.random.split(rest, steps))[2]


def cost(sde: Any, objective: Callable[..., jax.Array], predicts: str, batch: int) -> float:
    """Processor seconds of a gradient of the loss, the least of five."""
    network: Any = MLP(features=64, depth=2)
    params = network.init(jax.random.key(0), jnp.zeros((1, 1)), jnp.ones(1))["params"]
    x0, t = LAW.sample(jax.random.key(1), batch), jnp.linspace(sde.t_min, sde.t_max, batch)

    def loss(params: Any, key: jax.Array) -> jax.Array:
        return jnp.mean(objective(key, sde, score_of(sde, network, params, predicts), x0, t=t))

    gradient, found = jax.jit(jax.grad(loss)), []
    jax.block_until_ready(gradient(params, jax.random.key(2)))
    for _ in range(5):
        began = time.process_time()
        for i in range(10):
            jax.block_until_ready(gradient(params, jax.random.key(i)))
        found.append((time.process_time() - began) / 10)
    return min(found)


@part(
    title="A drift that is not affine",
    slides="where the drift is affine `p(x(t) | x(0))` is a Gaussian with a formula; where it is not, one would have to "
    "solve Kolmogorov's forward equation, and sliced score matching trains from samples of x(t) alone. No figure.",
    order=75,
    pictures={"drift": "Forward and reverse paths over the density in time, the learned score, and samples"},
)
def drift(given: Given, *, steps: int = 4000, batch: int = 512, samples: int = 20_000, seed: int = 0) -> dict:
    sde = sj.double_well()
    exact = sj.analytic.on_grid(sde, LAW.log_prob, -5.0, 5.0)
    network: Any = MLP(features=64, depth=2)
    began = time.process_time()
    params = jax.block_until_ready(trained(sde, steps, batch, seed, objectives.sliced))
    seconds = time.process_time() - began
    learned = score_of(sde, network, params, "score")
    laws = {"exact": exact.score(), "learned": learned}
    grid = sj.times.uniform(sde, 400)
    inside = np.linspace(0.0005, 0.9995, 1000)  # equally likely cells

    # the same network for as many steps by denoising, under an affine drift
    vp = sj.vp(t_min=sde.t_min)
    began = time.process_time()
    params = jax.block_until_ready(trained(vp, steps, batch, seed, objectives.denoising, "noise"))
    seconds_of_vp = time.process_time() - began
    by_denoising = score_of(vp, network, params, "noise")
    spread = LAW.sample(jax.random.key(seed + 4), 10_000)

    def error(score: Any, truth: jax.Array, x: jax.Array, t: float) -> float:
        return float(jnp.sqrt(jnp.mean((score(x, t) - truth) ** 2) / jnp.mean(truth**2)))

    errors = {}
    for t in (sde.t_min, *TIMES):
        x = jnp.asarray(exact.quantile(inside, t), jnp.float32)[:, None]
        y = vp.corrupt(jax.random.key(seed + 5), spread, t)
        errors[f"{t:g}"] = [
            error(learned, exact.score_at(x, t), x, t), error(by_denoising, LAW.score_at(vp, y, t), y, t)
        ]  # fmt: skip

    def apart(x: jax.Array, t: float) -> float:
        """The largest error of the distribution function."""
        ordered = np.sort(np.asarray(x, np.float64).reshape(-1))
        points = exact.quantile(inside, t)
        return float(np.abs(np.searchsorted(ordered, points) / len(ordered) - inside).max())

    x0 = LAW.sample(jax.random.key(seed + 1), samples)
    forward = {f"{t:g}": apart(sde.corrupt(jax.random.key(seed + 2), x0, t), t) for t in TIMES}
    drawn = {
        name: sj.sample(
            jax.random.key(seed + 3), sde, score, (samples, 1), stepper=sj.samplers.euler_maruyama(), times=grid
        ).x
        for name, score in laws.items()
    }
    # the entropy of the law that likelihoods are of, by quadrature, and what the ODE gives for points of the same law
    logs = np.asarray(exact.log_prob_at(jnp.asarray(exact.points, jnp.float32)[:, None], sde.t_min), np.float64)
    entropy = -float(np.sum(np.exp(logs) * logs) * 10.0 / len(logs))
    at = jnp.asarray(exact.quantile((np.arange(400) + 0.5) / 400, sde.t_min), jnp.float32)[:, None]
    nats = {}
    for name, score in laws.items():
        found = sj.log_prob(jax.random.key(0), sde, score, at, divergence="exact")
        value = found.value - exact.log_prob_at(at, sde.t_min)
        nats[name] = {"mean": -float(jnp.mean(found.value)), "rms": float(jnp.sqrt(jnp.mean(value**2)))}
    end = np.asarray(exact.log_density[-1])
    prior = np.asarray(sde.prior_logp(jnp.asarray(exact.points, jnp.float32)[:, None]))
    held = np.isfinite(prior)
    mismatch = float(np.sum((np.exp(end) * (end - prior))[held]) * 10.0 / len(end))
    slow = cost(sde, objectives.sliced, "score", batch)
    fast = cost(sj.vp(), objectives.denoising, "noise", batch)
    by_kernel = cost(sj.vp(), objectives.sliced, "score", batch)
    alone = jax.jit(lambda key: sde.corrupt(key, x0[:batch], jnp.linspace(0.01, 1.0, batch)))
    began = time.process_time()
    for i in range(20):
        jax.block_until_ready(alone(jax.random.key(i)))
        if i == 9:  # compiled, and warm
            began = time.process_time()
    simulation = (time.process_time() - began) / 10
    _picture(given, sde, exact, learned, drawn, x0)
    return {
        "errors": errors,
        "forward": forward,
        "drawn": {name: apart(x, sde.t_min) for name, x in drawn.items()},
        "samples": samples,
        "entropy": entropy,
        "entropy_at_400": -float(jnp.mean(exact.log_prob_at(at, sde.t_min))),
        "nats": nats,
        "mismatch": mismatch,
        "seconds": seconds,
        "forward_steps": sde.steps,
        "dearer": slow / fast,
        "dearer_by_kernel": by_kernel / fast,
        "simulation": simulation / fast,
        "seconds_of_vp": seconds_of_vp,
        "steps": steps,
        "batch": batch,
    }


def _picture(given: Given, sde: Any, exact: Any, learned: Any, drawn: dict[str, jax.Array], x0: jax.Array) -> None:
    figure, axes = draw.panels(1, 4, width=3.9, height=3.6)
    points = np.linspace(-REACH, REACH, 200)
    times = np.linspace(0.0, 1.0, 200)
    density = np.exp(
        np.stack([exact.log_prob_at(jnp.asarray(points, jnp.float32)[:, None], float(t)) for t in times], 1)
    )
    count = 30
    t, forward = sde.path(jax.random.key(5), x0[:count])
    back = sj.trajectory(
        jax.random.key(6), sde, learned, (count, 1), stepper=sj.samplers.euler_maruyama(),
        times=sj.times.uniform(sde, 200),
    )  # fmt: skip
    for panel, title, when, states in (
        (axes[0, 0], "forward, simulated", np.asarray(t)[:, 0], forward),
        (axes[0, 1], "reverse, by the learned score", np.asarray(back.t), back.x),
    ):
        panel.imshow(
            np.sqrt(density), origin="lower", extent=(0, 1, -REACH, REACH), cmap="Oranges", aspect="auto", vmax=1.1
        )
        panel.plot(when, np.asarray(states)[:, :, 0], color=draw.BLUE, linewidth=0.5, alpha=0.8)
        panel.set_title(title)
        panel.set_xlabel("t")
        panel.set_ylim(-REACH, REACH)
    for shade, when in zip((0.35, 0.55, 0.75, 1.0), TIMES, strict=True):
        # where there are points to be led
        x = np.linspace(*exact.quantile(np.array([0.002, 0.998]), when), 200)
        at = jnp.asarray(x, jnp.float32)[:, None]
        axes[0, 2].plot(x, exact.score_at(at, when)[:, 0], color=(*draw.GRAY, shade), linewidth=3.0)
        axes[0, 2].plot(x, learned(at, when)[:, 0], color=(*draw.ORANGE, shade), linewidth=1.2, label=f"t = {when:g}")
    axes[0, 2].set_title("score: exact (gray), learned")
    axes[0, 2].set_ylim(-22, 22)
    axes[0, 2].legend(fontsize=7)
    bins = np.linspace(-REACH, REACH, 80)
    for name, color in (("exact", draw.GRAY), ("learned", draw.ORANGE)):
        axes[0, 3].hist(np.asarray(drawn[name])[:, 0], bins, density=True, histtype="step", color=color, label=name)
    at = jnp.asarray(points, jnp.float32)[:, None]
    axes[0, 3].plot(points, np.exp(exact.log_prob_at(at, sde.t_min)), color="black", linewidth=0.8, label="data")
    axes[0, 3].plot(points, np.exp(sde.prior_logp(at)), color=draw.BLUE, linewidth=0.8, label="prior")
    axes[0, 3].set_title("samples of the reverse SDE")
    axes[0, 3].legend(fontsize=7)
    draw.save(figure, given.picture("drift"))


@drift.says
def text(numbers: dict) -> str:
    errors = [[f"t = {t}", *both] for t, both in numbers["errors"].items()]
    nats = numbers["nats"]
    rows = [[name, nats[name]["mean"], nats[name]["rms"], numbers["drawn"][name]] for name in ("exact", "learned")]
    forward = max(numbers["forward"].values())
    ratios = [sliced / denoising for t, (sliced, denoising) in numbers["errors"].items() if float(t) >= 0.1]
    least, most = min(ratios), max(ratios)
    return f"""
The process is `double_well`: `dx = -(beta / 2) V'(x) dt + sqrt(beta) dw`, whose stationary law is two Gaussians, and whose
kernel has no formula. Its law in time is found by quadrature, Kolmogorov's equation on a grid of 2,000 points in float64
(`analytic.on_grid`), so that everything has a truth to be held against. {numbers["samples"]:,} simulated points, 100 steps of
the stochastic Heun method each, have a distribution function that is nowhere more than {forward:.4f} from the truth, where
drawing alone stays below {1.36 / numbers["samples"] ** 0.5:.4f} 95 times in 100; and at the end of the process the law is
{numbers["mismatch"]:.1e} nats away from the prior.

A network learns the score by sliced score matching from such points, {numbers["steps"]:,} steps of {numbers["batch"]} in
{numbers["seconds"]:.0f} s of processor time. Its error, root mean square, as a share of the size of the score, next to that
of the same network after as many steps of denoising score matching under VP ({numbers["seconds_of_vp"]:.0f} s):

{table(["at time", "sliced, double well", "denoising, VP"], errors)}

Likelihoods and samples, by the exact score and by the learned one; the entropy of the data, as noisy as at `t_min`, is
{numbers["entropy"]:.4f} nats by quadrature ({numbers["entropy_at_400"]:.4f} at the 400 points that are measured):

{table(["score", "nats by the ODE", "error of log p, rms", "samples: largest error of the distribution function"], rows)}

The statement of the slides holds: nothing but samples of `x(t)` was needed. What is learned is good for samples, and not yet
for likelihoods. The reverse SDE forgets an error of the score; the ODE, which runs from the data to the prior, multiplies
it, because next to the prior the flow is the small difference of two large terms, the drift and the score.

It has a price, too. The simulation of a batch takes {numbers["forward_steps"]} steps in the place of one formula, and
{numbers["simulation"]:.1f} times the processor time of a whole gradient of denoising score matching; with the network and its
derivative a gradient is {numbers["dearer"]:.1f} times as dear (the same loss under VP: {numbers["dearer_by_kernel"]:.1f} times).
Dearer is the noise of the loss: from t = 0.1 on, the error after as many steps is {least:.1f} to {most:.1f} times that of
denoising. If it falls as one over the root of the number of steps, {least**2:.0f} to {most**2:.0f} times as many are needed.
An affine drift is the better choice unless the process itself is wanted.
"""
