"""An energy, trained by persistent contrastive divergence.

The density is `exp(-E(x)) / Z`. The gradient of its mean negative log over the data is `E_data[grad E] - E_p[grad E]`;
the second mean is taken over chains that live on from step to step (Tieleman 2008). Langevin moves do not cross from
mode to mode, so each round of them begins with the offer of a fresh start, taken or refused by the rule of Metropolis
and Hastings: modes get the weights that the energy gives them, as long as a fresh start has a chance to hit a mode.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import NamedTuple

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

_STARTS, _OFFERS, _MOVES = 1, 2, 3  # streams of an example's key; 0 prepares the example


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
        start_scale: float = 1.5,
        magnitude: float = 1e-4,
        sample_steps: int = 2000,
    ) -> None:
        """Check the settings.

        Args:
            given: what it is made for.
            chains: how many chains each device keeps; at least its part of a batch, whose share moves in each step.
            langevin_steps: moves in a round, `x <- x - step_size grad E + noise_scale z`, after the offer of a fresh
                start; one round for each chain that a step of training moves.
            step_size: of these moves, in squared units of model space, where vectors have deviation 1; well below twice
                the variance of the data's narrowest direction.
            noise_scale: of these moves; unset: sqrt(2 step_size), for which the chains have the law `exp(-E)`. Smaller
                means chains of a colder law, `exp(-E / T)` with `T = noise_scale^2 / (2 step_size)`.
            start_scale: standard deviation of the normal law in which chains begin, at least as wide as the data in
                model space.
            magnitude: weight of `E(data)^2 + E(chains)^2`, which holds the free constant of the energy near zero.
            sample_steps: moves of a chain for each sample, in rounds of langevin_steps.
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
        if noise_scale < 0 or magnitude < 0:
            raise ConfigError(
                "recipe.noise_scale and recipe.magnitude must not be negative; got "
                f"noise_scale = {noise_scale}, magnitude = {magnitude}"
            )
        self.chains, self.magnitude, self.start_scale = chains, magnitude, start_scale
        self.moves = _Moves(langevin_steps, step_size, noise_scale, sample_steps)

    @functools.cached_property
    def law(self) -> _Law:
        """The energy and its chains, as functions of the weights."""
        network = networks.network(self.config, self.given.form, "energies")
        return _Law(network, self.moves, self.start_scale)

    def init(self, key: Array) -> Params:
        return self.law.network.init(key, jnp.zeros((1, *self.given.form.shape)))["params"]

    def carry(self, key: Array) -> Array:
        return self.start_scale * jax.random.normal(key, (self.chains, *self.given.form.shape), jnp.float32)

    def loss(self, params: Params, carry: Array, batch: Batch, keys: Array) -> tuple[Array, Array, Metrics]:
        count = len(batch.x)
        if count > self.chains:
            raise ConfigError(
                f"recipe.chains = {self.chains} are fewer than the {count} examples of a device's batch; take at "
                "least as many"
            )
        # In turn, so that no chain is moved twice in one step and none is forgotten.
        places = (batch.step * count + jnp.arange(count)) % self.chains
        moved = self.law.round(params, keys, carry[places])
        moved = lax.stop_gradient(moved)  # the estimate of grad log Z holds the samples fixed
        of_data, of_chains = self.law.energy(params, batch.x), self.law.energy(params, moved)
        losses = of_data - of_chains + self.magnitude * (of_data**2 + of_chains**2)
        return losses, carry.at[places].set(moved), {"energy_of_data": of_data, "energy_of_chains": of_chains}

    def model(self, params: Params) -> Model:
        evaluations = math.ceil(self.moves.sample_steps / self.moves.langevin_steps) * (self.moves.langevin_steps + 2)
        return Model(
            score=Partial(self.law.score, params), sample=Partial(self.law.sample, params), sample_nfe=evaluations
        )


class _Moves(NamedTuple):
    """How chains move; see `Energy`."""

    langevin_steps: int
    step_size: float
    noise_scale: float
    sample_steps: int

    @property
    def temperature(self) -> float:
        """`T` of the law `exp(-E / T)` that Langevin moves keep."""
        return self.noise_scale**2 / (2 * self.step_size)


@dataclasses.dataclass(frozen=True)
class _Law:
    """The law of an energy; equal for equal settings, so that compiled programs are found again."""

    network: nn.Module
    moves: _Moves
    start_scale: float

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
        return self.start_scale * keys_lib.normal(keys_lib.fold_in(keys, _STARTS), shape, jnp.float32)

    def round(self, params: Params, keys: Array, x: Array) -> Array:
        """The offer of a fresh start, then Langevin moves; each chain by its own key."""
        x, keys = self.offer(params, keys, x), keys_lib.fold_in(keys, _MOVES)

        def once(i: Array, x: Array) -> Array:
            noise = keys_lib.normal(keys_lib.fold_in(keys, i), x.shape, x.dtype)
            return x + self.moves.step_size * self.score(params, x) + self.moves.noise_scale * noise

        return lax.fori_loop(0, self.moves.langevin_steps, once, x)

    def offer(self, params: Params, keys: Array, x: Array) -> Array:
        """One move of Metropolis and Hastings whose proposals do not depend on `x`: it keeps `exp(-E / T)`."""
        fresh, temperature = self.start(keys, x.shape), self.moves.temperature

        def excess(x: Array) -> Array:
            # T log(q / p) for the law q of fresh starts and p = exp(-E / T), each up to a constant.
            of_start = jnp.sum(x.reshape(len(x), -1) ** 2, axis=1) / (2 * self.start_scale**2)
            return self.energy(params, x) - temperature * of_start

        # -log u of a uniform u is exponential.
        patience = -jnp.log1p(-keys_lib.uniform(keys_lib.fold_in(keys, _OFFERS), (len(x),)))
        taken = excess(fresh) - excess(x) < temperature * patience
        return jnp.where(taken.reshape(-1, *[1] * (x.ndim - 1)), fresh, x)

    def sample(self, params: Params, keys: Array, shape: tuple[int, ...]) -> Array:
        """Draw samples, each the end of a chain of its own."""

        def once(i: Array, x: Array) -> Array:
            return self.round(params, keys_lib.fold_in(keys, i), x)

        rounds = math.ceil(self.moves.sample_steps / self.moves.langevin_steps)
        return lax.fori_loop(1, rounds + 1, once, self.start(keys, shape))
