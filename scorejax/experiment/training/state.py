"""What training changes, and one step of it down a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from scorejax.experiment.config import Config
from scorejax.experiment.recipe import Metrics, Params
from scorejax.experiment.training.gradients import Measured
from scorejax.numerics import power_averages as powers_lib
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError

MOSTLY = 0.3  # share of the initialization in an average that is worth a warning
INIT, EXAMPLES, TIMES, DROPOUT = range(4)  # streams of randomness, each folded into the run's key


WENT_BACK = "went_back"
"""The metric that is 1 for a step that led back to the averaged weights."""
RESERVED = (
    "step",
    "loss",
    "grad_norm",
    "lr",
    "steps_per_s",
    "images_per_s",
    "vectors_per_s",
    "examples_per_s",
    WENT_BACK,
)
"""Names that the loop logs itself."""


class State(NamedTuple):
    """Everything training changes, arrays only; the same on every device but for a carry of each device's own.

    Attributes:
        step: optimizer steps taken, int32.
        params: what the recipe trains.
        ema: its exponential moving average.
        opt_state: of the optimizer.
        key: the run's PRNG key; constant, all randomness is a function of it and of the step.
        carry: what the recipe remembers; None if nothing.
        powers: averages of `params` by power functions of time, one for each length of `ema.lengths`; None if none.
    """

    step: Array
    params: Params
    ema: Params
    opt_state: optax.OptState
    key: Array
    carry: Params | None = None
    powers: tuple[Params, ...] | None = None


def descend(
    config: Config,
    optimizer: optax.GradientTransformation,
    state: State,
    found: Measured,
    trusts: Callable[[Metrics], Array | None] = lambda metrics: None,
) -> tuple[State, Metrics]:
    """The state after a step down the mean over all devices of the gradients that they found.

    A step that is not to be trusted, see `Recipe.trusts`, leads back to the averaged weights.
    """
    carry = found.carry
    # Inside the mapped step a gradient is the device's own: average it, once, before it is clipped.
    value, gradient, named = parallel.mean((found.value, found.gradient, found.named))
    norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient)))
    metrics = {"loss": value, "grad_norm": norm, **named}
    trust = trusts(named)
    if trust is not None:
        trust &= jnp.isfinite(value) & jnp.isfinite(norm)
        gradient = chosen(trust, gradient, jax.tree.map(jnp.zeros_like, gradient))
        metrics[WENT_BACK] = 1.0 - trust
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = average(config, state.ema, params, state.step)
    powers = power_averages(config, state.powers, params, state.step)
    if trust is not None:
        params, ema = chosen(trust, params, state.ema), chosen(trust, ema, state.ema)
        powers = chosen(trust, powers, state.powers)
    carry = jax.tree.map(lax.stop_gradient, carry)
    return State(state.step + 1, params, ema, opt_state, state.key, carry, powers), metrics


def chosen(condition: Array, tree: Params, other: Params) -> Params:
    """One of two trees of arrays."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), tree, other)


def checked(
    found: tuple[Array, Params | None, Metrics], carry: Params | None, count: int
) -> tuple[Array, Params | None, Metrics]:
    """What the loss of a recipe returned, if it keeps the contract; found out while the step is traced.

    Args:
        found: the losses `[b]`, the new carry, and metrics by name.
        carry: the carry before.
        count: how many examples there were.

    Raises:
        ConfigError: it does not.
    """
    if not (isinstance(found, tuple) and len(found) == 3 and isinstance(found[2], dict)):
        raise ConfigError(f"the loss of a recipe returns (losses [b], carry, {{name: metric}}), got {_kind(found)}")
    losses, after, metrics = found
    if jnp.shape(losses) != (count,) or not jnp.issubdtype(jnp.result_type(losses), jnp.floating):
        raise ConfigError(f"the loss of a recipe is one number for each of the {count} examples, got {_kind(losses)}")
    forms = [jax.tree.map(lambda leaf: (jnp.shape(leaf), str(jnp.result_type(leaf))), tree) for tree in (carry, after)]
    if forms[0] != forms[1]:
        raise ConfigError(f"the carry of a recipe keeps its structure, shapes and types, {forms[0]}; got {forms[1]}")
    for name, value in metrics.items():
        if not isinstance(name, str) or name in RESERVED:
            raise ConfigError(f"a metric of a recipe is called {name!r}; take text other than {', '.join(RESERVED)}")
        if not isinstance(value, Array | float | int) or jnp.shape(value) not in ((), (count,)):
            raise ConfigError(f"metric {name!r} of a recipe is a number, or one for each example; got {_kind(value)}")
    return found


def _kind(value: object) -> str:
    """A value as a message shows it."""
    if isinstance(value, Array):
        return f"{value.dtype} of shape {value.shape}"
    return f"{len(value)} things" if isinstance(value, tuple) else type(value).__name__


def average(config: Config, ema: Params, params: Params, step: Array) -> Params:
    """`d ema + (1 - d) params`; with warm-up `d = min(decay, (1 + n) / (10 + n))`, for short runs."""
    decay = jnp.float32(config.ema.decay)
    if config.ema.warmup:
        decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    # In the type of each leaf: parameters may be bfloat16.
    return jax.tree.map(lambda old, new: (old + (1 - decay) * (new - old)).astype(old.dtype), ema, params)


def first_powers(config: Config, params: Params) -> tuple[Params, ...] | None:
    """The averages by power functions before the first step, which forgets them."""
    lengths = config.ema.lengths
    return tuple(jax.tree.map(lambda p: p.astype(jnp.float32), params) for _ in lengths) if lengths else None


def power_averages(
    config: Config, powers: tuple[Params, ...] | None, params: Params, step: Array
) -> tuple[Params, ...] | None:
    """Those averages after a step: `average + share (params - average)`, see `numerics.power_averages`."""
    if powers is None:
        return None
    found = []
    for length, tree in zip(config.ema.lengths, powers, strict=True):
        new = powers_lib.newest_share(powers_lib.exponent(length), step + 1)
        found.append(jax.tree.map(lambda old, p, new=new: old + new * (p.astype(jnp.float32) - old), tree, params))
    return tuple(found)


def initial_share(config: Config, steps: int) -> float:
    """How much of the average after so many steps is still the initialization: the product of all decays."""
    decays = np.full(steps, config.ema.decay)
    if config.ema.warmup:
        n = np.arange(steps)
        decays = np.minimum(decays, (1.0 + n) / (10.0 + n))
    return float(np.prod(decays))


def hardly_averaged(config: Config, steps: int) -> str | None:
    """What to say of an average that is still mostly the initialization; None if it is not."""
    share = initial_share(config, steps)
    if share <= MOSTLY or config.init_from:  # published weights are worth keeping
        return None
    decay = round(math.exp(-4 / max(steps, 1)), len(str(steps)))  # which leaves 2 percent
    return (
        f"after {steps:,} steps at ema.decay = {config.ema.decay} the average is still {share:.0%} the initialization, "
        f"and so are samples and numbers: train with ema.warmup=true, or ema.decay={decay:g}"
    )


def repeat(update: Callable[..., tuple[State, Metrics]], count: int) -> Callable[..., tuple[State, Metrics]]:
    """`count` steps as one program; metrics are stacked, `[count]`."""
    if count == 1:  # not a loop of length one: XLA for CPU leaves convolutions in loops slow even then

        def once(state: State, *given: Params) -> tuple[State, Metrics]:
            state, metrics = update(state, *given)
            return state, jax.tree.map(lambda m: m[None], metrics)

        return once
    return lambda state, *given: lax.scan(lambda s, _: update(s, *given), state, length=count)
