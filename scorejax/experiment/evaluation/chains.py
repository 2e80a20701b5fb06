"""How well the Langevin chains of a model of one noise level mix: correlation of their states, and acceptance.

The states of a few chains are kept on their way, for the second half of it. Their energies are measured with them where
the model has an energy; so is the acceptance of Metropolis at the end of the chains, also for chains that are not
corrected: what it is below one is the error of their step.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import samplers
from scorejax.experiment import assemble
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import draw, places, variances
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result, Work
from scorejax.experiment.evaluation.subject import CHAINS, Subject, carried
from scorejax.experiment.recipe import Params
from scorejax.samplers.chains import MALA, ULA, Move, metropolis_start, metropolis_step

_STATES, _FEWEST, _MOST = 2**24, 4, 64  # numbers in memory; chains
_MOVES = 50  # over which acceptance is measured
_STUCK = 0.05  # acceptance below which chains stand still


def mixing(model: Subject, moves: int = _MOVES) -> Result:
    """Run a few chains with the sampler of the config, and measure their mixing and acceptance."""
    arguments: dict[str, Any] = dict(assemble.sampler(model.config, model.sde, model.fitted, model.space.interval))
    arguments.pop("denoise")
    stepper = arguments["stepper"]
    n = len(arguments["times"]) - 1
    count = int(np.clip(_STATES // (n * model.form.dimension), _FEWEST, _MOST))
    shape = (count, *model.form.shape)
    kept = min(n, max(4, n - n // 2))  # the second half, but no fewer than can be measured

    def run(params: Params, key: Array) -> dict[str, Array]:
        of = model.at(params)
        own = {**arguments, "stepper": variances.of_stepper(stepper, None, of, None)}
        score = of.score_given(None)
        states = samplers.trajectory(key, model.sde, score, shape, **own).x[-kept:]
        numbers = states.reshape(len(states), count, -1)
        effective = samplers.effective_sample_size(numbers)
        found = {
            "effective": jnp.median(effective),
            "least": jnp.min(effective),
            "scale": jnp.max(samplers.potential_scale(numbers)),
            "finite": jnp.all(jnp.isfinite(states)),
        }
        if of.energy is not None:
            energies = jax.lax.map(of.energy, states)[..., None]
            found["energy_effective"] = samplers.effective_sample_size(energies)[0]
            if isinstance(stepper, ULA | MALA):
                found["acceptance"] = _acceptance(key, of.energy, states[-1], stepper, moves)
        return found

    found = model.compute.once(jax.jit(run), *carried(model, CHAINS))
    values = {name: float(value) for name, value in found.items()}
    return {
        "chains": count,
        "states": kept,
        "moves_between_states": getattr(stepper, "steps", 1),
        "temperature": float(getattr(stepper, "temperature", 1.0)),
        "effective_sample_size": values["effective"],
        "effective_sample_size_least": values["least"],
        "potential_scale_largest": values["scale"],
        **({"effective_sample_size_energy": values["energy_effective"]} if "energy_effective" in values else {}),
        **({"acceptance": values["acceptance"]} if "acceptance" in values else {}),
        "diverged": not bool(values["finite"]),
    }


def _acceptance(key: Array, energy: Any, x: Array, stepper: ULA | MALA, moves: int) -> Array:
    """The share of proposals that Metropolis accepts at these points, over a few moves."""
    keys = jax.random.split(jax.random.fold_in(key, 1), len(x))

    def move(at: Move, i: Array) -> tuple[Move, Array]:
        each = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
        at = metropolis_step(each, energy, at, stepper.step_size, stepper.temperature)
        return at, jnp.mean(at.accepted)

    start = metropolis_start(energy, x)
    return jnp.mean(jax.lax.scan(move, start, jnp.arange(moves))[1])


def lines(result: Result) -> list[str]:
    """The numbers for a person."""
    worth = result["chains"] * result["states"]
    said = [
        f"  Langevin chains     effective sample size {result['effective_sample_size']:.0f} of {worth} states "
        f"(least coordinate {result['effective_sample_size_least']:.0f}), R-hat {result['potential_scale_largest']:.3f}"
        f", temperature {result['temperature']:g}"
    ]
    if "acceptance" in result:
        said.append(f"                      Metropolis accepts {100 * result['acceptance']:.1f} % of such moves")
    if result["diverged"] or not math.isfinite(result["effective_sample_size"]):
        said.append("                      the chains DIVERGED: lower sampler.stepper.step_size")
    elif result.get("acceptance", 1.0) < _STUCK:
        said.append("                      hardly a chain moves: lower sampler.stepper.step_size")
    elif result["potential_scale_largest"] > 1.1:
        said.append(
            "                      the chains have not mixed: run them longer, or each keeps the mode it began in"
        )
    return said


def _asked(config: Config) -> bool:
    return config.eval.samples > 0


def _prepare(held: Held) -> Work:
    def work(folder: Path) -> Result:
        return mixing(held.subject)

    return work


EVALUATION = Evaluation(
    "chains",
    ("chains",),
    _asked,
    _prepare,
    lines,
    without="eval.samples=0",
    units={"effective_sample_size": "states", "potential_scale_largest": "1", "acceptance": "share"},
    reads=places.DRAWN,
    fits=lambda subject: not draw.by_itself(subject),
)
