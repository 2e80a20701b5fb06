"""The law of an energy as functions of its weights: what all kinds of training of energies share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl import logging
from jax import Array, lax
from jax.tree_util import Partial

from scorejax import data, sdes
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Metrics, Params
from scorejax.numerics import keys as keys_lib
from scorejax.objectives.contrastive import contrastive
from scorejax.objectives.score_matching import StaticScore, of_energy
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.samplers.negatives import Chains, Negatives, Start

_DATA_NOISE, _MATCHING = 6, 7  # streams of an example's key; 0 prepares the example, 1 to 5 belong to its chain
_FLAT = 1e-5  # relative spread of second derivatives that is none
MOST_RESCUED = 0.5
"""Share of chains that run away in a step, above which the energy is not to be trusted."""


def negatives(
    *,
    start: Start,
    count: int,
    anew: float,
    langevin_steps: int,
    step_size: float,
    noise_scale: float | None,
    start_scale: float,
    offers: bool | None,
    gradient_clip: float,
    clip_chains: bool,
) -> Negatives:
    """The negative samples that the settings of a recipe ask for.

    Raises:
        ConfigError: two of them do not go together.
    """
    noise_scale = math.sqrt(2 * step_size) if noise_scale is None else noise_scale
    if offers and clip_chains:
        raise ConfigError(
            "recipe.offers=true are fresh starts of a normal law, and recipe.clip_chains=true cuts it off"
        )
    offers = start == "persistent" and not clip_chains if offers is None else offers
    moves = Chains(langevin_steps, step_size, noise_scale, start_scale, offers, gradient_clip)
    return Negatives(start, count, anew, moves)


def held(found: Negatives, space: data.Space) -> Negatives:
    """The same with chains that are held in the range of images.

    Raises:
        ConfigError: the data are vectors, which have none.
    """
    if space.interval is None:
        raise ConfigError("recipe.clip_chains=true holds chains in the range of images, and vectors have none")
    return dataclasses.replace(found, chains=dataclasses.replace(found.chains, interval=space.interval))


@dataclass(frozen=True)
class EnergyLaw:
    """The law `exp(-E(x) / T) / Z`; equal for equal settings, so that compiled programs are found again.

    `T` is the temperature of the chains that the energy is trained against: the gradient of contrastive divergence is
    that of the likelihood of this law.

    Attributes:
        network: `x [B, ...] -> E [B]`, or the logits `[B, K]` of a joint energy.
        negatives: chains in training; samples are the ends of such ones.
        sample_steps: moves of a chain for each sample.
        data_noise: deviation of noise on the data of training.
        magnitude: weight of the squares of energies.
        joint: whether the network returns logits.
        matching: the objective of score matching that trains the energy, whose law is then `exp(-E) / Z`; None: chains.
        level: deviation of the noise in the data whose law it is.
        denoise: whether samples end without that noise.
    """

    network: nn.Module
    negatives: Negatives
    sample_steps: int = 2000
    data_noise: float = 0.0
    magnitude: float = 0.0
    joint: bool = False
    matching: Callable[[Array, StaticScore, Array], Array] | None = None
    level: float = 0.0
    denoise: bool = True

    @property
    def chains(self) -> Chains:
        """How chains move."""
        return self.negatives.chains

    @property
    def scale(self) -> float:
        """Nats for a unit of the energy: `1 / T`; 1 for chains without noise, which have no law."""
        return 1.0 if self.matching or not self.chains.temperature else 1 / self.chains.temperature

    def raw(self, params: Params, x: Array) -> Array:
        """What the network returns."""
        value = self.network.apply({"params": params}, x)
        assert isinstance(value, Array)
        return value

    def energy(self, params: Params, x: Array) -> Array:
        """`E(x)`, `[B]`; of joint energies `-log sum_y exp f_y(x)`."""
        value = self.raw(params, x)
        return -jax.nn.logsumexp(value, axis=-1) if self.joint else value

    def nats(self, params: Params, x: Array) -> Array:
        """`E(x) / T`, `[B]`."""
        return self.scale * self.energy(params, x)

    def score(self, params: Params, x: Array, t: Array | None = None, condition: None = None) -> Array:
        """`-grad E(x) / T`, the score of the data: it has one noise level, so any time gives the same."""
        return -jax.grad(lambda y: jnp.sum(self.nats(params, y)))(x)

    def logits(self, params: Params, x: Array, t: Array | None = None) -> Array:
        """`f(x)`, whose softmax is `p(y | x)`, of joint energies."""
        return self.raw(params, x)

    def sample(self, params: Params, keys: Array, shape: tuple[int, ...]) -> Array:
        """Draw samples, each the end of a chain of its own; of noisy data the mean of the data given it (Tweedie)."""
        x = self.chains.run(Partial(self.energy, params), keys, shape, self.sample_steps)
        return x + self.level**2 * self.score(params, x) if self.denoise and self.level else x

    def noisy(self, batch: Batch, keys: Array) -> Array:
        """The data of a step, with noise if there is to be some."""
        if not self.data_noise:
            return batch.x
        noise = keys_lib.normal(keys_lib.fold_in(keys, _DATA_NOISE), batch.x.shape, batch.x.dtype)
        return batch.x + self.data_noise * noise

    def contrast(
        self, params: Params, carry: Array | None, batch: Batch, keys: Array
    ) -> tuple[Array, Array | None, Metrics]:
        """The contrastive loss of a step, `[b]`, the chains after it, and what is logged.

        Raises:
            ConfigError: fewer chains than examples.
        """
        x, fixed = self.noisy(batch, keys), lax.stop_gradient(params)
        with user_errors("section recipe"):
            drawn = self.negatives.draw(
                Partial(self.energy, fixed),
                carry,
                x,
                keys,
                batch.step,
                jax.random.fold_in(batch.device_key, _DATA_NOISE),
            )
        found = contrastive(Partial(self.energy, params), x, drawn.x, magnitude=self.magnitude, sound=drawn.sound)
        metrics = {
            "energy_of_data": found.of_data,
            "energy_of_chains": found.of_samples,
            "rescued_chains": 1.0 - drawn.sound,
            "temperature": jnp.float32(self.chains.temperature),
        }
        return found.loss, drawn.carry, metrics

    def match(self, params: Params, batch: Batch, keys: Array) -> tuple[Array, None, Metrics]:
        """The loss of score matching in a step, `[b]`, and what is logged."""
        assert self.matching is not None
        x = self.noisy(batch, keys)
        losses = self.matching(keys_lib.fold_in(keys, _MATCHING), of_energy(Partial(self.energy, params)), x)
        return losses, None, {}

    def warn_of_no_curvature(self, shape: tuple[int, ...]) -> None:
        """Warn if the second derivatives of the energy are the same everywhere, for weights drawn at random.

        Score matching asks by how much the slope changes from place to place; of a network of ReLU, whose energy is
        linear piece by piece, it learns nothing but to make the slope small.
        """
        with jax.ensure_compile_time_eval():
            spread = float(jax.jit(self._spread_of_curvature, static_argnums=0)(shape))
        if spread < _FLAT:
            logging.warning(
                "the energy of model = %r has the same second derivatives everywhere, so that score matching cannot "
                "see its shape: take a smooth activation, such as model.activation=silu or softplus",
                type(self.network).__name__,
            )

    def _spread_of_curvature(self, shape: tuple[int, ...]) -> Array:
        """How much `v^T H v` varies over places near each other, relative to its size, for weights out of a hat."""
        keys = jax.random.split(jax.random.key(0), 4)
        params = self.network.init(keys[0], jnp.zeros((1, *shape)))["params"]
        leaves, tree = jax.tree.flatten(params)
        drawn = [
            leaf + 0.1 * jax.random.normal(key, leaf.shape, leaf.dtype)
            for leaf, key in zip(leaves, jax.random.split(keys[1], len(leaves)), strict=True)
        ]
        x = jax.random.normal(keys[2], (1, *shape)) + 0.1 * jax.random.normal(keys[3], (8, *shape))
        v = jax.random.rademacher(keys[3], (1, *shape), x.dtype)
        score = Partial(self.score, jax.tree.unflatten(tree, drawn))
        products = jax.jvp(score, (x,), (jnp.broadcast_to(v, x.shape),))[1]
        products = products.reshape(len(x), -1)
        return jnp.max(jnp.std(products, axis=0)) / (1e-12 + jnp.max(jnp.abs(products)))

    def model(self, params: Params) -> Model:
        """What an energy with these weights can do."""
        return Model(
            sde=sdes.still(self.level, start_scale=self.chains.start_scale),
            score=Partial(self.score, params),
            energy=Partial(self.nats, params) if self.matching or self.chains.temperature else None,
            logits=Partial(self.logits, params) if self.joint else None,
            sample=Partial(self.sample, params),
            sample_nfe=self.chains.evaluations(self.sample_steps) + (self.denoise and self.level > 0),
            temperature=self.chains.temperature,
        )


def trusted(metrics: Metrics, max_gap: float) -> Array:
    """Whether the energies of a step are to be trusted: data and chains not far apart, and few chains run away."""
    gap = metrics["energy_of_data"] - metrics["energy_of_chains"]
    return (jnp.abs(gap) <= max_gap) & (metrics["rescued_chains"] <= MOST_RESCUED)


def remark(means: Mapping[str, float], max_gap: float) -> str | None:
    """What is worth a warning in the means of the last steps."""
    if back := means.get("went_back", 0.0):
        return (
            f"the energy diverged: in {back:.0%} of the last steps the mean energies of data and chains were more than "
            f"recipe.max_gap = {max_gap:g} apart, chains ran away, or a number was not finite; training went back to "
            "the averaged weights. Lower optim.lr or recipe.step_size, or take more recipe.langevin_steps"
        )
    if (rescued := means.get("rescued_chains", 0.0)) > 0.01:
        return (
            f"{rescued:.1%} of the chains ran away in the last steps and began anew: lower recipe.step_size or "
            "optim.lr, or hold the moves by recipe.gradient_clip"
        )
    return None
