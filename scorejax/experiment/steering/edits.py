"""Given images diffused part of the way and sampled back, into the model's domain or from another into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import data as data_lib
from scorejax import guidance, samplers
from scorejax.experiment import assemble as build
from scorejax.experiment.assemble.chains import GRIDS, TRAJECTORIES
from scorejax.experiment.assemble.sampling import CHAINS
from scorejax.experiment.config import Config
from scorejax.experiment.steering import by_class, measurement
from scorejax.experiment.steering.task import NOISE, Task, key
from scorejax.guidance.operators import Operator
from scorejax.numerics import keys as keys_lib
from scorejax.runtime.errors import ConfigError
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE
from scorejax.sdes.linear import static

_PLAIN_GRIDS = [name for name in GRIDS if name not in TRAJECTORIES]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Edit(Task):
    """Images diffused to `t0` and sampled back (SDEdit).

    Attributes:
        editable: `[H, W, 1]`, where they may change; None: everywhere.
        times: the grid from `t0` down.
        t0: a time of the process.
        repeats: how often.
    """

    editable: Array | None
    times: Array
    t0: float = static()
    repeats: int = static()

    def sample(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], **sampler: Any
    ) -> samplers.Sample:
        sampler = {**sampler, "steps": len(self.times) - 1, "grid": lambda *_: self.times}
        del sampler["times"]
        return guidance.sdedit(keys, process, score, y, self.t0, repeats=self.repeats, mask=self.editable, **sampler)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Translate(Task):
    """The same, led away from what marks the source's domain and held to its low frequencies (EGSDE).

    Attributes:
        edit: how far and how often.
        features: of a classifier of domains that knows the noise.
        low_pass: of which `A^+ A` keeps the low frequencies.
        lambda_s: nats for losing the domain.
        lambda_i: nats for keeping the frequencies.
    """

    edit: Edit
    features: Partial
    low_pass: Operator
    lambda_s: float = static()
    lambda_i: float = static()

    def sample(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], **sampler: Any
    ) -> samplers.Sample:
        noise = keys_lib.normal(keys_lib.fold_in(keys, NOISE), shape)
        energies = (
            guidance.realistic(process, self.features, y, noise),
            guidance.faithful(process, Partial(_low_frequencies, self.low_pass), y),
        )
        score = guidance.experts(score, energies, (self.lambda_s, self.lambda_i))
        return self.edit.sample(keys, process, score, y, shape, **sampler)


def edit(
    config: Config, process: LinearSDE, examples: data_lib.Dataset, *, t0: float = 0.5, repeats: int = 1,
    mask: str | None = None,
) -> Edit:  # fmt: skip
    """Make images likely under the model: diffuse them part of the way and come back."""
    if not process.t_min < t0 <= process.t_max:
        raise ConfigError(
            f"guidance.t0 = {t0} lies outside ({process.t_min}, {process.t_max}], the times of the process"
        )
    if repeats < 1:
        raise ConfigError(f"guidance.repeats = {repeats}; it must be at least 1")
    c = config.sampler
    if c.stepper in CHAINS or c.times in TRAJECTORIES:
        raise ConfigError(
            f"sampler.stepper = {c.stepper!r} on sampler.times = {c.times!r} belongs to a grid that starts at "
            f"{process.t_max}, and an edit starts at guidance.t0 = {t0}; choose another stepper, on one of "
            f"{', '.join(_PLAIN_GRIDS)}"
        )
    known = None if mask is None else measurement.known_part(mask, examples.shape, key(config))
    editable = None if known is None else jnp.asarray(~known)
    times = jnp.asarray(build.grid(process.replace(t_max=t0), c.times, c.steps, t_min=c.t_min))
    return Edit(editable, times, t0, repeats)


def translate(
    config: Config, process: LinearSDE, examples: data_lib.Dataset, *, classifier: str | None = None,
    t0: float = 0.5, repeats: int = 1, lambda_s: float = 500.0, lambda_i: float = 2.0, low_pass: int = 4,
) -> Translate:  # fmt: skip
    """Carry images of another domain into the model's."""
    features = by_class.trained_classifier(config, process, examples, classifier).features
    means = measurement.operator(f"superresolution:{low_pass}", None, examples.shape, key(config))
    return Translate(edit(config, process, examples, t0=t0, repeats=repeats), features, means, lambda_s, lambda_i)


def _low_frequencies(means: Operator, x: Array) -> Array:
    return means.pinv(means.forward(x))
