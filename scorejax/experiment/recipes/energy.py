"""An energy, trained by persistent contrastive divergence.

The density is `exp(-E(x)) / Z`. The gradient of its mean negative log over the data is `E_data[grad E] - E_p[grad E]`;
the second mean is taken over Langevin chains that live on from step to step (Tieleman 2008).
"""

from __future__ import annotations

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial

from scorejax.experiment.assemble import network as networks
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Batch, Given, Metrics, Params, Recipe
from scorejax.numerics import keys as keys_lib
from scorejax.runtime.errors import ConfigError

_RESTARTS, _STARTS, _NOISE = 1, 2, 3  # streams of an example's key; 0 prepares the example


class Energy(Recipe):
    """An unnormalized density, learned by lowering the energy of data and raising that of Langevin chains."""

    uses = ("model",)
    carry_is_shared = False

    def __init__(
        self,
        given: Given,
        *,
        chains: int = 1024,
        langevin_steps: int = 20,
        step_size: float = 1e-3,
        noise_scale: float | None = None,
        restart: float = 0.01,
        start_scale: float = 1.5,
        magnitude: float = 1e-4,
        sample_steps: int = 2000,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            chains: how many chains each device keeps; at least its part of a batch, whose share moves in each step.
            langevin_steps: moves of a chain in each step of training, `x <- x - step_size grad E + noise_scale z`.
            step_size: of these moves, in squared units of the data; well below twice the variance of the data's
                narrowest direction.
            noise_scale: of these moves; unset: sqrt(2 step_size), for which the chains have the law `exp(-E)`. Smaller
                means chains of a colder law, `exp(-E / T)` with `T = noise_scale^2 / (2 step_size)`.
            restart: chance that a chain begins anew in a step of training.
            start_scale: standard deviation of the normal law in which chains begin.
            magnitude: weight of `E(data)^2 + E(chains)^2`, which holds the free constant of the energy near zero.
            sample_steps: moves of a chain for each sample.
        """
        super().__init__(given)
        networks.check_network(self.config, "energies")
        for name, value in {"chains": chains, "langevin_steps": langevin_steps, "sample_steps": sample_steps}.items():
            if value < 1:
                raise ConfigError(f"recipe.{name} = {value}; it must be at least 1")
        for name, value in {"step_size": step_size, "start_scale": start_scale}.items():
            if not value > 0:
                raise ConfigError(f"recipe.{name} = {value}; it must be positive")
        noise_scale = math.sqrt(2 * step_size) if noise_scale is None else noise_scale
        if noise_scale < 0 or magnitude < 0 or not 0 <= restart <= 1:
            raise ConfigError(
                "recipe.noise_scale and recipe.magnitude must not be negative, and recipe.restart is a chance in "
                f"[0, 1]; got noise_scale = {noise_scale}, magnitude = {magnitude}, restart = {restart}"
            )
        self.chains, self.restart, self.magnitude = chains, restart, magnitude
        self.langevin_steps, self.sample_steps = langevin_steps, sample_steps
        self.step_size, self.noise_scale, self.start_scale = step_size, noise_scale, start_scale

    @functools.cached_property
    def law(self) -> _Law:
        """The energy and its chains, as functions of the weights."""
        network = networks.network(self.config, self.given.examples, "energies")
        return _Law(network, self.step_size, self.noise_scale, self.start_scale, self.sample_steps)

    def init(self, key: Array) -> Params:
        return self.law.network.init(key, jnp.zeros((1, *self.given.examples.shape)))["params"]

    def carry(self, key: Array) -> Array:
        return self.start_scale * jax.random.normal(key, (self.chains, *self.given.examples.shape), jnp.float32)

    def loss(self, params: Params, carry: Array, batch: Batch, keys: Array) -> tuple[Array, Array, Metrics]:
        count = len(batch.x)
        if count > self.chains:
            raise ConfigError(
                f"recipe.chains = {self.chains} are fewer than the {count} examples of a device's batch; take at "
                "least as many"
            )
        # In turn, so that no chain is moved twice in one step and none is forgotten.
        places = (batch.step * count + jnp.arange(count)) % self.chains
        negatives = carry[places]
        anew = keys_lib.uniform(keys_lib.fold_in(keys, _RESTARTS), (count, *[1] * (carry.ndim - 1))) < self.restart
        negatives = jnp.where(anew, self.law.start(keys_lib.fold_in(keys, _STARTS), negatives.shape), negatives)
        moved = self.law.move(params, keys_lib.fold_in(keys, _NOISE), negatives, self.langevin_steps)
        moved = lax.stop_gradient(moved)  # the estimate of grad log Z holds the samples fixed
        of_data, of_chains = self.law.energy(params, batch.x), self.law.energy(params, moved)
        losses = of_data - of_chains + self.magnitude * (of_data**2 + of_chains**2)
        return losses, carry.at[places].set(moved), {"energy_of_data": of_data, "energy_of_chains": of_chains}

    def model(self, params: Params) -> Model:
        return Model(score=Partial(self.law.score, params), sample=Partial(self.law.sample, params))


@dataclasses.dataclass(frozen=True)
class _Law:
    """The law of an energy; equal for equal settings, so that compiled programs are found again."""

    network: nn.Module
    step_size: float
    noise_scale: float
    start_scale: float
    sample_steps: int

    def energy(self, params: Params, x: Array) -> Array:
        """`E(x)` in nats, `[B]`."""
        value = self.network.apply({"params": params}, x)
        assert isinstance(value, Array)
        return value

    def score(self, params: Params, x: Array, t: Array | None = None, condition: None = None) -> Array:
        """`-grad E(x)`, the score of the data: it has one noise level, so any time gives the same."""
        return -jax.grad(lambda y: jnp.sum(self.energy(params, y)))(x)

    def start(self, keys: Array, shape: tuple[int, ...]) -> Array:
        """Where chains begin."""
        return self.start_scale * keys_lib.normal(keys, shape, jnp.float32)

    def move(self, params: Params, keys: Array, x: Array, steps: int) -> Array:
        """Langevin moves of chains, each by its own key."""

        def once(i: Array, x: Array) -> Array:
            noise = keys_lib.normal(keys_lib.fold_in(keys, i), x.shape, x.dtype)
            return x + self.step_size * self.score(params, x) + self.noise_scale * noise

        return lax.fori_loop(0, steps, once, x)

    def sample(self, params: Params, keys: Array, shape: tuple[int, ...]) -> Array:
        """Draw samples, each the end of a chain of its own."""
        start = self.start(keys_lib.fold_in(keys, _STARTS), shape)
        return self.move(params, keys_lib.fold_in(keys, _NOISE), start, self.sample_steps)
