"""Missing numbers of examples, drawn given the others: by replacement of what is known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorejax import data, guidance, samplers
from scorejax.experiment import assemble, inputs
from scorejax.experiment import config as configs
from scorejax.experiment.evaluation.subject import SAMPLES
from scorejax.experiment.trained import Trained
from scorejax.numerics import keys as keys_lib


def imputed(
    trained: Trained,
    x: np.ndarray,
    *,
    seed: int = 0,
    condition: Any = None,
    steps: int | None = None,
    rounds: int = 10,
    jump: int = 1,
) -> np.ndarray:
    """Return examples whose missing numbers are drawn from their law given the known ones.

    After each step what is known is drawn from its own law at the time reached, and the sampler goes back up and comes
    down again, so that the rest settles with it (RePaint, `guidance.replacement` and `guidance.resampling`). Known
    numbers are given back as they came.

    Args:
        trained: a model with a score, of floating numbers.
        x: examples `[B, ...]` in the user's units, NaN where a number is missing.
        seed: of the draws; another one gives another draw.
        condition: as of `Run.log_prob`.
        steps: of the sampler; unset: those of the run.
        rounds: how often each step is taken; more lessen the bias of replacement, at that many evaluations.
        jump: how many steps each round goes back over.

    Raises:
        ValueError: counted numbers, another shape, an infinite number, or a process without `alpha_t` and `sigma_t`.
    """
    form, space = trained.form, trained.space
    if form.levels is not None or not isinstance(space, data.Channels):
        raise ValueError(
            f"impute fills in floating numbers, and {form.name!r} holds counted ones; for images take "
            "--mode=sample --config.guidance=inpaint"
        )
    x = np.asarray(x, np.dtype(form.dtype))
    known = ~np.isnan(x)
    inputs.examples(form, np.where(known, x, 0.0))  # their shape
    if np.isinf(x).any():
        raise ValueError("x holds infinite numbers; what is missing is NaN")
    sent = jnp.asarray(np.where(known, space.encode(x), 0.0), jnp.float32)
    config = configs.copy(trained.config)
    if steps is not None:
        config.sampler.steps = steps
    sde = assemble.gaussian(trained.sde, "impute")
    given = inputs.condition_of_each(form, trained.model, condition, len(x))
    arguments: dict[str, Any] = dict(assemble.sampler(config, sde, data_range=space.interval))

    held = guidance.replacement(arguments.pop("stepper"), guidance.known(sent, jnp.asarray(known)))
    key = jax.random.fold_in(jax.random.key(seed), SAMPLES)
    # what is drawn is compiled once for all examples of a shape: score and stepper are arguments of the program
    drawn = samplers.sample(
        keys_lib.per_example(key, len(sent)),
        sde,
        trained.model.score_given(given),
        sent.shape,
        stepper=guidance.resampling(held, rounds, jump),
        **arguments,
    )
    found = space.decode(np.asarray(drawn.x))
    return np.where(known, x, found)
