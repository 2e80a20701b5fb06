"""A flow for the noise within gray levels, next to a frozen score: variational dequantization (Flow++, ScoreFlow)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import likelihood, models
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe, training_settings
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Natural
from scorejax.runtime.errors import ConfigError, user_errors


class Dequantizer(Recipe):
    """A conditional flow that replaces uniform dequantization, by the bound in bits/dim of a frozen score."""

    draws = False
    uses = ()
    section = "dequantizer"
    training: ClassVar[Mapping[str, object]] = training_settings(clip=1.0, ema_decay=0.99)
    tiny: ClassVar[Mapping[str, object]] = {
        "steps": 4,
        "batch": 16,
        "log_every": 2,
        "checkpoint_every": 2,
        "features": 8,
        "components": 2,
    } | {
        "blocks": 1,
        "heads": 2,
        "flows": 1,
    }

    def __init__(
        self,
        given: Given,
        *,
        times_per_example: Count = 1,
        features: Count | None = None,
        components: Count | None = None,
        blocks: Natural | None = None,
        heads: Count | None = None,
        flows: Count | None = None,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for, with the score.
            times_per_example: times of the likelihood bound, drawn for each example of a batch.
            features: channels of the flow.
            components: logistics of each coupling.
            blocks: gated blocks of each coupling.
            heads: of attention.
            flows: couplings.
        """
        super().__init__(given)
        self.times_per_example = times_per_example
        layers: dict[str, Any] = {
            "features": features, "components": components, "blocks": blocks, "heads": heads, "flows": flows
        }  # fmt: skip
        with user_errors("section dequantizer"):
            self.flow = models.FlowDequantizer(**{key: value for key, value in layers.items() if value is not None})

    @staticmethod
    def folder(settings: dict[str, object]) -> str:
        """The folder of the dequantizer, within that of the score's run."""
        return "dequantizer"

    @property
    def gray_levels(self) -> int:
        """The number of gray levels of the data, which must have some."""
        form, gray_levels = self.given.form, self.given.space.gray_levels
        if gray_levels is None or not form.pictured:
            raise ConfigError(
                f"{form.name!r} holds no images of gray levels: only gray levels are dequantized by a network"
            )
        if form.shape[1] % 2:
            raise ConfigError(f"{form.name!r} is {form.shape[1]} pixels wide; the dequantizer needs an even width")
        return gray_levels

    def init(self, key: Array) -> Params:
        assert self.gray_levels
        nothing = jnp.zeros((1, *self.given.form.shape))
        return self.flow.init(key, nothing, nothing)["params"]

    def loss(self, params: Params, carry: None, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        beside = self.given.beside
        if beside is None or beside.model.score is None:
            raise ConfigError("a dequantizer is trained next to a score; give the --workdir of a run that has one")
        model = beside.model
        assert model.sde is not None
        bound = likelihood.bound_bits(
            keys_lib.fold_in(keys, 1),
            networks.gaussian(model.sde, "the bound that a dequantizer is trained by"),
            model.score_given(batch.labels if model.conditional else None),
            batch.raw,
            self.gray_levels,
            centered=self.config.data.centered,
            samples=self.times_per_example,
            chunk=self.times_per_example,
            dequantizer=self._bind(params),
        )
        return bound.value, None, {}

    def model(self, params: Params) -> Model:
        return Model(dequantizer=self._bind(params))

    def _bind(self, params: Params) -> Partial:
        return Partial(_Draw(self.flow, self.gray_levels), params)


@dataclasses.dataclass(frozen=True)
class _Draw:
    """Static part of a bound flow; equal for equal settings, so that compiled programs are found again."""

    flow: models.FlowDequantizer
    gray_levels: int

    def __call__(self, params: Params, keys: Array, examples: Array) -> tuple[Array, Array]:
        u = keys_lib.uniform(keys, examples.shape, jnp.float32)
        # the middle of one of 2^23 cells: never 0, whose logit is infinite
        noise = jax.scipy.special.logit(jnp.clip(u, 2.0**-24, 1.0 - 2.0**-24))
        images = 2.0 * (examples.astype(jnp.float32) + 0.5) / self.gray_levels - 1.0
        result: Params = self.flow.apply({"params": params}, noise, images)
        return result
