"""Given images diffused part of the way and sampled back, into the model's domain or from another into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Unpack

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import guidance, samplers
from scorejax.experiment import assemble
from scorejax.experiment.assemble.sampling import SamplerArguments
from scorejax.experiment.steering import by_class, measurement
from scorejax.experiment.steering.guidance import NOISE, About, OfImages, Task
from scorejax.guidance.operators import OPERATORS, Operator
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, NonNegative, Positive
from scorejax.numerics.trees import register_dataclass, static
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE


@register_dataclass
@dataclass(frozen=True)
class EditTask(Task):
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
        self,
        keys: Array,
        process: LinearSDE,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        own: dict[str, Any] = {**sampler, "steps": len(self.times) - 1, "grid": lambda *_: self.times}
        del own["times"]
        return guidance.sdedit(keys, process, score, y, self.t0, repeats=self.repeats, mask=self.editable, **own)


@register_dataclass
@dataclass(frozen=True)
class TranslateTask(Task):
    """An edit led away from what marks the source's domain, and held to the source's low frequencies (EGSDE).

    Attributes:
        edit: how far and how often.
        features: of a classifier of domains that knows the noise.
        low_pass: the operator `A` for which `A^+ A` keeps the low frequencies.
        lambda_s: nats for losing the domain.
        lambda_i: nats for keeping the frequencies.
    """

    edit: EditTask
    features: Partial
    low_pass: Operator
    lambda_s: float = static()
    lambda_i: float = static()

    def sample(
        self,
        keys: Array,
        process: LinearSDE,
        score: Score,
        y: Array,
        shape: tuple[int, ...],
        **sampler: Unpack[SamplerArguments],
    ) -> samplers.Sample:
        noise = keys_lib.normal(keys_lib.fold_in(keys, NOISE), shape)
        energies = (
            guidance.realistic(process, self.features, y, noise),
            guidance.faithful(process, Partial(_low_frequencies, self.low_pass), y),
        )
        score = guidance.experts(score, energies, (self.lambda_s, self.lambda_i))
        return self.edit.sample(keys, process, score, y, shape, **sampler)


@dataclass(frozen=True, kw_only=True)
class Edit(OfImages):
    """Make images likely under the model: diffuse them part of the way and come back (SDEdit).

    Attributes:
        t0: the time to which a given image is diffused.
        repeats: how often.
        mask: where it may change.
    """

    t0: Positive = 0.5
    repeats: Count = 1
    mask: Annotated[str, measurement.MASK_OR_NONE] = "none"

    def image_task(self, about: About) -> EditTask:
        return _edit(about, self.t0, self.repeats, self.mask)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Translate(OfImages):
    """Carry images of another domain into the model's (EGSDE).

    Attributes:
        classifier: workdir of a classifier of the domains.
        t0: the time to which a given image is diffused.
        repeats: how often.
        lambda_s: nats for losing what marks the source's domain.
        lambda_i: nats for keeping the source's low frequencies.
        low_pass: which are means over squares of so many pixels.
        target: folder or .npz of the domain translated to; None: `eval.reference_split` of the data.
    """

    classifier: str | None = None
    t0: Positive = 0.5
    repeats: Count = 1
    lambda_s: NonNegative = 500.0
    lambda_i: NonNegative = 2.0
    low_pass: Count = 4
    target: str | None = None

    def image_task(self, about: About) -> TranslateTask:
        features = by_class.trained_classifier(about, self.classifier).features

        def make(shape: tuple[int, ...], key: Array) -> Operator:
            return OPERATORS["superresolution"](shape, key, factor=self.low_pass)

        means = measurement.operator(make, about.form.shape, about.key)
        edit = _edit(about, self.t0, self.repeats, measurement.no_mask)
        return TranslateTask(edit, features, means, self.lambda_s, self.lambda_i)


def _edit(about: About, t0: float, repeats: int, mask: measurement.MakeMask) -> EditTask:
    sde = about.sde
    if not sde.t_min < t0 <= sde.t_max:
        raise ConfigError(f"guidance.t0 = {t0} lies outside ({sde.t_min}, {sde.t_max}], the times of the process")
    if repeats < 1:
        raise ConfigError(f"guidance.repeats = {repeats}; it must be at least 1")
    c = about.config.sampler
    stepper = assemble.make_stepper(about.config)
    with user_errors("section sampler"):
        times = jnp.asarray(assemble.time_grid(about.config, sde.replace(t_max=t0), stepper))
    # What prepares tables does so for the sampler's own grid, from the prior down.
    needs_grid = type(stepper).prepare is not samplers.Stepper.prepare
    if abs(float(times[0]) - t0) > 1e-6 * sde.t_max or needs_grid:
        raise ConfigError(
            f"sampler.stepper = {c.stepper.name!r} on sampler.time_grid = "
            f"{assemble.grid_name(about.config, sde, stepper)!r} belongs to a grid that "
            f"starts at {sde.t_max}, and an edit starts at guidance.t0 = {t0}; choose a stepper that is no reverse "
            "chain, and a grid such as uniform or log_snr"
        )
    known = measurement.known_part(mask, about.form.shape, about.key)
    return EditTask(None if known is None else jnp.asarray(~known), times, t0, repeats)


def _low_frequencies(means: Operator, x: Array) -> Array:
    return means.pinv(means.forward(x))
